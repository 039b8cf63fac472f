"""Each learner against fits made one by one, a fold and a penalty at a time."""

import numpy as np
import pytest
from scipy import stats
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression, Ridge

from flprivacy.attacks.family.bases import Basis, kernel, linear, whitened
from flprivacy.attacks.family.discriminant import SHRINKAGES, discriminant
from flprivacy.attacks.family.logistic import PENALTIES, logistic
from flprivacy.attacks.family.problem import FOLDS, Problem, patient_folds
from flprivacy.attacks.family.ridge import PENALTIES as RIDGE_PENALTIES
from flprivacy.attacks.family.ridge import ridge

SCANS, HELD_OUT = 60, 40


@pytest.fixture(scope="module")
def basis():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(SCANS + HELD_OUT, 7)) * np.geomspace(1, 0.2, 7)
    return linear(x[:SCANS], x[SCANS:])


def problem(n_classes, seed=1):
    rng = np.random.default_rng(seed)
    values = rng.integers(0, n_classes, SCANS).astype(float) if n_classes else rng.uniform(20, 90, SCANS)
    return Problem(values=values, n_classes=n_classes, folds=patient_folds(np.arange(SCANS) // 2, values, seed=0))


def fits(basis, one):
    """Yield (rows learnt from, rows asked or None for the held-out scans) of every fit that a learner makes."""
    for fold in range(one.n_folds):
        yield one.folds != fold, one.folds == fold
    yield np.ones(SCANS, bool), None


def test_ridge_is_the_ridge_of_each_fold(basis):
    one = problem(0)
    answers = ridge(basis, one)
    for number in (0, 5, 13):
        for rows, asked in fits(basis, one):
            # The penalty belongs to the whole sample: leaving a fold out does not change it.
            model = Ridge(alpha=RIDGE_PENALTIES[number] * SCANS).fit(basis.exposed[rows], one.values[rows])
            features = basis.held_out if asked is None else basis.exposed[asked]
            found = answers.held_out[number] if asked is None else answers.left_out[number][asked]
            expected = np.clip(model.predict(features), one.values.min(), one.values.max())
            np.testing.assert_allclose(found[:, 0], expected, rtol=1e-6)


def test_logistic_is_the_logistic_regression_of_each_fold(basis):
    one = problem(3)
    answers = logistic(basis, one)
    for rows, asked in fits(basis, one):
        weights = one.weights[rows] / one.weights[rows].sum()
        model = LogisticRegression(C=1 / PENALTIES[0], max_iter=2000, tol=1e-8)
        model.fit(basis.exposed[rows], one.classes[rows], sample_weight=weights)
        features = basis.held_out if asked is None else basis.exposed[asked]
        found = answers.held_out[0] if asked is None else answers.left_out[0][asked]
        logits = found + one.log_prior
        shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        np.testing.assert_allclose(shares, model.predict_proba(features), atol=0.02)


def test_discriminant_of_many_scans_a_class_is_linear_discriminant_analysis():
    rng = np.random.default_rng(3)
    classes = np.arange(3000) % 3
    x = rng.normal(size=(3, 5))[classes] + rng.normal(size=(3000, 5)) * np.linspace(0.8, 1.2, 5)
    basis = Basis(exposed=x, held_out=x[:200] + rng.normal(size=(200, 5)))
    one = Problem(values=classes.astype(float), n_classes=3, folds=np.arange(3000) % FOLDS)
    found = discriminant(basis, one).held_out[SHRINKAGES.index(1e-3)]
    expected = LinearDiscriminantAnalysis(solver="lsqr").fit(x, classes).decision_function(basis.held_out)
    np.testing.assert_allclose(
        found - found[:, :1], expected - expected[:, :1], atol=0.03 * np.abs(expected - expected[:, :1]).max()
    )


def test_a_class_of_few_scans_is_expected_near_the_mean_and_wide():
    """The predictive density of the two-covariance model, written out, where its parameters are known."""
    rng = np.random.default_rng(4)
    sizes, axes = np.array([1, 4, 400]), 400
    classes = np.repeat(np.arange(3), sizes)
    means = rng.normal(size=(3, axes))
    x = means[classes] + rng.normal(size=(len(classes), axes))
    asked = means[1] + rng.normal(size=(30, axes))
    one = Problem(values=classes.astype(float), n_classes=3, folds=np.arange(len(classes)) % FOLDS)
    found = discriminant(Basis(exposed=x, held_out=asked), one).held_out[-1]
    spread, centre = 1.0, x.mean(axis=0)
    own = np.array([x[classes == k].mean(axis=0) for k in range(3)]) - centre
    trust = sizes * spread / (sizes * spread + 1)
    expected = np.stack(
        [
            stats.norm(own[k] * trust[k], np.sqrt(1 + spread / (sizes[k] * spread + 1)))
            .logpdf(asked - centre)
            .sum(axis=1)
            for k in range(3)
        ],
        axis=1,
    )
    assert (found.argmax(axis=1) == 1).mean() == pytest.approx((expected.argmax(axis=1) == 1).mean(), abs=0.1)
    assert np.corrcoef((found[:, 1] - found[:, 2]), (expected[:, 1] - expected[:, 2]))[0, 1] > 0.8


@pytest.mark.parametrize("n_classes", [4, 0])
def test_no_answer_of_a_scan_looks_at_its_own_fold(basis, n_classes):
    """Other values in a fold change what its scans are answered in no learner; others' answers change."""
    before = problem(n_classes)
    changed = before.values.copy()
    out = before.folds == 2
    changed[out] = changed[out][::-1]
    after = Problem(values=changed, n_classes=n_classes, folds=before.folds)
    assert (changed != before.values).any()
    for learner in (discriminant, logistic) if n_classes else (ridge,):
        one, other = (learner(basis, each).left_out for each in (before, after))
        first, second = one[:, out], other[:, out]
        if n_classes:  # up to what classes share
            first, second = first - first[..., :1], second - second[..., :1]
        np.testing.assert_allclose(first, second, rtol=1e-3, atol=1e-3)
        assert np.abs(one[:, ~out] - other[:, ~out]).max() > 1e-2


def test_patients_are_never_parted_and_classes_are_spread_over_folds():
    rng = np.random.default_rng(5)
    patients = rng.integers(0, 40, 200)
    values = (patients % 3).astype(float)
    folds = patient_folds(patients, values, seed=1)
    assert all(len(set(folds[patients == p])) == 1 for p in np.unique(patients))
    counts = [[len(set(patients[(folds == f) & (values == v)])) for f in range(FOLDS)] for v in range(3)]
    assert all(max(row) - min(row) <= 1 for row in counts)
    assert (folds != patient_folds(patients, values, seed=2)).any()


def test_whitened_axes_do_not_depend_on_linear_coordinates():
    rng = np.random.default_rng(6)
    x = rng.normal(size=(100, 6))
    matrix = rng.normal(size=(6, 6)) @ np.diag(np.geomspace(1, 1e-4, 6))
    plain, other = (whitened(f[:60], f[60:]) for f in (x, x @ matrix))
    distances = [np.linalg.norm(b.held_out[:, None] - b.exposed, axis=-1) for b in (plain, other)]
    np.testing.assert_allclose(*distances, rtol=1e-5)


def test_the_kernels_axes_reproduce_the_centred_kernel():
    rng = np.random.default_rng(7)
    x = rng.normal(size=(90, 1))
    basis = kernel(x[:60], x[60:])
    squares = ((x[:, None] - x[None, :60]) ** 2).sum(axis=-1)
    width = np.median(squares[:60][np.triu_indices(60, 1)])
    gram = np.exp(-squares / width)
    mean = gram[:60].mean(axis=0)
    centred = gram - gram.mean(axis=1, keepdims=True) - mean + mean.mean()
    found = np.concatenate([basis.exposed, basis.held_out]) @ basis.exposed.T
    np.testing.assert_allclose(found / found[0, 0], centred / centred[0, 0], atol=2e-3)
