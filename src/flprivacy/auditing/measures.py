"""Metrics of attack runs, under every row of resampling weights at once."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from flprivacy.auditing.bootstrap import Resampling
from flprivacy.auditing.runs import AttackRuns
from flprivacy.core import metrics
from flprivacy.core.attributes import CLASSIFICATION_METRICS

FloatArray = npt.NDArray[np.float64]

LOWER_IS_STRONGER = ("mae_years",)
CLASS_AVERAGED = ("f1_macro", "balanced_accuracy")
TOP_K = 3
_OF_COUNTS = {
    "f1_weighted": metrics.f1_weighted,
    "f1_macro": metrics.f1_macro,
    "balanced_accuracy": metrics.balanced_accuracy,
    "accuracy": metrics.accuracy,
}


def metric_names(attribute: str, n_classes: int) -> tuple[str, ...]:
    """Return the metrics that an attack on an attribute is judged by.

    ``top3_accuracy`` is for sites, and only where there are more than three of them: of three, any guess is right.
    """
    if attribute == "age_years":
        return LOWER_IS_STRONGER
    top = attribute == "site" and n_classes > TOP_K
    return tuple(name for name in CLASSIFICATION_METRICS if name != "top3_accuracy" or top)


def predicted_classes(runs: AttackRuns) -> npt.NDArray[np.int64]:
    """Return the (model, seed, scan) classes of highest score; the first of equals."""
    return np.asarray(runs.scores.argmax(axis=-1), dtype=np.int64)


@dataclass(frozen=True, kw_only=True, eq=False)
class Measured:
    """An attack with its metrics.

    Attributes:
        runs: the attack.
        resampling: weights of its held-out scans; shared by all attacks on the attribute.
        values: metric -> (row of weights, model, seed).
    """

    runs: AttackRuns
    resampling: Resampling
    values: dict[str, FloatArray]

    def by_seed(self, metric: str) -> FloatArray:
        """Return (row of weights, seed) means over the models."""
        return np.asarray(self.values[metric].mean(axis=1))

    def point(self, metric: str) -> float:
        """Return the mean over models and seeds on the scans as they are."""
        return float(self.values[metric][0].mean())

    @property
    def initialised(self) -> bool:
        """Whether the models are random draws: a baseline of several fresh initialisations."""
        return self.runs.role == "baseline" and len(self.runs.models) > 1


def measure(runs: AttackRuns, resampling: Resampling) -> Measured:
    """Measure every metric of an attack under every row of weights.

    Args:
        runs: the attack.
        resampling: weights of its held-out scans.
    """
    if runs.attribute == "age_years":
        errors = np.abs(runs.scores[..., 0].astype(np.float64) - runs.held_out.truth)
        values = {"mae_years": _weighted_means(errors, resampling.weights)}
        return Measured(runs=runs, resampling=resampling, values=values)
    values = _count_metrics(runs, resampling.weights)
    if "top3_accuracy" in metric_names(runs.attribute, len(runs.held_out.class_names)):
        hits = metrics.top_k_hits(runs.held_out.truth, runs.scores, TOP_K)
        values["top3_accuracy"] = _weighted_means(hits, resampling.weights)
    return Measured(runs=runs, resampling=resampling, values=values)


def _count_metrics(runs: AttackRuns, weights: FloatArray) -> dict[str, FloatArray]:
    truth, predicted = runs.held_out.truth, predicted_classes(runs)
    shape = (len(weights), *predicted.shape[:2])
    values = {name: np.empty(shape) for name in _OF_COUNTS}
    for model in range(shape[1]):  # one at a time, to bound memory
        counts = metrics.class_counts(truth, predicted[model], len(runs.held_out.class_names), weights)
        for name, metric in _OF_COUNTS.items():
            values[name][:, model] = metric(counts)
    return values


def _weighted_means(per_scan: FloatArray, weights: FloatArray) -> FloatArray:
    """Return (row, model, seed) means of (model, seed, scan) values."""
    flat = per_scan.reshape(-1, per_scan.shape[-1])
    means = weights @ flat.T / weights.sum(axis=1, keepdims=True)
    return np.asarray(means.reshape(len(weights), *per_scan.shape[:2]))
