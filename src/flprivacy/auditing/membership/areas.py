"""AUC and balanced accuracy with intervals whose unit is the patient.

The variance of the AUC is that of its placement values (DeLong, DeLong and Clarke-Pearson, Biometrics 1988), summed up
by patient (Obuchowski, Biometrics 1997). The balanced accuracy of a threshold is the AUC of the answers yes and no.
"""

import numpy as np

from flprivacy.auditing.membership.rates import Sample
from flprivacy.auditing.uncertainty import Uncertainty, satterthwaite, score_interval
from flprivacy.core.array_types import FloatArray, IntArray
from flprivacy.core.membership import Area


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
