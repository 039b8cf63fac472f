"""Many tests on the same patients: p-values that hold for all of them together.

All verdicts of an audit are about the same held-out patients, seen by the same attackers, so they err together; and
a p-value by Student's t with the degrees of freedom of the scarcest part of a variance is too large where the rest of
it is well known. Both cost power if p-values are merely multiplied by their number (:func:`holm`). :func:`step_down`
draws the whole audit again under the hypothesis that no excess is above its threshold, patients, seeds and
initialisations with the variances that were found, studentises every drawn excess the way the audit does, and counts
how often the largest of them is as large as what was found. Tests that are rejected leave the count for those that
follow (Westfall and Young, Resampling-Based Multiple Testing, 1993; Romano and Wolf, Econometrica 2005), so errors are
controlled whichever of the hypotheses are true.
"""

from collections.abc import Sequence

import numpy as np
from scipy import special

from flprivacy.auditing.uncertainty import Component, Composed, caution
from flprivacy.core.array_types import FloatArray

_DRAWS = 10_000  # an adjusted p of 5% is then known to within .2%
_BLOCK = 1_000
_LARGE = 1.3  # statistics above it are turned into normal scores; below it they are a little larger than those
_TINY = float(np.finfo(np.float64).tiny)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted by Holm's method (Scandinavian Journal of Statistics 1979), in the given order."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    found, running = list(p_values), 0.0
    for rank, i in enumerate(order):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[i]))
        found[i] = running
    return found


def step_down(p_values: Sequence[float], spreads: Sequence[Composed]) -> list[float]:
    """Return p-values adjusted for all tests together, in the given order; none is lower than it was.

    Args:
        p_values: one-sided, each by Student's t from an estimate and its uncertainty.
        spreads: the uncertainties of these estimates, from one audit.
    """
    if len(p_values) < 2:
        return list(p_values)
    observed = -special.ndtri(np.asarray(p_values))
    order = np.argsort(-observed, kind="stable")
    beyond = np.zeros(len(order))
    null, rng = _Null(spreads), np.random.default_rng(0)
    for _ in range(_DRAWS // _BLOCK):
        scores = null.draw(rng, _BLOCK)[:, order]
        largest = np.maximum.accumulate(scores[:, ::-1], axis=1)[:, ::-1]  # of a test and all that follow it
        beyond += (largest >= observed[order]).sum(axis=0)
    adjusted = np.empty(len(order))
    adjusted[order] = np.maximum.accumulate((1.0 + beyond) / (1.0 + _DRAWS))
    return [max(one, p) for one, p in zip(adjusted.tolist(), p_values, strict=True)]


class _Null:
    """Draws of all tests' normal scores where every true excess is at its threshold."""

    def __init__(self, spreads: Sequence[Composed]) -> None:
        groups: dict[tuple[int, int], list[tuple[int, Component]]] = {}
        for test, spread in enumerate(spreads):
            for place, one in enumerate(spread.drawn):
                length = 0 if one.deviations is None else len(one.deviations)
                groups.setdefault((place, length), []).append((test, one))
        self._of_patients = _Together([spread.patients for spread in spreads])
        self._drawn = [(np.array([t for t, _ in g]), _Together([c for _, c in g])) for g in groups.values()]

    def draw(self, rng: np.random.Generator, draws: int) -> FloatArray:
        """Return (draw, test) normal scores of the one-sided p-values; where they are small, the statistic itself."""
        excess, variance, square = self._of_patients.draw(rng, draws)
        degrees = self._of_patients.degrees
        spread = square**2 / degrees
        least = np.broadcast_to(degrees, variance.shape).copy()
        for tests, together in self._drawn:
            more, of_them, square = together.draw(rng, draws)
            excess[:, tests] += more
            variance[:, tests] += of_them
            spread[:, tests] += square**2 / together.degrees
            in_use = square > 0.0
            least[:, tests] = np.where(in_use, np.minimum(least[:, tests], together.degrees), least[:, tests])
        freedom = np.maximum(variance**2 / np.maximum(spread, _TINY), least)
        statistic = excess / np.sqrt(np.maximum(variance, _TINY))
        large = statistic > _LARGE
        statistic[large] = -special.ndtri(special.stdtr(freedom[large], -statistic[large]))
        return statistic


class _Together:
    """One component of many tests: how large it is in each, and how alike the tests are in it."""

    def __init__(self, components: Sequence[Component]) -> None:
        self.degrees = np.array([one.degrees for one in components])
        self._variance = np.array([one.variance for one in components])
        self._noise = np.array([one.noise for one in components])
        self._caution = np.where(self._noise > 0.0, [caution(one.degrees) for one in components], 1.0)
        self._alike = _alike(components)

    def draw(self, rng: np.random.Generator, draws: int) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return (draw, test) errors of the estimate, and the variances and mean squares that would be found."""
        own = np.sqrt((1.0 - (self._alike**2).sum(axis=0)).clip(0.0))
        errors = rng.standard_normal((draws, len(self._alike))) @ self._alike
        errors += own * rng.standard_normal(errors.shape)
        squares = rng.chisquare(np.broadcast_to(self.degrees, errors.shape)) / self.degrees
        squares *= self._variance + self._noise
        variances = np.maximum(squares - self._noise, 0.0) * self._caution
        return errors * np.sqrt(self._variance), variances, np.maximum(squares, variances)


def _alike(components: Sequence[Component]) -> FloatArray:
    """Return (draw, test) loadings whose products are the tests' correlations, shrunk towards none.

    Few draws show correlations where there are none, so the share of the mean squared correlation that chance explains
    is taken off (Schaefer and Strimmer, Statistical Applications in Genetics and Molecular Biology 2005).
    """
    if len(components) < 2 or any(one.deviations is None for one in components):
        return np.zeros((1, len(components)))
    deviations = np.stack([one.deviations for one in components if one.deviations is not None], axis=1)
    centred = deviations - deviations.mean(axis=0)
    lengths = np.sqrt((centred**2).sum(axis=0))
    loadings = centred / np.maximum(lengths, _TINY)
    squares = np.square(loadings.T @ loadings)
    np.fill_diagonal(squares, 0.0)
    degrees = float(np.median([one.degrees for one in components]))
    by_chance = float(np.square(1.0 - squares).sum() - len(components)) / degrees
    share = float(np.clip(by_chance / max(squares.sum(), _TINY), 0.0, 1.0))
    shrunk: FloatArray = np.sqrt(1.0 - share) * loadings
    return shrunk
