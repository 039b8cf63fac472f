"""How much models of one recipe differ by the luck of training, and on which scale that is asked.

Two models say as little about that spread as two numbers do, so it is taken from fresh weights: how far the attack's
strength differs from one initialisation of the network to the next. Five of them know it poorly; attributes in classes
are therefore pooled, on a scale on which the spread of a proportion does not depend on its size. Training may spread
models wider than initialisation alone, so the pooled spread counts ``ROOM`` times: models that scatter up to three
times as much as fresh weights are called worse in at most 5% of re-audits (tests/auditing/test_changes.py).
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from flprivacy.auditing.estimates import Measured
from flprivacy.auditing.uncertainty import Component, effective_patients, pooled_between
from flprivacy.core.attributes import metric_of

ROOM = 2.5


def stabilised(one: Measured, metric: str) -> Measured:
    """Return an attack with one metric on the scale that changes are tested on.

    Anscombe's arcsine of the square root (Biometrika 1948) for metrics in [0, 1]; years as they are.
    """
    values = one.values[metric]
    if not metric_of(metric).unit:
        n = effective_patients(one.runs.held_out, metric)
        values = np.arcsin(np.sqrt((n * values.clip(0.0, 1.0) + 0.375) / (n + 0.75)))
    return replace(one, values={metric: values}, classes=())


def least_variance(one: Measured, metric: str) -> float | None:
    """Return the variance of one proportion on that scale, which a difference of two should not go below."""
    return None if metric_of(metric).unit else 0.25 / effective_patients(one.runs.held_out, metric)


def slope(before: Measured, now: Measured, metric: str, difference: float) -> float:
    """Return what turns a difference on the test's scale into one of the metric: the chord, or the tangent at 0."""
    if metric_of(metric).unit:
        return 1.0
    change = now.point(metric) - before.point(metric)
    if abs(difference) > 1e-6 and change * difference > 0.0:
        return change / difference
    middle = float(np.clip((now.point(metric) + before.point(metric)) / 2.0, 0.0, 1.0))
    return max(2.0 * float(np.sqrt(middle * (1.0 - middle))), 0.02)


def luck_of_training(
    fresh: Sequence[Sequence[tuple[Measured, str]]], now: Measured, before: Measured
) -> list[Component]:
    """Return the variance that two models of one recipe differ by, on the test's scale.

    Args:
        fresh: baselines of several initialisations with the metric in question, grouped by attribute and audit: within
            a group, attacks of several accesses on the same weights, which tell the same thing twice.
        now: the attack on the present models.
        before: the attack on the previous ones.
    """
    groups = [[(stabilised(one, metric).values[metric], one.resampling) for one, metric in group] for group in fresh]
    one = pooled_between(groups)
    share = ROOM * ROOM * (1.0 / len(now.runs.models) + 1.0 / len(before.runs.models))
    return [Component(variance=share * one.variance, square=share * one.square, degrees=one.degrees)]
