import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score
from tiny_training import tiny_network

from flprivacy.cohorts.format import read_volumes
from flprivacy.core.cohort import Cohort
from flprivacy.core.errors import TrainingError
from flprivacy.core.target import Utility
from flprivacy.training.pool import scan_pool
from flprivacy.training.utility import class_probabilities, mean_utility, measure_utility

RNG = np.random.default_rng(0)


def test_against_scikit_learn() -> None:
    labels = RNG.integers(0, 3, 200)
    probabilities = RNG.dirichlet([1, 1, 1], 200)
    probabilities[np.arange(200), labels] += 0.4
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    utility = measure_utility(labels, probabilities)
    predicted = probabilities.argmax(axis=1)
    assert utility.accuracy == pytest.approx(accuracy_score(labels, predicted))
    assert utility.f1_macro == pytest.approx(f1_score(labels, predicted, average="macro"))
    assert utility.auc_ovr == pytest.approx(roc_auc_score(labels, probabilities, multi_class="ovr", average="macro"))
    assert utility.n_scans == 200


def test_by_hand() -> None:
    """Truth 0 0 1 1, prediction 0 1 1 1: F1 is 2/3 and 4/5; 3 of 4 pairs are ranked right and one is tied."""
    probabilities = np.array([[0.9, 0.1], [0.3, 0.7], [0.3, 0.7], [0.2, 0.8]])
    utility = measure_utility(np.array([0, 0, 1, 1]), probabilities)
    assert utility == Utility(
        accuracy=0.75, f1_macro=pytest.approx((2 / 3 + 4 / 5) / 2), auc_ovr=pytest.approx(3.5 / 4), n_scans=4
    )


def test_chance_is_half() -> None:
    labels, probabilities = RNG.integers(0, 3, 6000), RNG.dirichlet([1, 1, 1], 6000)
    assert measure_utility(labels, probabilities).auc_ovr == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("labels", [[0, 0, 0], [0, 1, 0]])
def test_auc_is_none_where_a_class_has_no_scan(labels: list[int]) -> None:
    utility = measure_utility(np.array(labels), np.full((3, 3), 1 / 3))
    assert utility.auc_ovr is None
    assert utility.accuracy == pytest.approx(labels.count(0) / 3)


def test_mean_is_weighted_by_training_scans() -> None:
    low, high = (Utility(accuracy=a, f1_macro=a / 2, auc_ovr=a, n_scans=9) for a in (0.2, 0.8))
    assert mean_utility([low, high], [1, 3]) == Utility(
        accuracy=pytest.approx(0.65), f1_macro=pytest.approx(0.325), auc_ovr=pytest.approx(0.65), n_scans=9
    )
    assert mean_utility([low, high], [0, 0]).accuracy == pytest.approx(0.5)
    undefined = Utility(accuracy=0.5, f1_macro=0.5, auc_ovr=None, n_scans=9)
    assert mean_utility([low, undefined], [1, 1]).auc_ovr is None


@pytest.mark.parametrize("batch", [5, 18, 32])
def test_probabilities_are_in_the_order_of_the_held_out_scans(
    cohort: Cohort, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flprivacy.training.utility._SCORING_BATCH", batch)
    model = tiny_network(1)
    rows = cohort.rows("test")
    scans = scan_pool(cohort, protocol="standard", split="test")
    wanted = model.predict_on_batch(read_volumes(cohort, rows)[..., None].astype(np.float32) / 255)
    np.testing.assert_allclose(class_probabilities(model, scans), wanted, rtol=1e-5)
    np.testing.assert_array_equal(scans.labels, cohort.manifest["label"].to_numpy()[rows])


def test_outputs_that_are_not_finite_are_refused(cohort: Cohort) -> None:
    model = tiny_network(1)
    model.set_weights([w * np.nan for w in model.get_weights()])
    with pytest.raises(TrainingError, match="outputs are not finite"):
        class_probabilities(model, scan_pool(cohort, protocol="standard", split="test"))
