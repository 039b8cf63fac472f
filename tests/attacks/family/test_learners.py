"""Each learner against fits made one by one, a fold and a penalty at a time."""

import numpy as np
import pytest
import scipy.special
from scipy import stats
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression, Ridge

from flprivacy.attacks.family.bases import kernel
from flprivacy.attacks.family.discriminant import SHRINKAGES, discriminant
from flprivacy.attacks.family.fits import cross_fits, fit, nonlinear_shrinkage
from flprivacy.attacks.family.problem import FOLDS, Problem, patient_folds, softmax
from flprivacy.attacks.family.quadratic import SHARED, _along_axes, has_covariances, quadratic, quadratic_years
from flprivacy.attacks.family.regressions import LOGISTIC_PENALTIES, RIDGE_PENALTIES, logistic, ridge

SCANS, HELD_OUT = 60, 40


@pytest.fixture(scope="module")
def features():
    """Exposed and held-out scans, centred on the former and of mean squared norm 1 there."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(SCANS + HELD_OUT, 7)) * np.geomspace(1, 0.2, 7)
    x -= x[:SCANS].mean(axis=0)
    x /= np.sqrt((x[:SCANS] ** 2).sum() / SCANS)
    return x[:SCANS], x[SCANS:]


def problem(n_classes, seed=1):
    rng = np.random.default_rng(seed)
    values = rng.integers(0, n_classes, SCANS).astype(float) if n_classes else rng.uniform(20, 90, SCANS)
    return Problem(values=values, n_classes=n_classes, folds=patient_folds(np.arange(SCANS) // 2, values, seed=0))


def each_fit(features, one, answers):
    """Yield (features and rows learnt from, features asked, answers) of every fit that a learner makes."""
    exposed, held_out = features
    for fold in range(one.n_folds):
        out = one.folds == fold
        yield exposed[~out], ~out, exposed[out], answers.left_out[:, out]
    yield exposed, np.ones(SCANS, bool), held_out, answers.held_out


def learnt(learner, features, one):
    return learner(cross_fits(*features, one.folds), one)


def discriminant_by_the_book(exposed, classes, asked, share):
    """Evidence with one shrinkage, written out with whole matrices."""
    sizes, centre, axes = np.bincount(classes), exposed.mean(axis=0), exposed.shape[1]
    means = np.stack([exposed[classes == k].mean(axis=0) - centre for k in range(len(sizes))])
    residuals = exposed - centre - means[classes]
    within = residuals.T @ residuals / (len(exposed) - len(sizes))
    precision = np.linalg.inv((1 - share) * within + share * np.trace(within) / axes * np.eye(axes))
    effective, lengths = np.trace(precision @ within), np.einsum("kr,rq,kq->k", means, precision, means)
    typical = (sizes.sum() - (sizes**2).sum() / sizes.sum()) / (len(sizes) - 1)
    spread = max(((sizes * lengths).sum() / (len(sizes) - 1) - effective) / (effective * typical), 1e-3)
    trust = sizes * spread / (sizes * spread + 1)
    gaps = asked[:, None] - centre - trust[:, None] * means
    distances, widening = np.einsum("nkr,rq,nkq->nk", gaps, precision, gaps), 1 + spread / (sizes * spread + 1)
    return -0.5 * (distances / widening + effective * np.log(widening))


def test_ridge_is_the_ridge_of_each_fold(features):
    one = problem(0)
    for exposed, rows, asked, found in each_fit(features, one, learnt(ridge, features, one)):
        spread = ((exposed - exposed.mean(axis=0)) ** 2).sum()
        for number in (0, 5, 13):
            model = Ridge(alpha=RIDGE_PENALTIES[number] * spread).fit(exposed, one.values[rows])
            expected = np.clip(model.predict(asked), one.values.min(), one.values.max())
            np.testing.assert_allclose(found[number, :, 0], expected, rtol=1e-6)


def test_logistic_is_the_logistic_regression_of_each_fold(features):
    one = problem(3)
    for exposed, rows, asked, found in each_fit(features, one, learnt(logistic, features, one)):
        weights = one.weights[rows] / one.weights[rows].sum()
        model = LogisticRegression(C=1 / LOGISTIC_PENALTIES[0], max_iter=2000, tol=1e-8)
        model.fit(exposed, one.classes[rows], sample_weight=weights)
        logits = found[0] + one.log_prior
        shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        np.testing.assert_allclose(shares, model.predict_proba(asked), atol=0.02)


def test_discriminant_is_that_of_each_fold_and_shrinkage(features):
    one = problem(4)
    for exposed, rows, asked, found in each_fit(features, one, learnt(discriminant, features, one)):
        for number, share in enumerate(SHRINKAGES):
            expected = discriminant_by_the_book(exposed, one.classes[rows], asked, share)
            np.testing.assert_allclose(
                found[number] - found[number, :, :1], expected - expected[:, :1], rtol=1e-6, atol=1e-8
            )


def test_discriminant_of_many_scans_a_class_is_linear_discriminant_analysis():
    rng = np.random.default_rng(3)
    classes = np.arange(3000) % 3
    x = rng.normal(size=(3, 5))[classes] + rng.normal(size=(3000, 5)) * np.linspace(0.8, 1.2, 5)
    asked = x[:200] + rng.normal(size=(200, 5))
    one = Problem(values=classes.astype(float), n_classes=3, folds=np.arange(3000) % FOLDS)
    found = learnt(discriminant, (x, asked), one).held_out[SHRINKAGES.index(1e-3)]
    expected = LinearDiscriminantAnalysis(solver="lsqr").fit(x, classes).decision_function(asked)
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
    found = learnt(discriminant, (x, asked), one).held_out[SHRINKAGES.index(0.6)]
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


def test_quadratic_is_the_density_of_each_fold_and_shrinkage(features):
    """Log-densities of Gaussians, written out with whole matrices where every axis has its own shrunken spread."""
    one = Problem(values=np.arange(SCANS) % 2.0, n_classes=2, folds=np.arange(SCANS) // 2 % FOLDS)
    for exposed, rows, asked, found in each_fit(features, one, learnt(quadratic, features, one)):
        of_all = fit(exposed, asked)
        scale = np.sqrt(of_all.variances_elsewhere)
        for number, shared in enumerate(SHARED):
            for k in range(2):
                own = of_all.learnt[one.classes[rows] == k] / scale
                mean = own.sum(axis=0) / (len(own) + 1)
                covariance = (1 - shared) * (own - mean).T @ (own - mean) / len(own) + shared * np.eye(len(scale))
                density = stats.multivariate_normal(mean, covariance).logpdf(of_all.asked / scale)
                expected = density + len(scale) / 2 * np.log(2 * np.pi)
                np.testing.assert_allclose(found[number, :, k], expected, rtol=1e-8)


@pytest.mark.parametrize(("sizes", "enough"), [((30, 30), True), ((50, 10), True), ((20, 10, 10, 10, 10), False)])
def test_quadratic_competes_where_most_scans_are_of_classes_with_a_covariance(sizes, enough):
    values = np.repeat(np.arange(len(sizes)), sizes).astype(float)
    assert has_covariances(Problem(values=values, n_classes=len(sizes), folds=np.arange(SCANS) % FOLDS)) == enough


def test_a_class_of_few_scans_has_the_covariance_of_all(features):
    """Seven axes from three scans are no covariance: what is learnt of such a class is its mean."""
    values = np.concatenate([np.zeros(SCANS - 3), np.ones(3)])
    one = Problem(values=values, n_classes=2, folds=np.arange(SCANS) % FOLDS)
    found = learnt(quadratic, features, one).held_out
    np.testing.assert_allclose(found[0, :, 1], found[2, :, 1])
    assert np.abs(found[0, :, 0] - found[2, :, 0]).max() > 1e-2


@pytest.mark.parametrize("n_classes", [4, 0])
def test_no_answer_of_a_scan_looks_at_its_own_fold(features, n_classes):
    """Other values in a fold change what its scans are answered in no learner; others' answers change."""
    before = problem(n_classes)
    changed = before.values.copy()
    out = before.folds == 2
    changed[out] = changed[out][::-1]
    after = Problem(values=changed, n_classes=n_classes, folds=before.folds)
    assert (changed != before.values).any()
    for learner in (discriminant, logistic, quadratic) if n_classes else (ridge, quadratic_years):
        one, other = (learnt(learner, features, each).left_out for each in (before, after))
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


def test_shrunken_variances_are_those_of_other_scans_along_these_axes():
    """Over eight decades of variance, where a mixture with the identity keeps two."""
    rng = np.random.default_rng(6)
    true = np.geomspace(1, 1e-8, 64)
    x = rng.normal(size=(120, 64)) * np.sqrt(true)
    one = fit(x, np.eye(64) + x.mean(axis=0))  # what is asked are the axes themselves
    expected = (one.asked**2 * true[:, None]).sum(axis=0)
    observed, shrunk = (
        np.sqrt(np.mean(np.log(v / expected) ** 2)) for v in (one.variances, nonlinear_shrinkage(one.variances, 119))
    )
    assert observed > 0.8  # wrong by a factor of two
    assert shrunk < 0.35


def test_known_null_equal_variances_are_all_shrunk_to_their_mean():
    rng = np.random.default_rng(16)
    one = fit(rng.normal(size=(200, 80)), np.zeros((1, 80)))
    observed, shrunk = (np.abs(np.log(v)).max() for v in (one.variances, nonlinear_shrinkage(one.variances, 199)))
    assert observed > 1.0
    assert shrunk < 0.4


def test_the_kernels_axes_reproduce_the_centred_kernel():
    rng = np.random.default_rng(7)
    x = rng.normal(size=(90, 1))
    exposed, held_out = kernel(x[:60], x[60:])
    squares = ((x[:, None] - x[None, :60]) ** 2).sum(axis=-1)
    width = np.median(squares[:60][np.triu_indices(60, 1)])
    gram = np.exp(-squares / width)
    mean = gram[:60].mean(axis=0)
    centred = gram - gram.mean(axis=1, keepdims=True) - mean + mean.mean()
    found = np.concatenate([exposed, held_out]) @ exposed.T
    np.testing.assert_allclose(found / found[0, 0], centred / centred[0, 0], atol=2e-3)


@pytest.mark.parametrize("shape", [(40, 3), (5, 60, 21), (30, 6, 2, 4)])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_shares_of_classes_are_those_of_scipy_to_the_bit(shape: tuple[int, ...], kind: type) -> None:
    logits = (9.0 * np.random.default_rng(1).standard_normal(shape)).astype(kind)
    assert softmax(logits).tobytes() == scipy.special.softmax(logits, axis=-1).tobytes()


@pytest.mark.parametrize("scans", [25, 63, 64, 90])
def test_a_class_of_fewer_scans_than_features_is_as_likely_as_by_its_whole_covariance(scans):
    rng = np.random.default_rng(1)
    own = rng.normal(size=(scans, 64)) * np.linspace(0.1, 3.0, 64)
    away = rng.normal(size=(40, 64))
    variances, squares = _along_axes(own, away)
    for shared in (0.1, 0.7):
        whole = (1.0 - shared) * own.T @ own / scans + shared * np.eye(64)
        expected = np.einsum("ij,jk,ik->i", away, np.linalg.inv(whole), away)
        rest = (away**2).sum(axis=1) - squares.sum(axis=1)
        found = (squares / ((1.0 - shared) * variances + shared)).sum(axis=1) + rest / shared
        np.testing.assert_allclose(found, expected, rtol=1e-8)
