"""True positive rates at low false positive rates, with exact intervals; and areas under the curve.

The threshold for a false positive rate a of n non-members is the score of the non-member that is exceeded by
k = floor(a n) others, named by its rank before looking. The true false positive rate of such a threshold is distributed
as an order statistic of uniform numbers, Beta(k + 1, n - k), and its mean is (k + 1) / (n + 1): with 100 non-members
and one false positive (1%) nearly 2%. That is the chance that a true positive rate is held against. The members had no
part in choosing the threshold, so theirs is an ordinary proportion with Clopper and Pearson's limits (Biometrika 1934).

Scans of one patient are alike. How much is unknown where errors are few, so the worst is assumed, that they are copies
of each other: counts are scaled down to Kish's effective number (Survey Sampling, 1965), as Korn and Graubard (Survey
Methodology 1998) scale proportions. Where every patient has as many scans, that is the number of patients.

The unit of areas is the patient. The variance of the AUC is that of its placement values (DeLong, DeLong and
Clarke-Pearson, Biometrics 1988), summed up by patient (Obuchowski, Biometrics 1997). The balanced accuracy of a
threshold is the AUC of the answers yes and no.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import betaincinv

from flprivacy.auditing.intervals import score_interval
from flprivacy.auditing.uncertainty import Uncertainty, satterthwaite
from flprivacy.core.array_types import FloatArray, IntArray
from flprivacy.core.membership import Area, RateAtFpr, RocBand

_CURVE_POINTS = 60
_LEAST_P, _PRECISION = 1e-12, 1.001


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """Scores of members and non-members.

    Attributes:
        members: (member,) scores.
        non_members: (non-member,) scores.
        member_patients: (member,) index of each one's patient.
        non_member_patients: (non-member,) likewise; no patient is both.
    """

    members: FloatArray
    non_members: FloatArray
    member_patients: IntArray
    non_member_patients: IntArray


def resolvable_fpr(non_members: int, confidence: float = 0.95) -> float:
    """Return below which false positive rate nothing can be shown: its upper limit with not one false positive."""
    return float(1.0 - (1.0 - confidence) ** (1.0 / non_members))


def resolves(fpr: float, non_members: int) -> bool:
    """Return whether at least one false positive is allowed at this rate."""
    return allowed(fpr, non_members) >= 1


def allowed(fpr: float, non_members: int) -> int:
    """Return how many false positives are allowed; .01 of 300 is 3, although the product is a little less."""
    return int(np.floor(fpr * non_members * (1.0 + 1e-12)))


def effective(patients: IntArray) -> float:
    """Return the effective number of scans, if those of a patient are copies of each other."""
    sizes = np.bincount(patients).astype(np.float64)
    return float(sizes.sum() ** 2 / np.square(sizes).sum())


def limits(successes: float, n: float, error: float) -> tuple[float, float]:
    """Return Clopper and Pearson's limits, each wrong with probability ``error`` at most; counts may be fractional."""
    low = float(betaincinv(successes, n - successes + 1.0, error)) if successes > 0.0 else 0.0
    high = float(betaincinv(successes + 1.0, n - successes, 1.0 - error)) if successes < n else 1.0
    return low, high


def rate_at(sample: Sample, fpr: float, *, confidence: float) -> RateAtFpr:
    """Return the true positive rate at a false positive rate that the non-members resolve."""
    n, error = len(sample.non_members), 1.0 - confidence
    threshold = float(np.sort(sample.non_members)[::-1][allowed(fpr, n)])
    counts = _counts(sample, threshold, allowed(fpr, n))
    tpr_low, tpr_high = counts.tpr_limits(error / 2.0)
    fpr_low, fpr_high = counts.fpr_limits(error / 2.0)
    excess_low, excess_high = counts.excess_limits(error / 2.0)
    chance = (allowed(fpr, n) + 1) / (n + 1)
    return RateAtFpr(
        fpr=fpr,
        threshold=threshold,
        false_positives=int((sample.non_members > threshold).sum()),
        realised_fpr=float((sample.non_members > threshold).mean()),
        fpr_low=fpr_low,
        fpr_high=fpr_high,
        tpr=counts.tpr,
        tpr_low=tpr_low,
        tpr_high=tpr_high,
        chance=chance,
        excess=counts.tpr - chance,
        excess_low=excess_low,
        excess_high=excess_high,
    )


def p_above(sample: Sample, fpr: float, tolerated: float) -> float:
    """Return the one-sided p-value of members that exceed non-members by ``tolerated`` at most, at this rate."""
    n = len(sample.non_members)
    threshold = float(np.sort(sample.non_members)[::-1][allowed(fpr, n)])
    counts = _counts(sample, threshold, allowed(fpr, n))
    low, high = _LEAST_P, 1.0
    if counts.excess_limits(high)[0] <= tolerated:
        return 1.0
    while high > low * _PRECISION:
        middle = float(np.sqrt(low * high))
        low, high = (low, middle) if counts.excess_limits(middle)[0] > tolerated else (middle, high)
    return high


@dataclass(frozen=True, kw_only=True)
class _Counts:
    """True positives at a threshold, and by which rank of the non-members it was chosen."""

    tpr: float
    members: float  # effective numbers
    false_positives: float
    rank: float
    non_members: float

    def tpr_limits(self, error: float) -> tuple[float, float]:
        return limits(self.tpr * self.members, self.members, error)

    def fpr_limits(self, error: float) -> tuple[float, float]:
        # Ties make the rate above the threshold smaller than the rank says: it counts for the upper limit only.
        low, _ = limits(self.false_positives, self.non_members, error)
        return low, limits(self.rank, self.non_members, error)[1]

    def excess_limits(self, error: float) -> tuple[float, float]:
        (tpr_low, tpr_high), (fpr_low, fpr_high) = self.tpr_limits(error / 2.0), self.fpr_limits(error / 2.0)
        return tpr_low - fpr_high, tpr_high - fpr_low


def _counts(sample: Sample, threshold: float, rank: int) -> _Counts:
    non_members = effective(sample.non_member_patients)
    share = non_members / len(sample.non_members)
    return _Counts(
        tpr=float((sample.members > threshold).mean()),
        members=effective(sample.member_patients),
        false_positives=float((sample.non_members > threshold).sum()) * share,
        rank=rank * share,
        non_members=non_members,
    )


def roc(sample: Sample, *, confidence: float) -> RocBand:
    """Return the curve at thresholds that are evenly spaced on a logarithmic axis of false positives."""
    n, falling = len(sample.non_members), np.sort(sample.non_members)[::-1]
    ranks = np.unique(np.geomspace(1, n, _CURVE_POINTS).astype(np.int64)) - 1
    thresholds = falling[ranks]
    tpr = (sample.members[:, None] > thresholds).mean(axis=0)
    members = effective(sample.member_patients)
    low, high = np.transpose([limits(rate * members, members, (1.0 - confidence) / 2.0) for rate in tpr])
    return RocBand(
        fpr=tuple(((sample.non_members[:, None] > thresholds).mean(axis=0)).tolist()),
        tpr=tuple(tpr.tolist()),
        tpr_low=tuple(low.tolist()),
        tpr_high=tuple(high.tolist()),
    )


def auc(sample: Sample, *, confidence: float) -> Area:
    """Return the probability that a member scores higher than a non-member, ties counting half.

    There must be at least 2 patients of either kind.
    """
    above = _share_below(sample.members, sample.non_members)
    value = float(above.mean())
    below = 1.0 - _share_below(sample.non_members, sample.members)
    of_members = _variance_of_mean(above, sample.member_patients)
    of_non_members = _variance_of_mean(below, sample.non_member_patients)
    total = of_members[0] + of_non_members[0]
    spread = Uncertainty(variance=total, degrees=satterthwaite(total, [of_members, of_non_members]))
    patients = [len(np.unique(of)) for of in (sample.member_patients, sample.non_member_patients)]
    low, high = score_interval(value, spread, confidence, patients=sum(patients), effective=min(patients))
    return Area(value=value, low=low, high=high, standard_error=spread.standard_error, degrees=spread.degrees)


def variance_of_difference(one: Sample, other: Sample) -> Uncertainty:
    """Return how surely two areas under the curve differ that are of the same scans, in the same order."""
    parts = [
        _variance_of_mean(_share_below(a, against_a) - _share_below(b, against_b), patients)
        for a, against_a, b, against_b, patients in (
            (one.members, one.non_members, other.members, other.non_members, one.member_patients),
            (one.non_members, one.members, other.non_members, other.members, one.non_member_patients),
        )
    ]
    total = parts[0][0] + parts[1][0]
    return Uncertainty(variance=total, degrees=satterthwaite(total, parts))


def balanced_accuracy(sample: Sample, threshold: float, *, confidence: float) -> Area:
    """Return the mean of the shares of members above a threshold and of non-members at or below it."""
    answers = Sample(
        members=(sample.members > threshold).astype(np.float64),
        non_members=(sample.non_members > threshold).astype(np.float64),
        member_patients=sample.member_patients,
        non_member_patients=sample.non_member_patients,
    )
    return auc(answers, confidence=confidence)


def _share_below(scores: FloatArray, others: FloatArray) -> FloatArray:
    ordered = np.sort(others)
    below, at_most = (np.searchsorted(ordered, scores, side=side) for side in ("left", "right"))
    shares: FloatArray = (below + at_most) / (2.0 * len(others))
    return shares


def _variance_of_mean(values: FloatArray, patients: IntArray) -> tuple[float, float]:
    """Return the variance of the mean of values that are alike within patients, and its degrees of freedom."""
    _, of_patient = np.unique(patients, return_inverse=True)
    sums = np.bincount(of_patient, weights=values - values.mean())
    n = len(sums)
    return float(n / (n - 1) * np.square(sums).sum() / len(values) ** 2), n - 1.0
