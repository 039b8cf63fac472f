"""Models that are known by their answers alone: these are looked up by scan id in place of being computed."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from flprivacy.attacks.baselines import block_means, histogram
from flprivacy.attacks.cache import Arrays
from flprivacy.attacks.features import TEST_VIEW, Forward
from flprivacy.attacks.results import Source
from flprivacy.attacks.scenario import Scenario
from flprivacy.core.cohort import Cohort
from flprivacy.core.errors import AttackError
from flprivacy.targets.array_files import load_answers

IntArray = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_MOST_SCANS = 256
_CELLS, _BINS = (2, 4, 4), 16
_COMPONENTS, _SCANS_PER_COMPONENT = 10, 6
_PERMUTATIONS, _LARGEST_P = 4999, 0.0005


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


def doubt_of_order(source: Source, scenario: Scenario, *, whose: str) -> str:
    """Return why recorded answers may be of other scans than they are filed under; empty where they are of these.

    Whatever a network computes of a scan depends on how the scan looks, trained or not. So the main components of the
    answers and of the scans' appearance at low resolution are correlated, which a permutation test of Pillai's trace
    shows; outputs may as well be correlated with features that pass. Answers in another order are independent of the
    scans, and would clear any target; one order in 2,000 passes.

    Raises:
        AttackError: the attack wants several views of a scan, or scans are missing.
    """
    views = scenario.views()
    if source.recorded is None or views.views != 1:
        raise AttackError(
            f"{whose}: attack.views is {views.views}, but arrays hold answers to one view of each scan; set it to 1"
        )
    rows = np.union1d(views.exposed, views.scored)
    rows = np.sort(np.random.default_rng(0).permutation(rows)[:_MOST_SCANS])
    answers = source.recorded(rows)
    volumes = views.load(TEST_VIEW, rows)[..., 0]
    known = [np.concatenate([block_means(volumes, _CELLS), histogram(volumes, _BINS)], axis=1)]
    for name, values in answers.items():
        p = min(_p_independent(one, values.astype(np.float64)) for one in known)
        if p > _LARGEST_P:
            return (
                f"its {name} have nothing to do with the looks of the scans that they are filed under (p = {p:.2g}), "
                "as if they were in another order: check that row and scan id belong together"
            )
        known.append(values.astype(np.float64))
    return ""


def _p_independent(one: Floats, other: Floats) -> float:
    """Return the chance of a correlation as large as that of two arrays (scan, column) if they were independent."""
    bases = [_main_components(values) for values in (one, other)]
    generator = np.random.default_rng(0)
    orders = [np.arange(len(one)), *(generator.permutation(len(one)) for _ in range(_PERMUTATIONS))]
    traces = np.array([((bases[0].T @ bases[1][order]) ** 2).sum() for order in orders])
    return float((traces >= traces[0] * (1.0 - 1e-9)).mean())


def _main_components(values: Floats) -> Floats:
    """Return an orthonormal basis (scan, component) of the main components of standardised columns."""
    spread = values.std(axis=0)
    columns = (values - values.mean(axis=0))[:, spread > 0.0] / spread[spread > 0.0]
    left, strengths, _ = np.linalg.svd(columns, full_matrices=False)
    count = min(_COMPONENTS, max(1, len(values) // _SCANS_PER_COMPONENT), int((strengths > 1e-6 * strengths[0]).sum()))
    basis: Floats = left[:, :count]
    return basis
