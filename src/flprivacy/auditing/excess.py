"""Excess: how much stronger an attack on a target is than the same attack on a baseline."""

from collections.abc import Sequence
from dataclasses import replace

from flprivacy.auditing.intervals import least_variance
from flprivacy.auditing.measures import LOWER_IS_STRONGER, Measured
from flprivacy.auditing.variance import uncertainty
from flprivacy.core.audit import ExcessEstimate


def estimate_excesses(target: Measured, baselines: Sequence[Measured], *, confidence: float) -> list[ExcessEstimate]:
    """Return every metric's excess over every baseline, the strongest baseline marked.

    The two attacks are paired: same held-out scans under the same resampling weights, same attacker seeds. Over a
    baseline of R fresh initialisations, the interval allows for the luck of the draw on both sides, 1/m + 1/R times the
    variance between initialisations for a target of m models: a target that is no more than another draw of
    fresh weights is called a leak no more often than the interval promises.

    Args:
        target: an attack on a target.
        baselines: its baselines (:func:`flprivacy.auditing.baselines.baselines_of`).
        confidence: coverage of the intervals.
    """
    found = []
    for metric in target.values:
        points = [_strength(baseline.point(metric), metric) for baseline in baselines]
        strongest = points.index(max(points))
        for i, baseline in enumerate(baselines):
            estimate = paired_difference(target, baseline, metric, confidence)
            found.append(replace(estimate, best_baseline=i == strongest))
    return found


def _strength(value: float, metric: str) -> float:
    return -value if metric in LOWER_IS_STRONGER else value


def paired_difference(target: Measured, baseline: Measured, metric: str, confidence: float) -> ExcessEstimate:
    """Return how much stronger the attack on ``target`` is, with interval and p-value; no baseline is marked best."""
    runs, sign = target.runs, _strength(1.0, metric)
    differences = sign * (target.by_seed(metric) - baseline.by_seed(metric))
    spread = uncertainty(
        differences,
        target.resampling,
        initialisations=baseline.values[metric] if baseline.initialised else None,
        share=1.0 / len(runs.models) + 1.0 / len(baseline.runs.models),
        floor=least_variance(runs.held_out, metric),
    )
    value = float(differences[0].mean())
    reach = spread.quantile(confidence) * spread.standard_error
    bound = float("inf") if metric in LOWER_IS_STRONGER else 1.0
    return ExcessEstimate(
        target=runs.target,
        baseline=baseline.runs.target,
        attribute=runs.attribute,
        access=runs.access,
        fraction=runs.fraction,
        metric=metric,
        value=value,
        ci_low=max(value - reach, -bound),
        ci_high=min(value + reach, bound),
        p_value=spread.p_value(value),
        best_baseline=False,
    )
