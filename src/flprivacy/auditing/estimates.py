"""How strong attacks are: every metric with its interval, and its difference from baselines and other targets."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

import numpy as np
import numpy.typing as npt

from flprivacy.auditing.runs import AttackRuns
from flprivacy.auditing.uncertainty import (
    Component,
    Resampling,
    Uncertainty,
    effective_patients,
    least_variance,
    metric_interval,
    pooled_between,
    uncertainty,
)
from flprivacy.core import metrics
from flprivacy.core.attributes import NO_ACCESS, ONE_CLASS, TOP_K, metric_of
from flprivacy.core.audit import ExcessEstimate, MetricEstimate

FloatArray = npt.NDArray[np.float64]

_OF_COUNTS = {
    "f1_weighted": metrics.f1_weighted,
    "f1_macro": metrics.f1_macro,
    "balanced_accuracy": metrics.balanced_accuracy,
    "accuracy": metrics.accuracy,
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Measured:
    """An attack with its metrics."""

    runs: AttackRuns
    resampling: Resampling  # weights of its held-out scans; shared by all attacks on the attribute
    values: dict[str, FloatArray]  # metric -> (row of weights, model, seed)
    classes: tuple[str, ...] = ()  # metrics in values that are about one class, such as auc_class/north

    _by_seed: dict[str, FloatArray] = field(default_factory=dict, init=False, repr=False)
    _between: dict[str, Component] = field(default_factory=dict, init=False, repr=False)

    def by_seed(self, metric: str) -> FloatArray:
        """Return (row of weights, seed) means over the models."""
        if metric not in self._by_seed:  # asked for by every comparison
            self._by_seed[metric] = np.asarray(self.values[metric].mean(axis=1))
        return self._by_seed[metric]

    def point(self, metric: str) -> float:
        """Return the mean over models and seeds on the scans as they are."""
        return float(self.values[metric][0].mean())

    @property
    def drawn(self) -> bool:
        """Whether the models are several draws of fresh weights."""
        return self.runs.role == "baseline" and len(self.runs.models) > 1

    def initialisations(self, metric: str, share: float) -> list[Component]:
        """Return a share of the variance between the random draws that the models are; nothing where they are none."""
        if not self.drawn:
            return []
        if metric not in self._between:
            self._between[metric] = pooled_between([[(self.values[metric], self.resampling)]])
        return [self._between[metric].times(share)]


def measure(runs: AttackRuns, resampling: Resampling) -> Measured:
    """Measure every metric of an attack under every row of weights."""
    held_out, weights = runs.held_out, resampling.weights
    if held_out.attribute.is_regression:
        errors = np.abs(runs.scores[..., 0].astype(np.float64) - held_out.truth)
        return Measured(runs=runs, resampling=resampling, values={"mae_years": _weighted_means(errors, weights)})
    predicted = predicted_classes(runs)
    shape = (len(weights), *predicted.shape[:2])
    values = {name: np.empty(shape) for name in _OF_COUNTS}
    for model in range(shape[1]):  # one at a time, to bound memory
        counts = metrics.class_counts(held_out.truth, predicted[model], len(held_out.class_names), weights)
        for name, metric in _OF_COUNTS.items():
            values[name][:, model] = metric(counts)
    if "top3_accuracy" in held_out.metrics:
        hits = metrics.top_k_hits(held_out.truth, runs.scores, TOP_K)
        values["top3_accuracy"] = _weighted_means(hits, weights)
    values["auc_ovr"], of_classes = _areas(runs, weights)
    return Measured(runs=runs, resampling=resampling, values=values | of_classes, classes=tuple(of_classes))


def _areas(runs: AttackRuns, weights: FloatArray) -> tuple[FloatArray, dict[str, FloatArray]]:
    """Return the mean over classes of one-vs-rest areas, and the area of each class where those are looked at."""
    held_out = runs.held_out
    areas = metrics.auc_one_vs_rest(held_out.truth, runs.scores, weights)
    present = [index for index in range(len(areas)) if index in held_out.truth]
    areas = areas[present]
    absent = np.isnan(areas)  # a class whose patients a replicate left out
    kept = (~absent).sum(axis=0)
    point = areas[:, :1].mean(axis=0)
    mean = np.where(kept > 0, np.where(absent, 0.0, areas).sum(axis=0) / np.maximum(kept, 1), point)
    if not held_out.attribute.one_class or len(areas) < 3:
        return mean, {}
    filled = np.where(absent, areas[:, :1], areas)
    return mean, {f"{ONE_CLASS}/{held_out.class_names[i]}": area for i, area in zip(present, filled, strict=True)}


def predicted_classes(runs: AttackRuns) -> npt.NDArray[np.int64]:
    """Return the (model, seed, scan) classes of highest score; the first of equals."""
    return np.asarray(runs.scores.argmax(axis=-1), dtype=np.int64)


def _weighted_means(per_scan: FloatArray, weights: FloatArray) -> FloatArray:
    """Return (row, model, seed) means of (model, seed, scan) values."""
    flat = per_scan.reshape(-1, per_scan.shape[-1])
    means = weights @ flat.T / weights.sum(axis=1, keepdims=True)
    return np.asarray(means.reshape(len(weights), *per_scan.shape[:2]))


def estimate_metrics(measured: Measured, *, confidence: float) -> list[MetricEstimate]:
    """Return every metric of an attack: mean over models and attacker seeds, with its interval.

    The interval covers the mean that the same attack would reach over all patients like the held-out ones and over all
    attacker seeds; for a baseline of fresh weights, over all initialisations too. It is conditional on
    the trained target: a model trained again may give away more or less, and no number here speaks of that.
    """
    return [_estimate(measured, metric, confidence) for metric in measured.values if metric not in measured.classes]


def _estimate(measured: Measured, metric: str, confidence: float) -> MetricEstimate:
    runs, held_out, by_seed = measured.runs, measured.runs.held_out, measured.by_seed(metric)
    spread = uncertainty(
        by_seed.mean(axis=1),
        [by_seed],
        measured.resampling,
        known=measured.initialisations(metric, 1.0 / len(runs.models)),
        floor=least_variance(held_out, metric) if metric_of(metric).unit else 0.0,
        patients=effective_patients(held_out, metric) if metric in measured.classes else None,
    )
    value = measured.point(metric)
    low, high = metric_interval(value, spread, metric=metric, held_out=held_out, confidence=confidence)
    by_model = measured.values[metric][0].mean(axis=1)
    several = len(runs.models) > 1
    return MetricEstimate(
        attack=runs.attack,
        role=runs.role,
        metric=metric.partition("/")[0],
        of_class=metric.partition("/")[2],
        value=value,
        ci_low=low,
        ci_high=high,
        n_scans=held_out.n_scans,
        n_patients=held_out.n_patients,
        n_seeds=len(runs.seeds),
        n_models=len(runs.models),
        per_model={name: float(v) for name, v in zip(runs.models, by_model, strict=True)} if several else {},
    )


def estimate_excesses(target: Measured, baselines: Sequence[Measured], *, confidence: float) -> list[ExcessEstimate]:
    """Return every metric's excess over every baseline, and that of the class that stands out most, if any is asked.

    The two attacks are paired: same held-out scans under the same resampling weights, same attacker seeds. Over a
    baseline of R fresh initialisations, the interval allows for random weights on both sides, 1/m + 1/R times the
    variance between initialisations for a target of m models: a target that is no more than another draw of
    fresh weights is called a leak no more often than the interval promises.
    """
    plain = [metric for metric in target.values if metric not in target.classes]
    found = [estimate for metric in plain for estimate in _over_baselines(target, baselines, metric, confidence)]
    if target.classes:
        several = 1.0 - (1.0 - confidence) / len(target.classes)
        of_classes = [_over_baselines(target, baselines, metric, several) for metric in target.classes]
        clearest = max(of_classes, key=lambda over: min(e.ci_low for e in over))
        found += [
            replace(e, strongest_of=len(of_classes), p_value=min(1.0, len(of_classes) * e.p_value)) for e in clearest
        ]
    return found


def _over_baselines(
    target: Measured, baselines: Sequence[Measured], metric: str, confidence: float
) -> list[ExcessEstimate]:
    """Return the excess over every baseline: the strongest is marked, and those not clearly weaker than it."""
    sign = metric_of(metric).sign
    best = max(baselines, key=lambda baseline: sign * baseline.point(metric))
    return [
        replace(
            paired_difference(target, baseline, metric, confidence),
            best_baseline=baseline is best,
            as_good=baseline is best or paired_difference(best, baseline, metric, confidence).ci_low <= 0.0,
        )
        for baseline in baselines
    ]


def paired_difference(target: Measured, baseline: Measured, metric: str, confidence: float) -> ExcessEstimate:
    """Return how much stronger the attack on ``target`` is, with interval and p-value; no baseline is marked best."""
    own, theirs = 1.0 / len(target.runs.models), 1.0 / len(baseline.runs.models)
    drawn = target.initialisations(metric, own)  # none, unless two baselines are compared
    drawn += baseline.initialisations(metric, own + theirs if target.runs.role == "target" else theirs)
    value, spread = difference(target, baseline, metric, drawn)
    highest = metric_of(metric).highest
    low, high = spread.interval(value, confidence, low=-highest, high=highest)
    return ExcessEstimate(
        attack=target.runs.attack,
        baseline=baseline.runs.attack.target,
        metric=metric.partition("/")[0],
        of_class=metric.partition("/")[2],
        standard_error=spread.standard_error,
        degrees=spread.degrees,
        value=value,
        ci_low=low,
        ci_high=high,
        p_value=spread.p_value(value),
        best_baseline=False,
    )


def difference(
    one: Measured,
    other: Measured,
    metric: str,
    known: Sequence[Component] = (),
    *,
    floor: float | None = None,
) -> tuple[float, Uncertainty]:
    """Return how much stronger attack ``one`` is and the uncertainty of that, paired by scan, and by seed if equal."""
    ours, theirs = (metric_of(metric).sign * attack.by_seed(metric) for attack in (one, other))
    paired = one.runs.seeds == other.runs.seeds  # else the seeds of the two are independent draws
    draws = (ours - theirs,) if paired else (ours, -theirs)
    estimate = np.sum([values.mean(axis=1) for values in draws], axis=0)
    spread = uncertainty(
        estimate,
        draws,
        one.resampling,
        known=known,
        floor=least_variance(one.runs.held_out, metric) if floor is None else floor,
        patients=effective_patients(one.runs.held_out, metric) if metric in one.classes else None,
    )
    return float(estimate[0]), spread


def compare_targets(measured: Sequence[Measured], *, confidence: float) -> list[ExcessEstimate]:
    """Return how much stronger the attack on each target is than the same attack on each other one.

    Paired by held-out scan and attacker seed. The intervals hold for the models as they are: they say nothing of
    how far the same recipe, trained again, would move. Every pair appears once, in the attribute's main metric, the
    stronger target first and the other in the place of the baseline. Baselines are passed over.
    """
    found = []
    for one, other in combinations([one for one in measured if one.runs.role == "target"], 2):
        if one.runs.attack.access == other.runs.attack.access and one.runs.seeds == other.runs.seeds:
            metric = one.runs.held_out.attribute.metric
            difference = paired_difference(one, other, metric, confidence)
            found.append(difference if difference.value >= 0.0 else paired_difference(other, one, metric, confidence))
    return found


@dataclass(frozen=True, kw_only=True)
class CellEstimates:
    """All numbers of the attacks on one attribute at one exposed fraction."""

    metrics: list[MetricEstimate]
    excesses: list[ExcessEstimate]
    comparisons: list[ExcessEstimate]


def estimate_cell(
    cell: Sequence[AttackRuns],
    baselines_of: Callable[[AttackRuns, Sequence[AttackRuns]], Sequence[AttackRuns]],
    resampling: Resampling,
    *,
    confidence: float,
) -> CellEstimates:
    """Measure attacks on the same held-out scans, and hold targets against baselines and against each other.

    ``baselines_of`` returns a target's baselines among the attacks of the cell.
    """
    measured = {id(runs): measure(runs, resampling) for runs in cell}
    excesses: list[ExcessEstimate] = []
    for one in measured.values():
        if one.runs.role == "target":
            baselines = [measured[id(runs)] for runs in baselines_of(one.runs, cell)]
            excesses += estimate_excesses(one, baselines, confidence=confidence)
    found = [metric for one in measured.values() for metric in estimate_metrics(one, confidence=confidence)]
    found += _of_classes(list(measured.values()), excesses, confidence)
    return CellEstimates(
        metrics=found,
        excesses=excesses,
        comparisons=compare_targets(list(measured.values()), confidence=confidence),
    )


def _of_classes(
    measured: Sequence[Measured], excesses: Sequence[ExcessEstimate], confidence: float
) -> list[MetricEstimate]:
    """Return the areas of single classes that excesses are about, of the targets and of their baselines."""
    about = {
        (f"{ONE_CLASS}/{e.of_class}", name, e.attack.access) for e in excesses for name in (e.attack.target, e.baseline)
    }
    return [
        _estimate(one, metric, confidence)
        for one in measured
        for metric in one.classes
        if any(
            (metric, one.runs.attack.target) == (asked, name) and one.runs.attack.access in (access, NO_ACCESS)
            for asked, name, access in about
        )
    ]
