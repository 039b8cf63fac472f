"""Intervals of single attacks, within what their metric can be, and how many patients a metric rests on."""

import math

import numpy as np

from flprivacy.auditing.runs import HeldOut
from flprivacy.auditing.uncertainty import Uncertainty
from flprivacy.core.attributes import ONE_CLASS, metric_of

# Weight, in patients, of what is assumed where the sample shows no error at all (or nothing but errors).
_PSEUDO_PATIENTS = 0.5
# Likewise of errors in years as large as can be, which no patient of the sample shows.
_UNSEEN_PATIENTS = 0.1


def effective_patients(held_out: HeldOut, metric: str) -> float:
    """Return how many patients a metric rests on; its variance is known with one degree of freedom less.

    All of them, unless the metric is of one class, or a plain mean over classes: then a class of one patient weighs as
    much as a class of a hundred.
    """
    kind, _, name = metric.partition("/")
    if kind == ONE_CLASS:
        return float(len(np.unique(held_out.patients[held_out.truth == held_out.class_names.index(name)])))
    of_classes = metric_of(metric).mean_over_classes
    return held_out.patients_per_class_mean if of_classes else float(held_out.n_patients)


def metric_interval(
    value: float,
    spread: Uncertainty,
    *,
    metric: str,
    held_out: HeldOut,
    confidence: float,
    largest_error: float = 0.0,
) -> tuple[float, float]:
    """Return the interval of a metric of one attack.

    Years of error get a t interval whose upper end allows for errors that befall too few patients to be seen
    (:func:`error_interval`). Metrics in [0, 1] get Wilson's score interval (JASA 1927),
    with t for z and, for the number of trials, the number that would give a proportion the same variance
    (as survey statistics does: Korn & Graubard, Survey Methodology 1998). In the middle of the range it
    is the t interval; near 0 and 1 it leans inward, stays within the range, and where every scan is right (or wrong) it
    still reaches 3.8 / n inward - close to the rule of three - instead of claiming certainty.
    """
    if metric_of(metric).unit:
        return error_interval(value, spread, confidence, largest=largest_error, patients=held_out.n_patients)
    return score_interval(
        value, spread, confidence, patients=held_out.n_patients, effective=effective_patients(held_out, metric)
    )


def error_interval(
    value: float, spread: Uncertainty, confidence: float, *, largest: float, patients: float
) -> tuple[float, float]:
    """Return the interval of a mean error, from 0.

    Of n patients, an error that befalls one in 20 may have missed all, and then nothing in the sample tells of it. An
    attack's answers are bounded, though, so no error can be larger than ``largest``. The upper end is that of the
    sample with a tenth of a patient more who has such an error: enough for 92% where one patient in 20 of 40 does.
    """
    reach, unseen = spread.quantile(confidence), _UNSEEN_PATIENTS / patients
    beyond = max(largest - value, 0.0)
    high = value + unseen * beyond + reach * math.sqrt(spread.variance + unseen * beyond**2 / patients)
    return max(value - reach * spread.standard_error, 0.0), high


def score_interval(
    value: float, spread: Uncertainty, confidence: float, *, patients: float, effective: float
) -> tuple[float, float]:
    """Return the interval of a value in [0, 1] that rests on ``effective`` of the patients; see metric_interval."""
    quantile, n = spread.quantile(confidence), patients
    trials = (value * (1.0 - value) + _PSEUDO_PATIENTS / n) / (spread.variance + _PSEUDO_PATIENTS / (n * effective))
    lean = quantile * quantile / trials
    centre = (value + lean / 2.0) / (1.0 + lean)
    reach = math.sqrt(lean * value * (1.0 - value) + lean * lean / 4.0) / (1.0 + lean)
    return min(max(centre - reach, 0.0), value), max(min(centre + reach, 1.0), value)


def least_variance(held_out: HeldOut, metric: str) -> float:
    """Return the least variance over patients that a difference of two attacks may claim.

    Two attacks that agree on each of n patients may still disagree on the next one. The floor is what Bonett and Price
    (Journal of Educational and Behavioral Statistics 2012) get for paired proportions without a discordant pair: one
    pseudo-pair either way, hence 2 / n^2. The pair is of scans: of a patient with many, one may be judged otherwise
    without the others. For years, the same share of the spread of ages.
    """
    scale = float(held_out.truth.var()) if metric_of(metric).unit else 1.0
    return 2.0 * scale / (held_out.n_scans * effective_patients(held_out, metric))
