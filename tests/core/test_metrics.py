"""Metrics: scikit-learn is the naive reference."""

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as reference

from flprivacy.core import metrics
from flprivacy.core.errors import AuditError


def draw(seed: int, n: int = 60, n_classes: int = 5) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return truth, predictions and weights; class 3 is never true, class 1 is never predicted."""
    rng = np.random.default_rng(seed)
    truth = rng.choice([0, 1, 2, 4], size=n, p=[0.6, 0.1, 0.2, 0.1])
    predicted = np.where(rng.random(n) < 0.4, np.where(truth == 1, 2, truth), rng.choice([0, 2, 3, 4], size=n))
    assert n_classes == 5
    return truth, predicted, rng.integers(0, 4, n).astype(float)


CASES = [(seed, weighted) for seed in range(6) for weighted in (False, True)]


@pytest.mark.parametrize(("seed", "weighted"), CASES)
def test_confusion_matrices_equal_sklearn(seed: int, weighted: bool) -> None:
    truth, predicted, weights = draw(seed)
    sizes = weights if weighted else None
    expected = reference.confusion_matrix(truth, predicted, labels=range(5), sample_weight=sizes)
    np.testing.assert_allclose(metrics.confusion_matrices(truth, predicted, 5, sizes), expected)


@pytest.mark.parametrize(("seed", "weighted"), CASES)
def test_class_metrics_equal_sklearn_with_missing_classes_and_weights(seed: int, weighted: bool) -> None:
    truth, predicted, weights = draw(seed)
    sizes = weights if weighted else None
    cm = metrics.confusion_matrices(truth, predicted, 5, sizes)
    true_labels = np.unique(truth[weights > 0]) if weighted else np.unique(truth)
    f1 = {"y_true": truth, "y_pred": predicted, "sample_weight": sizes, "labels": true_labels, "zero_division": 0}
    recalls = reference.recall_score(average="macro", **f1)  # balanced_accuracy_score warns of missing classes
    assert metrics.f1_weighted(cm) == pytest.approx(reference.f1_score(average="weighted", **f1))
    assert metrics.f1_macro(cm) == pytest.approx(reference.f1_score(average="macro", **f1))
    assert metrics.balanced_accuracy(cm) == pytest.approx(recalls)
    assert metrics.accuracy(cm) == pytest.approx(reference.accuracy_score(truth, predicted, sample_weight=sizes))


def test_balanced_accuracy_equals_sklearn_s_own() -> None:
    truth, predicted, _ = draw(0)
    predicted = np.where(predicted == 3, 0, predicted)  # scikit-learn warns of predicted classes that are never true
    cm = metrics.confusion_matrices(truth, predicted, 5)
    assert metrics.balanced_accuracy(cm) == pytest.approx(reference.balanced_accuracy_score(truth, predicted))


def test_leading_axes_broadcast() -> None:
    truth, predicted, _ = draw(0)
    rng = np.random.default_rng(1)
    many = np.stack([predicted, rng.permutation(predicted)])[:, None]  # (2, 1, scan)
    weights = rng.integers(0, 3, (3, len(truth)))  # (3, scan)
    matrices = metrics.confusion_matrices(truth, many, 5, weights)
    assert matrices.shape == (2, 3, 5, 5)
    for i in range(2):
        for j in range(3):
            one = metrics.confusion_matrices(truth, many[i, 0], 5, weights[j])
            np.testing.assert_array_equal(matrices[i, j], one)
            assert metrics.f1_weighted(matrices)[i, j] == metrics.f1_weighted(one)


def test_class_counts_give_the_same_metrics_as_confusion_matrices() -> None:
    truth, predicted, _ = draw(3)
    rng = np.random.default_rng(1)
    many = np.stack([predicted, rng.permutation(predicted), rng.permutation(predicted)])  # (3, scan)
    weights = rng.integers(0, 3, (4, len(truth)))
    counts = metrics.class_counts(truth, many, 5, weights)
    matrices = metrics.confusion_matrices(truth, many, 5, weights[:, None])  # (4, 3, class, class)
    for metric in (metrics.f1_weighted, metrics.f1_macro, metrics.balanced_accuracy, metrics.accuracy):
        assert metric(counts).shape == (4, 3)
        np.testing.assert_allclose(metric(counts), metric(matrices), rtol=1e-14)


def test_nothing_true_gives_zero_not_nan() -> None:
    empty = np.zeros((2, 3, 3))
    for metric in (metrics.f1_weighted, metrics.f1_macro, metrics.balanced_accuracy, metrics.accuracy):
        np.testing.assert_array_equal(metric(empty), [0.0, 0.0])


@pytest.mark.parametrize("wrong", [-1, 3])
def test_a_class_out_of_range_is_refused_rather_than_counted_elsewhere(wrong: int) -> None:
    with pytest.raises(AuditError, match=r"predicted: holds a class index outside 0\.\.2"):
        metrics.confusion_matrices([0, 1, 2], [0, 1, wrong], 3)
    with pytest.raises(AuditError, match="truth: holds a class index"):
        metrics.class_counts([0, 1, wrong], [0, 1, 2], 3, np.ones((1, 3)))


def test_arrays_of_different_scans_are_refused() -> None:
    with pytest.raises(AuditError, match="truth must be"):
        metrics.confusion_matrices([0, 1, 2], [0, 1], 3)


def test_top_k_equals_sklearn_without_ties() -> None:
    rng = np.random.default_rng(2)
    truth, scores, weights = rng.integers(0, 6, 50), rng.random((3, 50, 6)), rng.integers(0, 3, 50)
    expected = [reference.top_k_accuracy_score(truth, s, k=3, labels=range(6)) for s in scores]
    np.testing.assert_allclose(metrics.top_k_hits(truth, scores, 3).mean(axis=-1), expected)
    weighted = reference.top_k_accuracy_score(truth, scores[0], k=3, labels=range(6), sample_weight=weights)
    hits = metrics.top_k_hits(truth, scores[0], 3)
    assert np.average(hits, weights=weights) == pytest.approx(weighted)


def test_ties_at_the_border_are_broken_evenly() -> None:
    flat = np.full((4, 6), 1 / 6)
    assert metrics.top_k_hits([0, 1, 4, 5], flat, 3).mean() == pytest.approx(0.5)
    hits = metrics.top_k_hits([0, 1, 2, 3], np.tile([0.4, 0.3, 0.1, 0.1], (4, 1)), 3)
    np.testing.assert_allclose(hits, [1.0, 1.0, 0.5, 0.5])


def test_mean_absolute_error_equals_sklearn() -> None:
    rng = np.random.default_rng(3)
    truth, predicted = rng.normal(60, 10, 40), rng.normal(60, 10, (2, 40))
    expected = [reference.mean_absolute_error(truth, p) for p in predicted]
    np.testing.assert_allclose(metrics.mean_absolute_error(truth, predicted), expected)
    assert metrics.mean_absolute_error([60.0], [55.5]) == pytest.approx(4.5)


def test_one_vs_rest_areas_are_scikit_learns_and_expand_to_first_order() -> None:
    rng = np.random.default_rng(5)
    truth, scores = rng.integers(0, 3, 90), rng.integers(0, 6, (2, 90, 4)) / 5.0
    weights = np.concatenate([np.ones((1, 90)), rng.multinomial(90, np.full(90, 1 / 90), 20)])
    areas = metrics.auc_one_vs_rest(truth, scores, weights)
    assert areas.shape == (4, 21, 2)
    assert np.isnan(areas[3]).all(), "no scan is of the fourth class"
    for one in range(3):
        for run in range(2):
            column, mine = scores[run, :, one], truth == one
            assert areas[one, 0, run] == pytest.approx(reference.roc_auc_score(mine, column))
            exact = [reference.roc_auc_score(mine, column, sample_weight=row) for row in weights]
            assert areas[one, :, run] == pytest.approx(exact, abs=0.03)


@pytest.mark.parametrize("decimals", [None, 1])
def test_one_vs_rest_areas_are_those_of_placements_by_three_rankings(decimals: int | None) -> None:
    rng = np.random.default_rng(6)
    truth, scores = rng.integers(0, 3, 40), rng.random((2, 40, 3), dtype=np.float32)
    scores = scores if decimals is None else scores.round(decimals)  # many ties
    weights = np.vstack([np.ones(40), rng.integers(0, 3, (5, 40)), truth == 1])
    areas = metrics.auc_one_vs_rest(truth, scores, weights)
    for one in range(3):
        mine = truth == one
        for run in range(2):
            column = scores[run, :, one]
            ranks = stats.rankdata(column)
            above = (ranks[mine] - stats.rankdata(column[mine])) / (~mine).sum()
            below = 1.0 - (ranks[~mine] - stats.rankdata(column[~mine])) / mine.sum()
            with np.errstate(invalid="ignore"):
                ours, theirs = weights[:, mine], weights[:, ~mine]
                expected = ours @ above / ours.sum(axis=1) + theirs @ below / theirs.sum(axis=1) - above.mean()
            np.testing.assert_allclose(areas[one, :, run], expected, rtol=0.0, atol=1e-12)
