"""What a network itself tells of the values that it was trained on, when it is shown the same scans as several ranges.

Three things may tell: the statistics that it keeps of its training, how well it does its own task, and whether the
range makes any difference to what an attacker sees of it.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment
from scipy.special import log_softmax, stdtr

from flprivacy.attacks.features import Forward, answer_features, check_finite
from flprivacy.core.array_types import Float32Array, FloatArray, IntArray
from flprivacy.core.target_source import BYTES, HU, UNIT, range_of

Bounds = tuple[float, float]

USUAL = (UNIT, BYTES, HU)
_SYMMETRIC = "-1..1"
_MISFIT, _FIT = 2.0, 1.0  # nats: scales that differ by a factor of ten, and by one of three
_BETTER = 4.0
_NEARLY, _EXACT = 0.5, 0.15  # nats: where a range that differs by no more than that factor fits as if made for it
_SURE = 1e-3  # chance that a network which does its task equally well on both is said to do it better on one
_LEAST_PROBABILITY = 1e-4
_TEMPERATURES = np.geomspace(1.0 / 256.0, 64.0, 43)
_INDIFFERENT = 0.98  # RV coefficient of what is seen of the same scans as two ranges
_ALIKE = 1.5
_SMALL = 20.0  # width of ranges around those of 0..1 and of standard scores


class Evidence(NamedTuple):
    """What something tells of the values that a network takes."""

    against: str = ""  # what it was trained on in place of these, and why that is known; empty: nothing
    borne_out: bool = False  # whether it speaks for them


def ranges_of(taken: str, scans: Float32Array, window_hu: Bounds) -> dict[str, Bounds]:
    """Return the ranges by which scans are shown, by name: the one that is taken, and what else is usual.

    Args:
        taken: the range that the network is said to take.
        scans: (n, depth, height, width, 1) in 0..1; of their mean and deviation is the range of standard scores.
        window_hu: what 0 and 1 stand for.
    """
    mean, deviation = float(scans.mean()), max(float(scans.std()), 1e-3)
    standard = f"{-mean / deviation:.2f}..{(1.0 - mean) / deviation:.2f}"
    named = {name: range_of(name, window_hu) or (0.0, 1.0) for name in dict.fromkeys((taken, *USUAL))}
    low, high = named[taken]
    for name in (_SYMMETRIC, standard) if high - low < _SMALL else ():  # else 0..1 stands for them
        bounds = range_of(name)
        if bounds and not any(_alike(bounds, other) for other in named.values()):
            named[name] = bounds
    return named


def shown_as(scans: Float32Array, bounds: Bounds, taken: Bounds) -> Float32Array:
    """Return what must be put in, so that a network which takes one range sees scans in another."""
    values = bounds[0] + (bounds[1] - bounds[0]) * scans
    return ((values - taken[0]) / (taken[1] - taken[0])).astype(np.float32)


def _alike(one: Bounds, other: Bounds) -> bool:
    widths = (one[1] - one[0]) / (other[1] - other[0])
    apart = abs(sum(one) - sum(other)) / 2.0
    return 1.0 / _ALIKE < widths < _ALIKE and apart < (_ALIKE - 1.0) / 2.0 * (other[1] - other[0])


def by_statistics(
    shown: Mapping[str, Float32Array], taken: str, misfit: Callable[[Float32Array], float | None]
) -> Evidence:
    """Return what the statistics tell that a network keeps of its training.

    Args:
        shown: range -> scans (n, depth, height, width, 1), as they are put in.
        taken: the range that it is said to take.
        misfit: of scans to the statistics, in nats; None where there are none.
    """
    fits = {name: misfit(scans) for name, scans in shown.items()}
    known = {name: fit if np.isfinite(fit) else np.inf for name, fit in fits.items() if fit is not None}
    if taken not in known:
        return Evidence()
    own, others = known[taken], {name: fit for name, fit in known.items() if name != taken}
    best = min(others, key=lambda name: others[name])
    far = own > _MISFIT and others[best] < own / _BETTER
    near = own > _NEARLY and others[best] < min(_EXACT, own / _BETTER)
    if far or near:
        return Evidence(_other(taken, best, "the statistics that it keeps of its training fit them"))
    if own > _MISFIT:
        return Evidence(
            f"the statistics that it keeps of its training fit none of {', '.join(shown)}; state the values that it "
            "was trained on (input_range=LOW..HIGH, what air and bone are)"
        )
    usual = max(value for name, value in others.items() if name in USUAL)
    return Evidence(borne_out=own < _FIT and usual > _MISFIT)


def by_task(answers: Mapping[str, Float32Array], taken: str, diseases: IntArray) -> Evidence:
    """Return what a network's answers tell.

    One range is better than another if the network's probabilities for the diseases are, as they are and at their best
    temperature: without the latter, a network that is too sure of itself would do better on any smaller range.

    Args:
        answers: range -> probabilities (scan, class).
        taken: the range that it is said to take.
        diseases: (scan,) of the same scans.
    """
    fits = {name: _log_likelihoods(values, diseases) for name, values in answers.items()}
    calm = {name: _log_likelihoods(_calibrated(values, diseases), diseases) for name, values in answers.items()}
    guess = _guessed(diseases)
    others = [name for name in fits if name != taken]
    if not others:
        return Evidence()
    best = max(others, key=lambda name: fits[name].mean())
    if all(_larger(fits[best], one) for one in (guess, fits[taken])) and _larger(calm[best], calm[taken]):
        return Evidence(_other(taken, best, "it does its own task clearly better on them"))
    rivals = (guess, *(fits[name] for name in others if name in USUAL))
    return Evidence(borne_out=all(_larger(fits[taken], one) for one in rivals))


def knows_task(answers: Float32Array, diseases: IntArray) -> bool:
    """Tell whether answers (scan, class), at their best temperature, name the diseases better than guessing."""
    return _larger(_log_likelihoods(_calibrated(answers, diseases), diseases), _guessed(diseases))


def by_indifference(seen: Mapping[str, Mapping[str, Float32Array]], taken: str) -> Evidence:
    """Return whether it makes no difference to an attacker which of the usual ranges a network is shown.

    Args:
        seen: range -> ``features`` and ``outputs`` (scan, k), as far as the network has them.
        taken: the range that it is said to take.
    """
    own = _looks(seen[taken])
    if any(name not in seen for name in USUAL):
        return Evidence()
    others = [_looks(seen[name]) for name in USUAL if name != taken]
    same = all(_relation(own[part], one[part]) > _INDIFFERENT for one in others for part in own)
    return Evidence(borne_out=bool(own) and same)


def answers_to(
    forward: Callable[[], Forward], shown: Mapping[str, Float32Array], taken: str, whose: str
) -> dict[str, dict[str, Float32Array]]:
    """Return range -> name -> (scan, k) what a network gives to each scan by itself.

    Ranges that it answers with what is no number are left out.

    Raises:
        AttackError: so is the one that it is said to take.
    """
    answer = forward()
    found = {}
    for name, scans in shown.items():
        parts = [answer(scan[None]) for scan in scans]
        found[name] = {part: np.concatenate([one[part] for one in parts]) for part in parts[0]}
    check_finite(found[taken], whose)
    return {name: one for name, one in found.items() if all(np.isfinite(values).all() for values in one.values())}


def _other(taken: str, best: str, why: str) -> str:
    return (
        f"it takes {taken}, but was trained on {best}, for {why}; state input_range={best}, or the values that it was "
        "trained on (LOW..HIGH, what air and bone are)"
    )


def _guessed(diseases: IntArray) -> FloatArray:
    guess: FloatArray = np.log(np.bincount(diseases)[diseases] / len(diseases))
    return guess


def _log_likelihoods(answers: npt.NDArray[np.floating], diseases: IntArray) -> FloatArray:
    """Return the logarithm of each scan's probability for its disease, (n,).

    The network's classes, (n, class), are taken in the order that makes the sum of these largest.
    """
    logs = np.log(np.maximum(answers.astype(np.float64), _LEAST_PROBABILITY))
    sums = np.stack([logs[diseases == one].sum(axis=0) for one in range(answers.shape[1])])  # (disease, class)
    found: FloatArray = logs[np.arange(len(logs)), linear_sum_assignment(sums, maximize=True)[1][diseases]]
    return found


def _calibrated(answers: Float32Array, diseases: IntArray) -> FloatArray:
    """Return probabilities (n, class) at the temperature at which they fit the diseases best."""
    logs = np.log(np.maximum(answers.astype(np.float64), _LEAST_PROBABILITY))
    tried = [np.exp(log_softmax(logs / temperature, axis=1)) for temperature in _TEMPERATURES]
    return max(tried, key=lambda one: float(_log_likelihoods(one, diseases).mean()))


def _larger(one: FloatArray, other: FloatArray) -> bool:
    """Tell whether paired values are surely larger, by a one-sided t-test."""
    differences = one - other
    error = differences.std(ddof=1) / np.sqrt(len(differences))
    return bool(error > 0.0 and stdtr(len(differences) - 1, -differences.mean() / error) < _SURE)


def _looks(seen: Mapping[str, Float32Array]) -> dict[str, Float32Array]:
    return {name: answer_features(values) if name == "outputs" else values for name, values in seen.items()}


def _relation(one: Float32Array, other: Float32Array) -> float:
    """Return the RV coefficient of two descriptions (n, k) of the same scans, each column in standard scores; 0 where
    one of them does not vary.
    """
    products = [values @ values.T for values in map(_standardised, (one, other))]
    sizes = [float(np.sqrt((product**2).sum())) for product in products]
    return float((products[0] * products[1]).sum()) / (sizes[0] * sizes[1]) if min(sizes) > 0.0 else 0.0


def _standardised(values: Float32Array) -> FloatArray:
    centred = values.astype(np.float64) - values.mean(axis=0, dtype=np.float64)
    deviation = centred.std(axis=0)
    varies = deviation > 1e-6 * np.abs(values).max(initial=0.0)
    found: FloatArray = centred[:, varies] / deviation[varies]
    return found
