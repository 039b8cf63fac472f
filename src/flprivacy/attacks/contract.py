"""Whether a given network is shown the values that it was trained on, and whether its features are of these scans.

A network that sees other values than in training knows nothing of the scans, and looks as if it gave nothing away.
What its file and its owner say of them is held against the statistics that it keeps of its training, and against how
well it does its own task on the exposed scans. Where neither tells, a doubt stays, and the target is not cleared.
"""

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment
from scipy.special import stdtr

from flprivacy.attacks.features import TEST_VIEW, Forward
from flprivacy.attacks.scenario import Scenario
from flprivacy.core.errors import AttackError
from flprivacy.core.target import TargetRecord
from flprivacy.core.target_source import AXES, BYTES, HU, INPUT_RANGE, UNIT, range_of

FloatArray = npt.NDArray[np.float32]
Bounds = tuple[float, float]

_MOST_SCANS = 96
_MISFIT, _FIT = 2.0, 1.0  # nats: scales that differ by a factor of ten, and by one of three
_BETTER = 4.0
_SURE = 1e-3  # chance that a network which does its task equally well on both is said to do it better on one
_LEAST_PROBABILITY = 1e-4


def doubt_of(
    record: TargetRecord,
    scenario: Scenario,
    *,
    misfit: Callable[[FloatArray], float | None],
    forward: Callable[[], Forward],
) -> str:
    """Return why no attack can clear a given target, with the remedy; empty where its scans bear out what it takes.

    Args:
        record: the target's.
        scenario: gives the exposed scans and their diseases.
        misfit: of scans (n, depth, height, width, 1), as the network is given them, to the statistics that it keeps,
            in nats; None where it keeps none.
        forward: makes the function from scans to ``outputs`` (n, class), if it has any.

    Raises:
        AttackError: nobody stated its values, and scans tell that they are others than the usual ones.
    """
    origin = record.origin
    if origin is None or record.role != "target":
        return ""
    taken = origin.input_range or UNIT
    window = scenario.cohort.meta.window_hu
    ranges = {name: range_of(name, window) or (0.0, 1.0) for name in dict.fromkeys((taken, UNIT, BYTES, HU))}
    rows = scenario.views().exposed
    rows = np.sort(np.random.default_rng(0).permutation(rows)[:_MOST_SCANS])
    scans = scenario.views().load(TEST_VIEW, rows)
    shown = {name: _as_if(scans, bounds, ranges[taken]) for name, bounds in ranges.items()}
    said, borne_out = _by_statistics(shown, taken, misfit)
    if not said and not borne_out and record.n_classes == len(scenario.cohort.meta.class_names):
        said, borne_out = _by_task(shown, taken, forward, scenario.cohort.manifest["label"].to_numpy()[rows])
    if said and INPUT_RANGE in origin.assumed:
        raise AttackError(f"target {record.name!r}: {said}")
    assumed = [name for name in origin.assumed if not (name == INPUT_RANGE and borne_out)]
    doubts = (
        said or _assumption(assumed, {INPUT_RANGE: taken, "axes": origin.axes or AXES}),
        _coarse(record, scenario),
    )
    return ", and ".join(doubt for doubt in doubts if doubt)


def _as_if(scans: FloatArray, bounds: Bounds, taken: Bounds) -> FloatArray:
    """Return what must be put in, so that a network which takes one range sees scans in another."""
    values = bounds[0] + (bounds[1] - bounds[0]) * scans
    return ((values - taken[0]) / (taken[1] - taken[0])).astype(np.float32)


def _coarse(record: TargetRecord, scenario: Scenario) -> str:
    """Say that a network sees scans that are blurred on its own grid."""
    grid = scenario.cohort.meta.shape
    if record.shape is None or all(given >= wanted for given, wanted in zip(grid, record.shape, strict=True)):
        return ""
    wanted = ",".join(map(str, record.shape))
    return f"the cohort's scans, {tuple(grid)}, are coarser than those that it takes: import them with --shape {wanted}"


def _assumption(names: list[str], values: Mapping[str, str]) -> str:
    if not names:
        return ""
    facts = ",".join(f"{name}={values[name]}" for name in names)
    return (
        f"neither its file nor its owner says what it takes, and {facts} was assumed; a network that sees other values "
        f"than in training looks harmless: state {' and '.join(names)}, if this is right as {facts}"
    )


def _by_statistics(
    shown: Mapping[str, FloatArray], taken: str, misfit: Callable[[FloatArray], float | None]
) -> tuple[str, bool]:
    """Return what the network's own statistics say against the values that it takes, and whether they bear them out."""
    own = misfit(shown[taken])
    if own is None:
        return "", False
    others = {name: misfit(scans) or 0.0 for name, scans in shown.items() if name != taken}
    best = min(others, key=lambda name: others[name])
    if own > _MISFIT and others[best] < own / _BETTER:
        return _other(taken, best, "the statistics that it keeps of its training fit them"), False
    if own > _MISFIT:
        return (
            f"the statistics that it keeps of its training fit none of {', '.join(shown)}; state the values that it "
            "was trained on (input_range=LOW..HIGH, what air and bone are)"
        ), False
    return "", own < _FIT and max(others.values()) > _MISFIT


def _by_task(
    shown: Mapping[str, FloatArray], taken: str, forward: Callable[[], Forward], diseases: npt.NDArray[np.int64]
) -> tuple[str, bool]:
    """Return what the network's answers say against the values that it takes, and whether they bear them out."""
    answer = forward()
    fits = {}
    for name, scans in shown.items():
        parts = [answer(scan[None]) for scan in scans]
        if "outputs" not in parts[0]:
            return "", False
        fits[name] = _log_likelihoods(np.concatenate([part["outputs"] for part in parts]), diseases)
    frequencies = np.bincount(diseases) / len(diseases)
    guess = np.log(frequencies[diseases])
    others = [name for name in fits if name != taken]
    best = max(others, key=lambda name: fits[name].mean())
    if _larger(fits[best], guess) and _larger(fits[best], fits[taken]):
        return _other(taken, best, "it does its own task clearly better on them"), False
    return "", all(_larger(fits[taken], one) for one in (guess, *(fits[name] for name in others)))


def _other(taken: str, best: str, why: str) -> str:
    return (
        f"it takes {taken}, but was trained on {best}, for {why}; state input_range={best}, or the values that it was "
        "trained on (LOW..HIGH, what air and bone are)"
    )


def _log_likelihoods(answers: FloatArray, diseases: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return the logarithm of each scan's probability for its disease, (n,).

    The network's classes, (n, class), are taken in the order that makes the sum of these largest.
    """
    logs = np.log(np.maximum(answers.astype(np.float64), _LEAST_PROBABILITY))
    sums = np.stack([logs[diseases == one].sum(axis=0) for one in range(answers.shape[1])])  # (disease, class)
    return logs[np.arange(len(logs)), linear_sum_assignment(sums, maximize=True)[1][diseases]]


def _larger(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> bool:
    """Tell whether paired values are surely larger, by a one-sided t-test."""
    differences = one - other
    error = differences.std(ddof=1) / np.sqrt(len(differences))
    return bool(error > 0.0 and stdtr(len(differences) - 1, -differences.mean() / error) < _SURE)
