"""How well a model does the disease task on held-out patients."""

from collections.abc import Sequence

import keras
import numpy as np
import numpy.typing as npt

from flprivacy.cohorts.preprocessing import test_view
from flprivacy.core.errors import TrainingError
from flprivacy.core.metrics import accuracy, auc_one_vs_rest, confusion_matrices, f1_macro
from flprivacy.core.target import Utility
from flprivacy.training.pool import Indices, Pool

_SCORING_BATCH = 32


def class_probabilities(model: keras.Model, pool: Pool, indices: Indices | None = None) -> npt.NDArray[np.float32]:
    """Return the model's (scan, class) probabilities of the test view of scans, all or those of ``indices``.

    Raises:
        TrainingError: a probability is not finite.
    """
    chosen = np.arange(len(pool.labels)) if indices is None else indices
    n = len(chosen)
    parts = []
    for start in range(0, n, _SCORING_BATCH):
        # Wraps around, so that the last batch has the size of the others and nothing is traced twice.
        batch_indices = chosen[np.arange(start, start + min(_SCORING_BATCH, n)) % n]
        batch = model.predict_on_batch(test_view(pool.read(batch_indices), protocol=pool.protocol))
        parts.append(np.asarray(batch)[: n - start])
    probabilities = np.concatenate(parts)
    if not np.isfinite(probabilities).all():
        raise TrainingError("the trained model's outputs are not finite; lower learning_rate and train again")
    return probabilities


def measure_utility(labels: npt.NDArray[np.integer], probabilities: npt.NDArray[np.floating]) -> Utility:
    """Score (scan, class) predictions against (scan,) true classes.

    Macro F1 is over the classes that occur; the one-vs-rest AUC is None unless every class has a scan and none has all.
    """
    n_classes = probabilities.shape[1]
    matrix = confusion_matrices(labels, probabilities.argmax(axis=1), n_classes)
    counts = np.bincount(labels, minlength=n_classes)
    defined = bool(((counts > 0) & (counts < len(labels))).all())
    areas = auc_one_vs_rest(labels, probabilities, np.ones((1, len(labels))))
    return Utility(
        accuracy=float(accuracy(matrix)),
        f1_macro=float(f1_macro(matrix)),
        auc_ovr=float(np.mean(areas)) if defined else None,
        n_scans=len(labels),
    )


def mean_utility(utilities: Sequence[Utility], sizes: Sequence[int]) -> Utility:
    """Return the mean over a target's models, weighted by their training scans (equally where none has any)."""
    weights = np.asarray(sizes, dtype=np.float64) if sum(sizes) else np.ones(len(utilities))
    areas = [u.auc_ovr for u in utilities]
    return Utility(
        accuracy=float(np.average([u.accuracy for u in utilities], weights=weights)),
        f1_macro=float(np.average([u.f1_macro for u in utilities], weights=weights)),
        auc_ovr=None if None in areas else float(np.average(np.array(areas, dtype=np.float64), weights=weights)),
        n_scans=utilities[0].n_scans,
    )
