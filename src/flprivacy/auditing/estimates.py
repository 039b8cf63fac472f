"""Metrics of one attack with their intervals."""

from flprivacy.auditing.intervals import least_variance, metric_interval
from flprivacy.auditing.measures import LOWER_IS_STRONGER, Measured
from flprivacy.auditing.variance import uncertainty
from flprivacy.core.audit import MetricEstimate


def estimate_metrics(measured: Measured, *, confidence: float) -> list[MetricEstimate]:
    """Return every metric of an attack: mean over models and attacker seeds, with its interval.

    The interval covers the mean that the same attack would reach over all patients like the held-out ones and over all
    attacker seeds; for a baseline of fresh weights, over all initialisations too. It is conditional on
    the trained target: a model trained again may give away more or less, and no number here speaks of that.

    Args:
        measured: the attack.
        confidence: coverage of the intervals.
    """
    return [_estimate(measured, metric, confidence) for metric in measured.values]


def _estimate(measured: Measured, metric: str, confidence: float) -> MetricEstimate:
    runs, held_out = measured.runs, measured.runs.held_out
    values = measured.values[metric]
    spread = uncertainty(
        measured.by_seed(metric),
        measured.resampling,
        initialisations=values if measured.initialised else None,
        share=1.0 / len(runs.models),
        floor=least_variance(held_out, metric) if metric in LOWER_IS_STRONGER else 0.0,
    )
    value = measured.point(metric)
    low, high = metric_interval(value, spread, metric=metric, held_out=held_out, confidence=confidence)
    by_model = values[0].mean(axis=1)
    several = len(runs.models) > 1
    return MetricEstimate(
        target=runs.target,
        role=runs.role,
        attribute=runs.attribute,
        access=runs.access,
        fraction=runs.fraction,
        metric=metric,
        value=value,
        ci_low=low,
        ci_high=high,
        n_scans=held_out.n_scans,
        n_patients=held_out.n_patients,
        n_seeds=len(runs.seeds),
        n_models=len(runs.models),
        per_model={name: float(v) for name, v in zip(runs.models, by_model, strict=True)} if several else {},
    )
