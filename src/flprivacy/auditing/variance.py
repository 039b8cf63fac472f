"""What the uncertainty of a number is made of, and its degrees of freedom.

Three things differ from one audit to the next: the held-out patients, the attacker's seeds (exposed sample, initial
head, batches) and, for a baseline of fresh weights, the initialisations. Each contributes a variance:

- patients: :func:`flprivacy.auditing.bootstrap.patient_variance` of the mean over seeds and models;
- seeds: variance over the S seeds, divided by S;
- initialisations: variance over the R initialisations, times 1/R, or (1/m + 1/R) when a target of m models is held
  against them, because a harmless target is m more draws of fresh weights.

The spread over seeds, as measured on some patients, holds noise that is the patients' too (each seed errs on other
scans), and so does the spread over initialisations, which also holds the seeds'. That share is already in the other
components, so it is estimated (from the same bootstrap replicates) and subtracted: classical analysis of variance for
crossed random effects. What is left is cut off at 0. Degrees of freedom are Satterthwaite's (Biometrics Bulletin 1946).

A variance from five seeds is too small more often than too large, and Satterthwaite's interval then covers less than it
says (94% for 95% where seeds and patients matter alike, less with fewer seeds). Variances between seeds and between
initialisations are therefore taken median-unbiased: times d / median of chi-squared with d degrees of freedom, 1.19 for
five. tests/benchmarks/bench_auditing_coverage.py measures what all of this comes to.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from flprivacy.auditing.bootstrap import Resampling, bootstrap_rows, patient_variance

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Uncertainty:
    """Variance of an estimate and the degrees of freedom with which it is known."""

    variance: float
    degrees: float

    @property
    def standard_error(self) -> float:
        """Square root of the variance."""
        return float(np.sqrt(self.variance))

    def quantile(self, confidence: float) -> float:
        """Return how many standard errors a two-sided interval reaches to either side."""
        return float(special.stdtrit(self.degrees, 0.5 + confidence / 2.0))

    def p_value(self, value: float) -> float:
        """Return the two-sided p-value of the hypothesis that the estimate ``value`` estimates 0."""
        return float(2.0 * special.stdtr(self.degrees, -abs(value) / self.standard_error))


def uncertainty(
    values: FloatArray,
    resampling: Resampling,
    *,
    initialisations: FloatArray | None = None,
    share: float = 0.0,
    floor: float = 0.0,
) -> Uncertainty:
    """Combine the components of an estimate that is a mean over seeds.

    Args:
        values: (row of weights, seed) the estimate of each seed, at least 2 seeds.
        resampling: the weights.
        initialisations: (row of weights, initialisation, seed) metrics of a baseline of at least 2 random
            initialisations that the estimate rests on; None where there is none.
        share: factor of the variance between initialisations: 1/R or 1/m + 1/R.
        floor: least variance over patients, for samples in which nothing varies.
    """
    n_seeds = values.shape[1]
    patients = max(patient_variance(values.mean(axis=1), resampling), floor)
    seeds, seeds_square = _between_seeds(values, resampling)
    fresh, fresh_square, n_fresh = 0.0, 0.0, 2
    if initialisations is not None:
        n_fresh = initialisations.shape[1]
        fresh, fresh_square = (share * part for part in _between_initialisations(initialisations, resampling))
    total = patients + seeds / n_seeds + fresh
    parts = (
        (patients, resampling.n_patients - 1),
        (seeds_square / n_seeds, n_seeds - 1),
        (fresh_square, n_fresh - 1),
    )
    return Uncertainty(variance=total, degrees=_satterthwaite(total, parts))


@dataclass(frozen=True, kw_only=True, eq=False)
class Luck:
    """A variance between initialisations that an estimate rests on.

    Attributes:
        initialisations: (row of weights, initialisation, seed) metrics of at least 2 of them.
        share: factor of the variance, such as 1/m for a mean over m models.
    """

    initialisations: FloatArray
    share: float


def difference_uncertainty(
    one: FloatArray, other: FloatArray, resampling: Resampling, *, paired: bool, lucks: Sequence[Luck], floor: float
) -> Uncertainty:
    """Combine the components of the difference of two means over seeds, on the same patients.

    Args:
        one: (row of weights, seed) metrics of each seed, at least 2 seeds.
        other: the same of what is subtracted; as many seeds as it likes unless ``paired``.
        resampling: the weights of both.
        paired: whether column i of both is the same attacker seed. If not, the seeds of the two are independent draws.
        lucks: variances between initialisations to allow for; none: the two are as they are.
        floor: least variance over patients.
    """
    patients = max(patient_variance(one.mean(axis=1) - other.mean(axis=1), resampling), floor)
    total, parts = patients, [(patients, resampling.n_patients - 1)]
    for draws in (one - other,) if paired else (one, other):
        n_seeds = draws.shape[1]
        between, square = _between_seeds(draws, resampling)
        total += between / n_seeds
        parts.append((square / n_seeds, n_seeds - 1))
    for luck in lucks:
        between, square = _between_initialisations(luck.initialisations, resampling)
        total += luck.share * between
        parts.append((luck.share * square, luck.initialisations.shape[1] - 1))
    return Uncertainty(variance=total, degrees=_satterthwaite(total, tuple(parts)))


def _between_seeds(values: FloatArray, resampling: Resampling) -> tuple[float, float]:
    """Return the variance between seeds and the mean square that it was estimated from."""
    noise = bootstrap_rows(values, resampling) - values[0]
    measured = float(values[0].var(ddof=1))
    return _component(measured, measured - float(noise.var(axis=1, ddof=1).mean()), values.shape[1])


def _between_initialisations(values: FloatArray, resampling: Resampling) -> tuple[float, float]:
    """Return the variance between initialisations and the mean square that it was estimated from."""
    noise = bootstrap_rows(values, resampling) - values[0]
    measured = float(values[0].mean(axis=-1).var(ddof=1))
    return _component(measured, float(_main_effect(values[0])) - float(_main_effect(noise).mean()), values.shape[1])


def _component(measured: float, without_noise: float, draws: int) -> tuple[float, float]:
    """Return a median-unbiased variance between draws, and the mean square that its degrees of freedom go by."""
    degrees = draws - 1
    component = max(without_noise, 0.0) * degrees / _chi_squared_median(degrees)
    return component, max(component, measured)


def _chi_squared_median(degrees: int) -> float:
    return float(2.0 * special.gammaincinv(degrees / 2.0, 0.5))


def _main_effect(values: FloatArray) -> FloatArray:
    """Return the variance between rows of (..., row, column) beyond what their interaction with columns explains."""
    rows, columns = values.shape[-2:]
    by_row = values.mean(axis=-1, keepdims=True)
    residual = values - by_row - values.mean(axis=-2, keepdims=True) + values.mean(axis=(-2, -1), keepdims=True)
    interaction = np.square(residual).sum(axis=(-2, -1)) / ((rows - 1) * (columns - 1))
    return np.asarray(by_row[..., 0].var(axis=-1, ddof=1) - interaction / columns)


def _satterthwaite(total: float, parts: tuple[tuple[float, int], ...]) -> float:
    """Return the degrees of freedom of ``total`` from (mean square, degrees of freedom) of its parts.

    Parts enter with the noise that they were measured with. Never fewer than those of the scarcest part in use.
    """
    least = min(degrees for part, degrees in parts if part > 0.0) if total > 0.0 else parts[0][1]
    spread = sum(part * part / degrees for part, degrees in parts)
    return max(total * total / spread, float(least)) if spread > 0.0 else float(least)
