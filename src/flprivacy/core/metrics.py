"""Metrics of attacks and of utility: pure functions over arrays, vectorised over leading axes.

Classification metrics are functions of confusion matrices (or of their margins, :class:`ClassCounts`), so that one
pass over the scans serves them all and a bootstrap replicate is no more than a row of weights.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from flprivacy.core.array_types import BoolArray, FloatArray, IntArray
from flprivacy.core.errors import AuditError


def confusion_matrices(
    truth: npt.ArrayLike, predicted: npt.ArrayLike, n_classes: int, weights: npt.ArrayLike | None = None
) -> FloatArray:
    """Count (truth, prediction) pairs, weighted.

    Args:
        truth: (scan,) class indices in [0, ``n_classes``).
        predicted: (..., scan) class indices in [0, ``n_classes``).
        n_classes: number of classes.
        weights: (..., scan) weights of the scans, not negative; 1 where None. Leading axes broadcast against those
            of ``predicted``.

    Returns:
        (..., class, class) sums of weights, indexed [truth, prediction].

    Raises:
        AuditError: an index outside the classes, or arrays that do not count the same scans.
    """
    rows, columns = _indices(truth, "truth", n_classes), _indices(predicted, "predicted", n_classes)
    n = rows.shape[-1]
    sizes = np.ones(n) if weights is None else np.asarray(weights, dtype=np.float64)
    if rows.ndim != 1 or columns.shape[-1] != n or sizes.shape[-1] != n:
        raise AuditError(
            f"confusion_matrices: truth of shape {rows.shape}, predicted {columns.shape}, weights {sizes.shape}; "
            "truth must be (scan,) and the others (..., scan)"
        )
    cells, sizes = np.broadcast_arrays(rows * n_classes + columns, sizes)
    leading, n_cells = cells.shape[:-1], n_classes * n_classes
    n_matrices = int(np.prod(leading, dtype=np.int64))
    offsets = np.arange(n_matrices, dtype=np.int64)[:, None] * n_cells
    flat = (cells.reshape(n_matrices, n) + offsets).ravel()
    counts = np.bincount(flat, weights=sizes.reshape(-1), minlength=n_matrices * n_cells)
    return counts.reshape(*leading, n_classes, n_classes).astype(np.float64, copy=False)


def _indices(values: npt.ArrayLike, name: str, n_classes: int) -> IntArray:
    """Return class indices, refusing any that would be counted as another class's or another matrix's."""
    indices: npt.NDArray[Any] = np.asarray(values)
    whole = indices.astype(np.int64)
    if (whole != indices).any() or (whole < 0).any() or (whole >= n_classes).any():
        raise AuditError(f"{name}: holds a class index outside 0..{n_classes - 1}; give one of {n_classes} classes")
    return whole


@dataclass(frozen=True, kw_only=True, eq=False)
class ClassCounts:
    """What F1, recall and accuracy need of a confusion matrix; far smaller where classes are many."""

    hits: FloatArray  # (..., class) weight of the scans of a class that were predicted to be of it
    # (..., class) weight of the scans of a class; axes of length 1 stand for equal truths along them
    truths: FloatArray
    predictions: FloatArray  # (..., class) weight of the scans predicted to be of a class


def class_counts(truth: npt.ArrayLike, predicted: npt.ArrayLike, n_classes: int, weights: npt.ArrayLike) -> ClassCounts:
    """Count hits, truths and predictions of each class under many weightings of the scans at once.

    The same numbers as from :func:`confusion_matrices`, by sparse products: the bootstrap's inner loop. Weights in
    Fortran order are read fastest.

    Args:
        truth: (scan,) class indices.
        predicted: (..., scan) class indices.
        n_classes: number of classes.
        weights: (replicate, scan) weights, not negative.

    Returns:
        Counts of shape (replicate, ..., class), and (replicate, 1..., class) of the truths.

    Raises:
        AuditError: an index outside the classes.
    """
    by_scan = np.asarray(weights, dtype=np.float64).T  # (scan, replicate)
    of_truth, guessed = _indices(truth, "truth", n_classes), _indices(predicted, "predicted", n_classes)
    n, leading = len(of_truth), guessed.shape[:-1]
    # Every class, and every (repeat, class), is a row of a sparse matrix that picks its scans.
    n_repeats, every = int(np.prod(leading, dtype=np.int64)), np.arange(n)
    rows = (guessed.reshape(n_repeats, n) + n_classes * np.arange(n_repeats, dtype=np.int64)[:, None]).ravel()
    scans, right, n_rows = np.tile(every, n_repeats), (guessed == of_truth).ravel(), n_repeats * n_classes
    row = np.concatenate([rows, n_rows + rows[right], 2 * n_rows + of_truth])
    scan = np.concatenate([scans, scans[right], every])
    starts = np.concatenate([[0], np.bincount(row, minlength=2 * n_rows + n_classes).cumsum()])
    pick = sparse.csr_array((np.ones(len(row)), scan[row.argsort(kind="stable")], starts), shape=(len(starts) - 1, n))
    predictions, hits, truths = np.split(np.asarray(pick @ by_scan), [n_rows, 2 * n_rows])

    def by_replicate(sums: FloatArray, repeats: tuple[int, ...]) -> FloatArray:
        return np.moveaxis(sums.reshape(*repeats, n_classes, sums.shape[1]), -1, 0)  # (replicate, ..., class)

    return ClassCounts(
        hits=by_replicate(hits, leading),
        truths=by_replicate(truths, (1,) * len(leading)),
        predictions=by_replicate(predictions, leading),
    )


def _counts(cm: npt.ArrayLike | ClassCounts) -> ClassCounts:
    if isinstance(cm, ClassCounts):
        return cm
    matrices = np.asarray(cm, dtype=np.float64)
    hits = np.diagonal(matrices, axis1=-2, axis2=-1)
    return ClassCounts(hits=hits, truths=matrices.sum(axis=-1), predictions=matrices.sum(axis=-2))


def _ratio(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """Divide, with 0 where the denominator is 0."""
    zeros = np.zeros(np.broadcast_shapes(numerator.shape, denominator.shape))
    return np.divide(numerator, denominator, out=zeros, where=denominator > 0)


def _f1(counts: ClassCounts) -> FloatArray:
    """Return F1 of each class, (..., class)."""
    return _ratio(2.0 * counts.hits, counts.truths + counts.predictions)


def _mean_over_present(values: FloatArray, counts: ClassCounts) -> FloatArray:
    """Return the plain mean over the classes that have a truth."""
    present = (counts.truths > 0).astype(np.float64)
    return _ratio((values * present).sum(axis=-1), present.sum(axis=-1))


def f1_weighted(cm: npt.ArrayLike | ClassCounts) -> FloatArray:
    """Return F1 averaged over classes by their number of truths: (..., class, class) -> (...), in [0, 1]."""
    counts = _counts(cm)
    return _ratio((_f1(counts) * counts.truths).sum(axis=-1), counts.truths.sum(axis=-1))


def f1_macro(cm: npt.ArrayLike | ClassCounts) -> FloatArray:
    """Return the mean F1 of the classes that have a truth: (..., class, class) -> (...), in [0, 1].

    A class that is predicted but never true lowers the recall of others only; scikit-learn would also average in
    its F1 of 0 unless its ``labels`` are the classes that have a truth.
    """
    counts = _counts(cm)
    return _mean_over_present(_f1(counts), counts)


def balanced_accuracy(cm: npt.ArrayLike | ClassCounts) -> FloatArray:
    """Return the mean recall of the classes that have a truth: (..., class, class) -> (...), in [0, 1]."""
    counts = _counts(cm)
    return _mean_over_present(_ratio(counts.hits, counts.truths), counts)


def accuracy(cm: npt.ArrayLike | ClassCounts) -> FloatArray:
    """Return the fraction of scans classified correctly: (..., class, class) -> (...), in [0, 1]."""
    counts = _counts(cm)
    return _ratio(counts.hits.sum(axis=-1), counts.truths.sum(axis=-1))


def top_k_hits(truth: npt.ArrayLike, scores: npt.ArrayLike, k: int) -> FloatArray:
    """Return for each scan the probability that its true class is among the ``k`` highest scores.

    It is 0 or 1 unless the true class ties with others at the border; ties are broken evenly, so that an attacker
    who gives every class the same score is right k times in C, not always.

    Args:
        truth: (scan,) class indices.
        scores: (..., scan, class) scores, higher for likelier.
        k: how many guesses the attacker has.

    Returns:
        (..., scan) values in [0, 1].
    """
    values = np.asarray(scores)
    index = np.broadcast_to(_indices(truth, "truth", values.shape[-1]), values.shape[:-1])
    own = np.take_along_axis(values, index[..., None], axis=-1)
    higher = (values > own).sum(axis=-1)
    tied = (values == own).sum(axis=-1)
    hits: FloatArray = np.clip((k - higher) / tied, 0.0, 1.0)
    return hits


def auc_one_vs_rest(truth: npt.ArrayLike, scores: npt.ArrayLike, weights: npt.ArrayLike) -> FloatArray:
    """Return how well each class's score tells it from all others: the area under the ROC curve, ties counting half.

    Under weights other than one it is the first-order expansion in them (placement values: DeLong, DeLong and
    Clarke-Pearson, Biometrics 1988), which makes replicates a matrix product.

    Args:
        truth: (scan,) class indices.
        scores: (..., scan, class) scores, higher for likelier.
        weights: (row, scan) weights, not negative.

    Returns:
        (class, row, ...) areas; nan for a class that has no scan or all of them, also under the weights of a row.

    Raises:
        AuditError: an index outside the classes.
    """
    values, by_row = np.asarray(scores), np.asarray(weights, dtype=np.float64)
    n_scans, n_classes = values.shape[-2:]
    index = _indices(truth, "truth", n_classes)
    flat = values.reshape(-1, n_scans, n_classes)
    areas = np.full((n_classes, len(by_row), len(flat)), np.nan)
    for one in np.unique(index):
        mine = index == one
        if not mine.all():
            of_rest, of_mine = _lower(flat[:, :, one], mine)
            above = np.where(mine, of_rest / (~mine).sum(), 0.0)
            below = np.where(mine, 0.0, 1.0 - of_mine / mine.sum())
            sums = by_row @ np.vstack([above, below, mine, ~mine]).T  # one product, of all scans: no copies of weights
            ours, theirs, own, rest = np.split(sums, [len(flat), 2 * len(flat), 2 * len(flat) + 1], axis=1)
            with np.errstate(invalid="ignore"):
                areas[one] = ours / own + theirs / rest - above.sum(axis=1) / mine.sum()
    return areas.reshape(n_classes, len(by_row), *values.shape[:-2])


def _lower(scores: npt.NDArray[Any], mine: BoolArray) -> tuple[FloatArray, FloatArray]:
    """Return, for (row, scan) scores, how many of the other scans and how many of ``mine`` have lower ones.

    Equal ones count half, also the scan itself. Both in one sort; mid-ranks of either kind alone would take two more.
    """
    n_rows, n = scores.shape
    order = scores.argsort(axis=1)
    places = order + n * np.arange(n_rows)[:, None]  # in the flat array
    ordered, own = scores.ravel()[places], mine[order]
    up_to = own.cumsum(axis=1, dtype=np.float64)
    of_mine, of_all = up_to - own / 2.0, np.broadcast_to(np.arange(n) + 0.5, scores.shape)
    border = np.ones((n_rows, n + 1), dtype=bool)  # between scores that differ
    np.not_equal(ordered[:, 1:], ordered[:, :-1], out=border[:, 1:-1])
    if not border.all():
        first = np.maximum.accumulate(np.where(border[:, :-1], np.arange(n), 0), axis=1)
        last = np.minimum.accumulate(np.where(border[:, 1:], np.arange(n), n)[:, ::-1], axis=1)[:, ::-1]
        before, through = (
            np.take_along_axis(counts, end, axis=1) for counts, end in ((up_to - own, first), (up_to, last))
        )
        of_mine, of_all = (before + through) / 2.0, (first + last + 1.0) / 2.0
    found = np.empty((2, n_rows * n))
    found[0, places], found[1, places] = of_all - of_mine, of_mine
    of_rest, of_mine = found.reshape(2, n_rows, n)
    return of_rest, of_mine


def mean_absolute_error(truth: npt.ArrayLike, predicted: npt.ArrayLike) -> FloatArray:
    """Return the mean absolute difference, in the unit of the truth; lower is a stronger attack.

    Args:
        truth: (scan,) true values.
        predicted: (..., scan) predicted values.

    Returns:
        (...) values, 0 or more.
    """
    errors = np.abs(np.asarray(predicted, dtype=np.float64) - np.asarray(truth, dtype=np.float64))
    return np.asarray(errors.mean(axis=-1))
