"""Whether a given network is shown the values that it was trained on, and whether its features are of these scans.

A network that sees other values than in training knows nothing of the scans, and looks as if it gave nothing away.
What its file and its owner say of them is held against what it tells itself (:mod:`flprivacy.attacks.evidence`).
Where that contradicts them, or where they were assumed or stated and nothing tells, a doubt stays, and the target is
not cleared, until its own answers to some of the scans are given and are the same here
(:mod:`flprivacy.attacks.comparison`).
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from flprivacy.attacks.comparison import ASKED_FOR, by_owner, read_own_answers
from flprivacy.attacks.evidence import (
    Evidence,
    answers_to,
    by_indifference,
    by_statistics,
    by_task,
    ranges_of,
    shown_as,
)
from flprivacy.attacks.features import TEST_VIEW, Forward
from flprivacy.attacks.scenario import Scenario
from flprivacy.core.errors import AttackError
from flprivacy.core.target import Origin, TargetRecord
from flprivacy.core.target_source import AXES, INPUT_RANGE, UNIT

FloatArray = npt.NDArray[np.float32]

HARMLESS = "a network that sees other values than in training looks harmless"
_HARMLESS = {INPUT_RANGE: HARMLESS, "axes": "a network to which scans lie otherwise than in training looks harmless"}
_MOST_SCANS = 96


class Remarks(NamedTuple):
    """What a reader must know of how a target was seen.

    Attributes:
        doubt: why no attack can clear it, with the remedy; empty where nothing speaks against it.
        unconfirmed: what an attack that clears it takes on its owner's word; empty where it takes nothing so.
    """

    doubt: str = ""
    unconfirmed: str = ""


def remarks_on(
    record: TargetRecord,
    scenario: Scenario,
    *,
    misfit: Callable[[FloatArray], float | None],
    forward: Callable[[], Forward],
    own: Path | None = None,
) -> Remarks:
    """Return what speaks against taking a given target's scores for all that it gives away.

    Args:
        record: the target's.
        scenario: gives the exposed scans and their diseases.
        misfit: of scans (n, depth, height, width, 1), as the network is given them, to the statistics that it keeps,
            in nats; None where it keeps none.
        forward: makes the function from scans to ``features`` (n, feature) and ``outputs`` (n, class), as far as it has
            them.
        own: file of what it answered where its owner runs it; None: there is none.

    Raises:
        TargetError: that file is damaged.
        AttackError: nobody stated its values, and scans tell that they are others than the usual ones; or its own
            answers are of too few of the scans, or of another form.
    """
    if record.role != "target" or (record.origin is None and own is None):
        return Remarks()
    origin = record.origin or Origin(file="", format="", sha256="")
    taken = origin.input_range or UNIT
    found = (
        by_owner(read_own_answers(own, record, scenario), taken, scenario, forward, f"target {record.name!r}")
        if own is not None
        else _evidence(record, taken, scenario, misfit, forward)
    )
    if found.against and INPUT_RANGE in origin.assumed:
        raise AttackError(f"target {record.name!r}: {found.against}")
    settled = {INPUT_RANGE: found.borne_out, "axes": _in_order(record, origin, scenario)}
    if own is not None:
        settled["axes"] |= found.borne_out
    open_facts = {INPUT_RANGE: taken, "axes": origin.axes or AXES}
    open_facts = {name: value for name, value in open_facts.items() if not settled[name]}
    doubts = (
        found.against
        or ("" if found.borne_out else _contradiction(origin, taken))
        or _assumption({name: value for name, value in open_facts.items() if name in origin.assumed})
        or _on_word({name: value for name, value in open_facts.items() if name in origin.stated}),
        _coarse(record, scenario),
    )
    return Remarks(", and ".join(one for one in doubts if one))


def exposed_scans(scenario: Scenario) -> npt.NDArray[np.int64]:
    """Return (scan,) rows of some of the exposed scans, ascending."""
    rows = np.random.default_rng(0).permutation(scenario.views().exposed)[:_MOST_SCANS]
    return np.sort(rows)


def diseases_of(scenario: Scenario, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return (scan,) class of disease of rows."""
    found: npt.NDArray[np.int64] = scenario.cohort.manifest["label"].to_numpy()[rows]
    return found


def _evidence(
    record: TargetRecord,
    taken: str,
    scenario: Scenario,
    misfit: Callable[[FloatArray], float | None],
    forward: Callable[[], Forward],
) -> Evidence:
    rows = exposed_scans(scenario)
    scans = scenario.views().load(TEST_VIEW, rows)
    ranges = ranges_of(taken, scans, scenario.cohort.meta.window_hu)
    shown = {name: shown_as(scans, bounds, ranges[taken]) for name, bounds in ranges.items()}
    found = by_statistics(shown, taken, misfit)
    if found.against or found.borne_out:
        return found
    seen = answers_to(forward, shown, taken, f"target {record.name!r}")
    if record.n_classes == len(scenario.cohort.meta.class_names) and "outputs" in seen[taken]:
        found = by_task({name: one["outputs"] for name, one in seen.items()}, taken, diseases_of(scenario, rows))
    if found.against or found.borne_out:
        return found
    return by_indifference(seen, taken)


def _in_order(record: TargetRecord, origin: Origin, scenario: Scenario) -> bool:
    """Tell whether the sizes in a network's file are those of the cohort's scans in no other order of its axes."""
    grid, shape = tuple(scenario.cohort.meta.shape), record.shape
    if shape is None or "shape" in origin.stated or len(set(grid)) < len(grid):
        return False
    return all(size * grid[0] == given * shape[0] for size, given in zip(shape, grid, strict=True))


def _coarse(record: TargetRecord, scenario: Scenario) -> str:
    """Say that a network sees scans that are blurred on its own grid."""
    grid = scenario.cohort.meta.shape
    if record.shape is None or all(given >= wanted for given, wanted in zip(grid, record.shape, strict=True)):
        return ""
    wanted = ",".join(map(str, record.shape))
    return f"the cohort's scans, {tuple(grid)}, are coarser than those that it takes: import them with --shape {wanted}"


def _contradiction(origin: Origin, taken: str) -> str:
    if not origin.contradicted:
        return ""
    return (
        f"its owner says that it takes {taken}, but its first layers are made for {origin.contradicted}, and "
        f"{HARMLESS}: state input_range={origin.contradicted}, or leave it out"
    )


def _assumption(facts: Mapping[str, str]) -> str:
    if not facts:
        return ""
    names, values = " and ".join(facts), ",".join(f"{name}={value}" for name, value in facts.items())
    return (
        f"neither its file nor its owner says what it takes, and {values} was assumed; {_HARMLESS[next(iter(facts))]}: "
        f"{ASKED_FOR}, and state {names}, if this is not right"
    )


def _on_word(facts: Mapping[str, str]) -> str:
    if not facts:
        return ""
    values = " and ".join(f"axes={value}" if name == "axes" else value for name, value in facts.items())
    return (
        f"that it takes {values} is its owner's word alone: neither its file nor how it answers these scans tells, and "
        f"{_HARMLESS[next(iter(facts))]}: {ASKED_FOR}"
    )
