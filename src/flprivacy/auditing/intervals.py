"""Intervals from an estimate and its uncertainty, within the range that the metric can take."""

import math

from flprivacy.auditing.measures import CLASS_AVERAGED, LOWER_IS_STRONGER
from flprivacy.auditing.runs import HeldOut
from flprivacy.auditing.variance import Uncertainty

# Weight, in patients, of what is assumed where the sample shows no error at all (or nothing but errors).
_PSEUDO_PATIENTS = 0.5


def effective_patients(held_out: HeldOut, metric: str) -> float:
    """Return how many patients a metric rests on.

    All of them, unless the metric is a plain mean over classes: then a class of one patient weighs as much as a class
    of a hundred.
    """
    return held_out.class_worth if metric in CLASS_AVERAGED else float(held_out.n_patients)


def metric_interval(
    value: float, spread: Uncertainty, *, metric: str, held_out: HeldOut, confidence: float
) -> tuple[float, float]:
    """Return the interval of a metric of one attack.

    Years of error get a symmetric t interval, cut off at 0. Metrics in [0, 1] get Wilson's score interval (JASA 1927),
    with t for z and, for the number of trials, the number that would give a proportion the same variance
    (as survey statistics does: Korn & Graubard, Survey Methodology 1998). In the middle of the range it
    is the t interval; near 0 and 1 it leans inward, stays within the range, and where every scan is right (or wrong) it
    still reaches 3.8 / n inward - the rule of three's cousin - instead of claiming certainty.
    """
    quantile = spread.quantile(confidence)
    if metric in LOWER_IS_STRONGER:
        reach = quantile * spread.standard_error
        return max(value - reach, 0.0), value + reach
    n, effective = held_out.n_patients, effective_patients(held_out, metric)
    trials = (value * (1.0 - value) + _PSEUDO_PATIENTS / n) / (spread.variance + _PSEUDO_PATIENTS / (n * effective))
    lean = quantile * quantile / trials
    centre = (value + lean / 2.0) / (1.0 + lean)
    reach = math.sqrt(lean * value * (1.0 - value) + lean * lean / 4.0) / (1.0 + lean)
    return min(max(centre - reach, 0.0), value), max(min(centre + reach, 1.0), value)


def least_variance(held_out: HeldOut, metric: str) -> float:
    """Return the least variance over patients that a difference of two attacks may claim.

    Two attacks that agree on each of n patients may still disagree on the next one. The floor is what Bonett and Price
    (Journal of Educational and Behavioral Statistics 2012) get for paired proportions without a discordant pair: one
    pseudo-pair either way, hence 2 / n^2. For years, the same share of the spread of ages.
    """
    n = held_out.n_patients
    scale = float(held_out.truth.var()) if metric in LOWER_IS_STRONGER else 1.0
    return 2.0 * scale / (n * effective_patients(held_out, metric))
