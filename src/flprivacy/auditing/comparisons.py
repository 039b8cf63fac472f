"""Comparisons of targets with each other: does one way of training give away more than another?"""

from collections.abc import Sequence

from flprivacy.auditing.excess import paired_difference
from flprivacy.auditing.measures import Measured
from flprivacy.core.audit import ExcessEstimate

METRICS = ("f1_weighted", "mae_years")


def compare_targets(measured: Sequence[Measured], *, confidence: float) -> list[ExcessEstimate]:
    """Return how much stronger the attack on each target is than the same attack on each other one.

    Paired by held-out scan and attacker seed. The intervals hold for the models as they are: they say nothing of
    how far the same recipe, trained again, would move. Every pair appears once, the stronger target first.

    Args:
        measured: all attacks on one attribute at one exposed fraction; baselines are passed over.
        confidence: coverage of the intervals.

    Returns:
        Differences, the other target in the place of the baseline; the reduction in years for ``mae_years``.
    """
    targets = [one for one in measured if one.runs.role == "target"]
    return [
        stronger_first
        for i, one in enumerate(targets)
        for other in targets[i + 1 :]
        if one.runs.access == other.runs.access and one.runs.seeds == other.runs.seeds
        for metric in METRICS
        if metric in one.values
        for stronger_first in [_stronger_first(one, other, metric, confidence)]
    ]


def _stronger_first(one: Measured, other: Measured, metric: str, confidence: float) -> ExcessEstimate:
    found = paired_difference(one, other, metric, confidence)
    return found if found.value >= 0.0 else paired_difference(other, one, metric, confidence)
