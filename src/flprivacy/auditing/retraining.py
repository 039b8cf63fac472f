"""How much models of one recipe differ by chance in training, and on which scale that is asked.

Two models say as little about that spread as two numbers do, so it is taken from fresh weights: how far the attack's
strength differs from one initialisation of the network to the next. Five of them know it poorly; attributes in classes
are therefore pooled, on a scale on which the spread of a proportion does not depend on its size. Training may spread
models wider than initialisation alone, so the pooled spread counts ``ROOM`` times, and that of years ``ROOM_YEARS``
times, because a shift of all predicted ages enters the error nearly squared. Models that scatter up to three times as
much as fresh weights are then called worse in at most 5% of re-audits (tests/auditing/test_changes.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from flprivacy.auditing.intervals import effective_patients
from flprivacy.auditing.measures import Measured
from flprivacy.auditing.uncertainty import Component, pooled_between
from flprivacy.core.attributes import metric_of

ROOM, ROOM_YEARS = 2.75, 4.5
_LEAST_YEARS = 0.1
Fresh = tuple[Measured, str]  # an attack on several initialisations, and the metric in question


def stabilised(one: Measured, metric: str) -> Measured:
    """Return an attack with one metric on the scale that changes are tested on.

    Anscombe's arcsine of the square root (Biometrika 1948) for metrics in [0, 1]; the logarithm of years of error,
    because models that err more also differ more.
    """
    values = one.values[metric]
    if metric_of(metric).unit:
        values = np.log(np.maximum(values, _LEAST_YEARS))
    else:
        n = effective_patients(one.runs.held_out, metric)
        values = np.arcsin(np.sqrt((n * values.clip(0.0, 1.0) + 0.375) / (n + 0.75)))
    return replace(one, values={metric: values}, classes=())


def least_variance(one: Measured, metric: str) -> float:
    """Return the variance of one proportion on that scale, which a difference of two should not go below."""
    n = effective_patients(one.runs.held_out, metric)
    return 2.0 / (n * n) if metric_of(metric).unit else 0.25 / n


def slope(before: Measured, now: Measured, metric: str, difference: float) -> float:
    """Return what turns a difference on the test's scale into one of the metric: the chord, or the tangent at 0."""
    change = metric_of(metric).sign * (now.point(metric) - before.point(metric))
    if abs(difference) > 1e-6 and change * difference > 0.0:
        return change / difference
    middle = (now.point(metric) + before.point(metric)) / 2.0
    if metric_of(metric).unit:
        return max(middle, _LEAST_YEARS)
    middle = min(max(middle, 0.0), 1.0)
    return max(2.0 * float(np.sqrt(middle * (1.0 - middle))), 0.02)


def chance_in_training(fresh: Mapping[tuple[str, str], Sequence[Fresh]], now: Measured, before: Measured) -> Component:
    """Return the variance that two models of one recipe differ by, on the test's scale.

    Attributes in classes share one variance. Years have a scale of their own: theirs counts where it is the larger.

    Args:
        fresh: (attribute, baseline) -> attacks of several accesses, which tell the same thing twice.
        now: the attack on the present models.
        before: the attack on the previous ones.
    """
    classes = [group for group in fresh.values() if not metric_of(group[0][1]).unit]
    own = [group for (attribute, _), group in fresh.items() if attribute == now.runs.attack.attribute]
    pooled = [_pooled(groups) for groups in ((classes,) if own[0] in classes else (own, classes)) if groups]
    widest = max(pooled, key=lambda component: component.variance)
    room = ROOM_YEARS if metric_of(own[0][0][1]).unit else ROOM
    share = room * room * (1.0 / len(now.runs.models) + 1.0 / len(before.runs.models))
    return Component(variance=share * widest.variance, square=share * widest.square, degrees=widest.degrees)


def _pooled(groups: Sequence[Sequence[Fresh]]) -> Component:
    return pooled_between(
        [[(stabilised(one, metric).values[metric], one.resampling) for one, metric in group] for group in groups]
    )
