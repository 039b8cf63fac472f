"""Models that are known by their answers alone: these are looked up by scan id in place of being computed."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from flprivacy.attacks.cache import Arrays
from flprivacy.attacks.contract import HARMLESS, Remarks, diseases_of, exposed_scans
from flprivacy.attacks.evidence import knows_task
from flprivacy.attacks.features import Forward
from flprivacy.attacks.relation import MOST_SCANS, UNRELATED, looks, unrelated
from flprivacy.attacks.results import Source
from flprivacy.attacks.scenario import Scenario
from flprivacy.cohorts.format import read_volumes
from flprivacy.core.array_types import IntArray
from flprivacy.core.cohort import Cohort
from flprivacy.core.errors import AttackError
from flprivacy.targets.array_files import load_answers

_REMEDY = (
    "state input_checked=true, if its owner compared some of them with what the network answers to the same scans in "
    "its own use"
)
_ON_WORD = "its owner states that some of them were compared with what it answers in use (input_checked)"


def recorded_source(path: Path, model: str, digest: str, cohort: Cohort) -> Source:
    """Return a source that looks answers up.

    Args:
        path: the arrays.
        model: name of the model.
        digest: of the arrays.
        cohort: whose rows are asked for.

    Raises:
        TargetError: the file is damaged.
    """
    arrays = load_answers(path)
    ids = cohort.manifest["scan_id"].to_numpy().astype(np.str_)

    def lookup(rows: IntArray) -> Arrays:
        wanted = ids[rows]
        places = np.minimum(np.searchsorted(arrays.scan_ids, wanted), len(arrays.scan_ids) - 1)
        missing = int((arrays.scan_ids[places] != wanted).sum())
        if missing:
            raise AttackError(
                f"the arrays lack {missing} of {len(rows)} scans that an attack needs; give answers to every scan of "
                f"the cohort, under the ids of its manifest ({len(np.setdiff1d(arrays.scan_ids, ids))} of the "
                f"{len(arrays.scan_ids)} in the arrays are not among them)"
            )
        held = {"features": arrays.features, "outputs": arrays.outputs}
        return {name: values[places] for name, values in held.items() if values is not None}

    return Source(model=model, digest=digest, forward=_never, recorded=lookup)


def _never() -> Forward:
    raise RuntimeError("recorded answers are looked up, never computed")


def remarks_on_answers(source: Source, scenario: Scenario, *, whose: str, checked: bool) -> Remarks:
    """Return whether recorded outputs may be of other scans than they are filed under, and what cannot be known.

    Recorded features are held against the looks of the scans, and refused
    (:mod:`flprivacy.attacks.relation`). A few probabilities may have little to do with the looks, so that a doubt stays
    unless they have to do with these or with the features. What the network was shown is never known: it stays
    in doubt, too, unless its owner states that answers were ``checked``, which then is said.

    Raises:
        AttackError: the attack wants several views of a scan, or scans are missing.
    """
    views = scenario.views()
    if source.recorded is None or views.views != 1:
        raise AttackError(
            f"{whose}: attack.views is {views.views}, but arrays hold answers to one view of each scan; set it to 1"
        )
    rows = np.union1d(views.exposed, views.scored)
    rows = np.sort(np.random.default_rng(0).permutation(rows)[:MOST_SCANS])
    said = _not_seen(source.recorded, scenario)
    doubts = [_of_other_scans(source.recorded(rows), scenario, rows), "" if checked else f"{said}: {_REMEDY}"]
    return Remarks(", and ".join(filter(None, doubts)), f"{said}, but {_ON_WORD}" if checked else "")


def _not_seen(recorded: Callable[[IntArray], Arrays], scenario: Scenario) -> str:
    """Say that arrays do not tell what the network was shown, and if its answers look like those of a wrong range."""
    rows = exposed_scans(scenario)
    outputs, diseases = recorded(rows).get("outputs"), diseases_of(scenario, rows)
    judged = outputs is not None and outputs.shape[1] == len(scenario.cohort.meta.class_names)
    guessing = (
        " (its outputs name the diseases of the training scans no better than guessing, as such a network's do)"
        if judged and outputs is not None and not knows_task(outputs, diseases)
        else ""
    )
    return f"arrays do not tell what values the network was shown, and {HARMLESS}{guessing}"


def _of_other_scans(answers: Arrays, scenario: Scenario, rows: IntArray) -> str:
    if "outputs" not in answers:
        return ""
    outputs = answers["outputs"].astype(np.float64)
    p = unrelated(outputs, looks(read_volumes(scenario.cohort, rows)))
    if "features" in answers:
        p = min(p, unrelated(outputs, answers["features"].astype(np.float64)))
    if p <= UNRELATED:
        return ""
    return (
        f"its outputs have nothing to do with what the scans look like that they are filed under (p {p:.2g}), as if "
        "they were in another order: check that row and scan id belong together"
    )
