"""Resampling by weights against the naive loops over patients."""

import numpy as np
import pytest
from sklearn import metrics as reference

from flprivacy.auditing.measures import measure
from flprivacy.auditing.uncertainty import patient_variance, resample_patients
from tests.auditing.simulation import Attacker, Draw, heavy_tailed


@pytest.fixture(scope="module")
def draw() -> Draw:
    return Draw(np.random.default_rng(5), frequencies=heavy_tailed(5, 0.5), patients=40, seeds=2)


def test_weights_count_patients(draw: Draw) -> None:
    found = resample_patients(draw.patients, replicates=30, seed=1)
    assert found.weights.shape == (1 + 30 + 30, len(draw.patients))
    np.testing.assert_array_equal(found.weights[0], 1.0)
    for row in found.weights:
        for patient in range(found.n_patients):
            assert len(set(row[draw.patients == patient])) == 1
    of_patient = found.weights[:, np.unique(draw.patients, return_index=True)[1]]
    assert (found.bootstrap_rows(of_patient).sum(axis=1) == 40).all()
    left_out = of_patient[31:] == 0
    assert left_out.any(axis=1).all()
    assert (left_out.sum(axis=0) == 1).all()  # each patient is left out once


def test_the_jackknife_leaves_out_one_patient_where_it_can(draw: Draw) -> None:
    found = resample_patients(draw.patients, replicates=100, seed=1)
    assert found.n_groups == 40
    of_patient = found.weights[:, np.unique(draw.patients, return_index=True)[1]]
    assert (np.sort(of_patient[101:], axis=1)[:, :2] == [0, 1]).all()


def test_the_same_seed_gives_the_same_weights(draw: Draw) -> None:
    one, same, other = (resample_patients(draw.patients, replicates=20, seed=s).weights for s in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


def test_weighted_metrics_equal_a_loop_that_copies_the_patients_scans(draw: Draw) -> None:
    found = resample_patients(draw.patients, replicates=25, seed=3)
    runs = draw.runs(draw.held_out(), "target", draw.scores(Attacker(), models=2))
    values = measure(runs, found).values
    classes = runs.scores.argmax(axis=-1)
    for row in (0, 1, 7, 25, 26, 50):
        drawn = [
            scan
            for patient in range(40)
            for scan in np.flatnonzero(draw.patients == patient)
            for _ in range(int(found.weights[row, scan]))
        ]
        truth = draw.truth[drawn]
        for model in range(2):
            for seed in range(2):
                guess = classes[model, seed, drawn]
                f1 = {"y_true": truth, "y_pred": guess, "labels": np.unique(truth), "zero_division": 0}
                top = reference.top_k_accuracy_score(truth, runs.scores[model, seed, drawn], k=3, labels=range(5))
                expected = {
                    "f1_weighted": reference.f1_score(average="weighted", **f1),
                    "f1_macro": reference.f1_score(average="macro", **f1),
                    "balanced_accuracy": reference.recall_score(average="macro", **f1),
                    "accuracy": reference.accuracy_score(truth, guess),
                    "top3_accuracy": top,
                }
                assert {name: values[name][row, model, seed] for name in expected} == pytest.approx(expected)


def test_weighted_years_equal_a_loop_that_copies_the_patients_scans() -> None:
    draw = Draw(np.random.default_rng(5), attribute="age_years", patients=30, seeds=2)
    found = resample_patients(draw.patients, replicates=10, seed=3)
    runs = draw.runs(draw.held_out(), "target", draw.scores(Attacker(strength=0.5)))
    values = measure(runs, found).values["mae_years"]
    for row in (0, 4, 15):
        times = found.weights[row].astype(int)
        truth, guess = np.repeat(draw.truth, times), np.repeat(runs.scores[0, 1, :, 0], times)
        assert values[row, 0, 1] == pytest.approx(reference.mean_absolute_error(truth, guess))


def test_the_variance_of_a_mean_over_patients_is_the_textbook_s() -> None:
    rng = np.random.default_rng(0)
    patients, values = np.arange(200), rng.gamma(2.0, size=200)
    found = resample_patients(patients, replicates=4000, seed=0)
    means = found.weights @ values / found.weights.sum(axis=1)
    assert patient_variance(means, found) == pytest.approx(values.var(ddof=1) / 200, rel=0.08)


def test_scans_of_one_patient_count_once() -> None:
    rng = np.random.default_rng(0)
    values = np.repeat(rng.normal(size=100), 4)  # four copies tell no more than one
    found = resample_patients(np.repeat(np.arange(100), 4), replicates=4000, seed=0)
    means = found.weights @ values / found.weights.sum(axis=1)
    assert patient_variance(means, found) == pytest.approx(values[::4].var(ddof=1) / 100, rel=0.08)


def test_a_class_of_one_patient_has_variance() -> None:
    """Recall of a class of one patient is 0 or 1 in every replicate; the jackknife still sees that it rests on one."""
    truth, hit = np.array([0.0] * 50 + [1.0]), np.array([1.0, 0.0] * 25 + [1.0])
    found = resample_patients(np.arange(51), replicates=2000, seed=0)
    recalls = [found.weights[:, truth == c] @ hit[truth == c] / np.maximum(found.weights[:, truth == c].sum(axis=1), 1)
               for c in (0, 1)]  # fmt: skip
    present = (found.weights[:, truth == 1].sum(axis=1) > 0).astype(float)
    balanced = (recalls[0] + recalls[1]) / (1 + present)
    assert patient_variance(balanced, found) > 1.5 * found.bootstrap_rows(balanced).var(ddof=1)
