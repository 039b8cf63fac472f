"""What the uncertainty of a number is made of, and the intervals that follow from it.

Three things differ from one audit to the next: the held-out patients, the attacker's seeds (exposed sample, initial
head, batches) and, for a baseline of fresh weights, the initialisations. Each contributes a variance:

- patients: :func:`patient_variance` of the mean over seeds and models, from resampled patients;
- seeds: variance over the S seeds, divided by S;
- initialisations: variance over the R initialisations, times 1/R, or (1/m + 1/R) when a target of m models is held
  against them, because a harmless target is m more draws of fresh weights.

The spread over seeds, as measured on some patients, holds noise that is the patients' too (each seed errs on other
scans), and so does the spread over initialisations, which also holds the seeds'. That share is already in the other
components, so it is estimated (from the same bootstrap replicates) and subtracted: classical analysis of variance for
crossed random effects. What is left is cut off at 0. Degrees of freedom are Satterthwaite's (Biometrics Bulletin 1946).

A variance from five seeds is too small more often than too large, and Satterthwaite's interval then covers less than it
says (94% for 95% where seeds and patients matter alike, less with fewer seeds). Variances between seeds and between
initialisations are therefore taken median-unbiased, times d / median of chi-squared with d degrees of freedom, and once
more times 1 + 1 / d^3, because of two seeds' variances half would still be far too small: 4.4 for two seeds, 1.21 for
five. With fewer than five seeds that is not enough: where they happen to agree, nothing shows that others would not.
There every part of the variance reaches as far as its own quantile says (Cochran's approximation, Biometrics 1964), and
that of the seeds is taken as it was measured; whoever gives so few is told
(:func:`flprivacy.auditing.verdicts.few_seeds`). What all of this comes to is measured by
tests/benchmarks/bench_auditing_coverage.py.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import special

from flprivacy.core.audit import HONEST_SEEDS

FloatArray = npt.NDArray[np.float64]

# Attacker seeds of so few degrees of freedom show next to nothing of how far attackers scatter.
_SCARCE = HONEST_SEEDS - 2


@dataclass(frozen=True, kw_only=True, eq=False)
class Resampling:
    """Weights of the scans: as they are, in bootstrap replicates, and with patients left out in turn.

    Scans of one patient are alike, so the patient is the unit: all of a patient's scans carry the same weight.
    ``weights`` are (1 + ``n_bootstrap`` + ``n_groups``, scan). Row 0 is all ones. The next rows count how often each
    patient was drawn in a bootstrap replicate. The last leave out one group of patients each: one patient, unless there
    are more patients than bootstrap replicates.
    """

    weights: FloatArray
    n_bootstrap: int
    n_groups: int
    n_patients: int

    def bootstrap_rows(self, values: FloatArray) -> FloatArray:
        """Return the bootstrap replicates among (1 + bootstrap + groups, ...) values."""
        return values[1 : 1 + self.n_bootstrap]


def resample_patients(patients: npt.NDArray[np.int64], *, replicates: int, seed: int, stream: int = 0) -> Resampling:
    """Draw the weights that all attacks on the same scans share, so that their differences are paired.

    ``patients`` is (scan,), the index of each scan's patient. Other people are drawn from another ``stream``.
    """
    rng = np.random.default_rng([seed, stream])
    n_patients = int(patients.max()) + 1
    picks = rng.integers(n_patients, size=(replicates, n_patients)) + n_patients * np.arange(replicates)[:, None]
    drawn = np.bincount(picks.ravel(), minlength=replicates * n_patients).reshape(replicates, n_patients)
    n_groups = min(n_patients, replicates)
    group = rng.permutation(n_patients) % n_groups
    kept = np.arange(n_groups)[:, None] != group
    by_patient = np.concatenate([np.ones((1, n_patients)), drawn, kept])
    return Resampling(weights=by_patient[:, patients], n_bootstrap=replicates, n_groups=n_groups, n_patients=n_patients)


def patient_variance(values: FloatArray, resampling: Resampling) -> float:
    """Return the sampling variance over patients of a number, from its replicates.

    It is the mean of two estimates, which agree unless the metric is a mean over classes of which some have one or two
    patients. There the bootstrap is short of variance, by 1/n of a class of n patients (resampling a class's only
    patient shows no spread at all), and the delete-one-patient jackknife has too much, by about as much (Efron &
    Stein, Annals of Statistics 1981). In their mean the two errors cancel to first order. ``values`` are (1 + bootstrap
    + groups,), the number under every row of weights.
    """
    left_out = values[1 + resampling.n_bootstrap :]
    jackknife = (1.0 - 1.0 / resampling.n_groups) * np.square(left_out - left_out.mean()).sum()
    return float(resampling.bootstrap_rows(values).var(ddof=1) + jackknife) / 2.0


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

    def interval(self, value: float, confidence: float, *, low: float, high: float) -> tuple[float, float]:
        """Return the t interval of an estimate, cut off at ``low`` and ``high``."""
        reach = self.quantile(confidence) * self.standard_error
        return max(value - reach, low), min(value + reach, high)


@dataclass(frozen=True, kw_only=True, eq=False)
class Component:
    """A variance, the mean square that it was estimated from, and the degrees of freedom of that.

    ``noise`` is the part of the mean square that is other components' already, and was subtracted. ``deviations`` are
    what the mean square is of, up to a factor: one for each draw.
    """

    variance: float
    square: float
    degrees: float
    noise: float = 0.0
    deviations: FloatArray | None = None

    @property
    def measured(self) -> float:
        """The mean square as it was measured, with what is other components' and without caution."""
        return self.variance / caution(self.degrees) + self.noise if self.variance > 0.0 else self.square

    def times(self, share: float) -> "Component":
        """Return it for a part of what it is the variance of, such as 1/m for a mean over m models."""
        return replace(self, variance=share * self.variance, square=share * self.square, noise=share * self.noise)


@dataclass(frozen=True, kw_only=True)
class Composed(Uncertainty):
    """Uncertainty with its components: the held-out patients', and those of seeds and initialisations.

    ``scarce`` are those of ``drawn`` that are known from too few seeds for one quantile of the whole.
    """

    patients: Component
    drawn: tuple[Component, ...]  # of seeds, then those that were estimated elsewhere
    scarce: tuple[Component, ...] = ()

    def quantile(self, confidence: float) -> float:
        """Return how many standard errors a two-sided interval reaches to either side; with few seeds, the farther."""
        usual = super().quantile(confidence)
        if not self.scarce or not self.variance:
            return usual

        def reach(square: float, degrees: float) -> float:
            return square * float(special.stdtrit(degrees, 0.5 + confidence / 2.0)) ** 2

        others = [self.patients, *(one for one in self.drawn if one not in self.scarce)]
        total = sum(reach(one.variance, one.degrees) for one in others)
        total += sum(reach(one.measured, one.degrees) for one in self.scarce)
        return max(usual, math.sqrt(total / self.variance))


def uncertainty(
    estimate: FloatArray,
    draws: Sequence[FloatArray],
    resampling: Resampling,
    *,
    known: Sequence[Component] = (),
    floor: float = 0.0,
    patients: float | None = None,
) -> Composed:
    """Combine the components of an estimate that is a mean, or a difference of means, over attacker seeds.

    Args:
        estimate: (row of weights,) the estimate.
        draws: (row of weights, seed) what the estimate is the mean of, at least 2 seeds; two arrays where it is the
            difference of two means over seeds that were drawn independently.
        resampling: the weights.
        known: components that were estimated elsewhere, such as the variance between initialisations.
        floor: least variance over patients, for samples in which nothing varies.
        patients: how many the estimate rests on, at least 2 assumed; all if None.
    """
    of_patients = max(patient_variance(estimate, resampling), floor)
    own = Component(
        variance=of_patients,
        square=of_patients,
        degrees=max(patients or resampling.n_patients, 2.0) - 1,
        deviations=resampling.bootstrap_rows(estimate) - estimate[0],
    )
    seeds = [_between_seeds(values, resampling).times(1.0 / values.shape[1]) for values in draws]
    drawn = (*seeds, *known)
    total = own.variance + sum(component.variance for component in drawn)
    degrees = satterthwaite(total, [(one.square, one.degrees) for one in (own, *drawn)])
    scarce = tuple(one for one in seeds if one.degrees <= _SCARCE)
    return Composed(variance=total, degrees=degrees, patients=own, drawn=drawn, scarce=scarce)


def _between_seeds(values: FloatArray, resampling: Resampling) -> Component:
    noise = resampling.bootstrap_rows(values) - values[0]
    measured = float(values[0].var(ddof=1))
    without_noise = measured - float(noise.var(axis=1, ddof=1).mean())
    return _component(measured, without_noise, values.shape[1] - 1, deviations=values[0] - values[0].mean())


def pooled_between(groups: Sequence[Sequence[tuple[FloatArray, Resampling]]]) -> Component:
    """Return the variance between initialisations, the mean over groups of independent draws.

    A group holds (row of weights, initialisation, seed) metrics of the same draws with the weights of their scans; it
    counts once, however many it holds.
    """
    measured, without_noise, degrees, deviations = [], [], [], None
    for group in groups:
        for values, resampling in group:
            noise = resampling.bootstrap_rows(values) - values[0]
            deviations = values[0].mean(axis=-1) - values[0].mean()
            measured.append(float(deviations.var(ddof=1)) / len(group))
            without_noise.append((float(_main_effect(values[0])) - float(_main_effect(noise).mean())) / len(group))
        degrees.append(float(np.mean([values.shape[1] - 1 for values, _ in group])))
    return _component(
        sum(measured) / len(groups),
        sum(without_noise) / len(groups),
        sum(degrees),
        deviations=deviations if len(measured) == 1 else None,
    )


def _component(
    measured: float, without_noise: float, degrees: float, *, deviations: FloatArray | None = None
) -> Component:
    """Return a variance between draws that is hardly ever far too small; its degrees go by what was measured."""
    variance = max(without_noise, 0.0) * caution(degrees)
    return Component(
        variance=variance,
        square=max(variance, measured),
        degrees=degrees,
        noise=measured - without_noise,
        deviations=deviations,
    )


def caution(degrees: float) -> float:
    """Return how many times a variance of so many degrees of freedom counts, so that it is hardly ever too small."""
    median_of_chi_squared = float(2.0 * special.gammaincinv(degrees / 2.0, 0.5))
    return degrees / median_of_chi_squared * (1.0 + 1.0 / degrees**3)


def _main_effect(values: FloatArray) -> FloatArray:
    """Return the variance between rows of (..., row, column) beyond what their interaction with columns explains."""
    rows, columns = values.shape[-2:]
    by_row = values.mean(axis=-1, keepdims=True)
    residual = values - by_row - values.mean(axis=-2, keepdims=True) + values.mean(axis=(-2, -1), keepdims=True)
    interaction = np.square(residual).sum(axis=(-2, -1)) / ((rows - 1) * (columns - 1))
    return np.asarray(by_row[..., 0].var(axis=-1, ddof=1) - interaction / columns)


def satterthwaite(total: float, parts: Sequence[tuple[float, float]]) -> float:
    """Return the degrees of freedom of ``total`` from (mean square, degrees of freedom) of its parts.

    Parts enter with the noise that they were measured with. Never fewer than those of the scarcest part in use.
    """
    least = min(degrees for part, degrees in parts if part > 0.0) if total > 0.0 else parts[0][1]
    spread = sum(part * part / degrees for part, degrees in parts)
    return max(total * total / spread, float(least)) if spread > 0.0 else float(least)
