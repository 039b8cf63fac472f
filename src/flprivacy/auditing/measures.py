"""How strong an attack is: every metric of it, on its scans as they are and under resampling."""

from dataclasses import dataclass, field

import numpy as np

from flprivacy.auditing.intervals import effective_patients, least_variance
from flprivacy.auditing.runs import AttackRuns, HeldOut
from flprivacy.auditing.uncertainty import Component, Resampling, pooled_between
from flprivacy.core import metrics
from flprivacy.core.array_types import FloatArray, IntArray
from flprivacy.core.attributes import ONE_CLASS, TOP_K, metric_of

_OF_COUNTS = {
    "f1_weighted": metrics.f1_weighted,
    "f1_macro": metrics.f1_macro,
    "balanced_accuracy": metrics.balanced_accuracy,
    "accuracy": metrics.accuracy,
}
_COUNTS_AT_ONCE = 500_000  # of models taken together, to bound memory


@dataclass(frozen=True, kw_only=True, eq=False)
class Measured:
    """An attack with its metrics."""

    runs: AttackRuns
    resampling: Resampling  # weights of its held-out scans; shared by all attacks on the attribute
    values: dict[str, FloatArray]  # metric -> (row of weights, model, seed)
    classes: tuple[str, ...] = ()  # metrics in values that are about one class, such as auc_class/north
    beyond: HeldOut | None = None  # scans whose metrics are subtracted from those on the scans of the runs

    _by_seed: dict[str, FloatArray] = field(default_factory=dict, init=False, repr=False)
    _between: dict[str, Component] = field(default_factory=dict, init=False, repr=False)

    def effective_patients(self, metric: str) -> float:
        """Return how many patients a metric rests on; the fewer, where it is a difference between two sets."""
        return min(effective_patients(scans, metric) for scans in self._scans)

    def least_variance(self, metric: str) -> float:
        """Return the least variance over patients that a difference of two attacks may claim."""
        return sum(least_variance(scans, metric) for scans in self._scans)

    def largest_difference(self, metric: str) -> float:
        """Return how far two attacks can be apart."""
        return len(self._scans) * metric_of(metric).highest

    @property
    def largest_error(self) -> float:
        """How far answers within the range of those given can be from values within the range of the true ones."""
        answers, truth = self.runs.scores, self.runs.held_out.truth
        return max(float(answers.max() - truth.min()), float(truth.max() - answers.min()))

    @property
    def _scans(self) -> tuple[HeldOut, ...]:
        return (self.runs.held_out,) if self.beyond is None else (self.runs.held_out, self.beyond)

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
    n_classes = len(held_out.class_names)
    at_once = max(1, _COUNTS_AT_ONCE // (len(weights) * shape[2] * n_classes))
    for models in (slice(first, first + at_once) for first in range(0, shape[1], at_once)):
        counts = metrics.class_counts(held_out.truth, predicted[models], n_classes, weights)
        for name, metric in _OF_COUNTS.items():
            values[name][:, models] = metric(counts)
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


def predicted_classes(runs: AttackRuns) -> IntArray:
    """Return the (model, seed, scan) classes of highest score; the first of equals."""
    return np.asarray(runs.scores.argmax(axis=-1), dtype=np.int64)


def _weighted_means(per_scan: FloatArray, weights: FloatArray) -> FloatArray:
    """Return (row, model, seed) means of (model, seed, scan) values."""
    flat = per_scan.reshape(-1, per_scan.shape[-1])
    means = weights @ flat.T / weights.sum(axis=1, keepdims=True)
    return np.asarray(means.reshape(len(weights), *per_scan.shape[:2]))


def on_members_beyond(members: Measured, held_out: Measured) -> Measured:
    """Return how much stronger an attack is on members than on held-out scans, in every metric that both have.

    Replicates of the two are drawn apart and subtracted one by one; patients of either are left out in turn.
    """
    one, other = members.resampling, held_out.resampling
    drawn = 1 + one.n_bootstrap
    values = {}
    for metric in (name for name in members.values if name in held_out.values):
        ours, theirs = members.values[metric], held_out.values[metric]
        parts = [ours[:drawn] - theirs[:drawn], ours[drawn:] - theirs[:1], ours[:1] - theirs[drawn:]]
        values[metric] = np.concatenate(parts)
    resampling = Resampling(
        weights=np.empty((0, 0)),  # nothing is measured with it
        n_bootstrap=one.n_bootstrap,
        n_groups=one.n_groups + other.n_groups,
        n_patients=min(one.n_patients, other.n_patients),
    )
    return Measured(
        runs=members.runs,
        resampling=resampling,
        values=values,
        classes=tuple(name for name in members.classes if name in values),
        beyond=held_out.runs.held_out,
    )
