import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import f1_score

from flprivacy.attacks.family.discriminant import discriminant
from flprivacy.attacks.family.fits import cross_fits
from flprivacy.attacks.family.problem import FOLDS, Problem
from flprivacy.attacks.family.transductive import SHARPNESS, transductive, whitened

CLASSES, EXPOSED, ASKED, WIDTH = 3, 40, 160, 8
CLASS = np.arange(EXPOSED + ASKED) % CLASSES


@pytest.fixture(scope="module")
def scans():
    """Exposed and asked scans of three classes, along axes of very different size."""
    rng = np.random.default_rng(0)
    x = 1.6 * rng.normal(size=(CLASSES, WIDTH))[CLASS] + rng.normal(size=(len(CLASS), WIDTH))
    x *= np.geomspace(1, 1e-2, WIDTH)
    return x[:EXPOSED], x[EXPOSED:]


@pytest.fixture(scope="module")
def problem():
    return Problem(values=CLASS[:EXPOSED].astype(float), n_classes=CLASSES, folds=np.arange(EXPOSED) % FOLDS)


def learnt(scans, problem):
    return transductive(*whitened(*scans), problem, promising=lambda _: True)


def test_whitened_scans_have_a_covariance_of_1(scans):
    both = np.concatenate(whitened(*scans))
    np.testing.assert_allclose(both.T @ both / len(both), np.eye(WIDTH), atol=1e-8)
    assert whitened(scans[0][:5], scans[1][:6]) is None


def test_no_linear_map_of_the_features_changes_an_answer(scans, problem):
    rng = np.random.default_rng(1)
    first, second = (np.linalg.qr(rng.normal(size=(WIDTH, WIDTH)))[0] for _ in range(2))
    matrix = first @ np.diag(np.geomspace(1, 1e-4, WIDTH)) @ second
    plain, mapped = (learnt(tuple(x @ m for x in scans), problem) for m in (np.eye(WIDTH), matrix))
    for name in ("left_out", "held_out"):
        np.testing.assert_allclose(getattr(mapped, name), getattr(plain, name), rtol=1e-3, atol=1e-2)


def by_the_book(x, classes, sharpness, rounds):
    """Expectation maximisation with whole matrices; returns what is said of every scan after the last round."""
    known, total = classes >= 0, np.cov(x.T, bias=True)
    shares = np.zeros((len(x), CLASSES))
    shares[known, classes[known]] = 1
    prior = np.log(shares.sum(axis=0) + 0.3)
    for step in range(rounds + 1):
        sizes = shares.sum(axis=0)
        means = shares.T @ x / sizes[:, None]
        centre = sizes @ means / sizes.sum()
        gaps = means - centre
        between = (gaps * (sizes / sizes.sum())[:, None]).T @ gaps
        precision = np.linalg.inv(total - (0.95 * between if step else 0))
        lengths = np.einsum("kr,rq,kq->k", gaps, precision, gaps)
        typical = (sizes.sum() - (sizes**2).sum() / sizes.sum()) / (CLASSES - 1)
        spread = max(((lengths * sizes).sum() / (CLASSES - 1) - WIDTH) / (WIDTH * typical), 1e-3)
        trust = sizes * spread / (sizes * spread + 1)
        apart = (x - x.mean(axis=0))[:, None] - trust[:, None] * gaps
        distances = np.einsum("nkr,rq,nkq->nk", apart, precision, apart)
        widening = 1 + spread * (1 - trust)
        said = -0.5 * (distances / widening + WIDTH * np.log(widening))
        shares = softmax((sharpness if step < 5 else 1) * said + prior, axis=1)
        shares[known] = np.eye(CLASSES)[classes[known]]
    return said


@pytest.mark.parametrize("candidate", range(len(SHARPNESS)))
def test_it_is_expectation_maximisation_in_each_fold(scans, problem, candidate):
    found, x = learnt(scans, problem), np.concatenate(whitened(*scans))
    for fold in (*range(FOLDS), None):
        out = problem.folds == fold
        classes = np.concatenate([np.where(out, -1, problem.classes), np.full(ASKED, -1)])
        expected = by_the_book(x, classes, SHARPNESS[candidate], 7)
        own, theirs = (found.held_out[candidate], expected[EXPOSED:])
        if fold is not None:
            own, theirs = found.left_out[candidate][out], expected[:EXPOSED][out]
        np.testing.assert_allclose(own - own[:, :1], theirs - theirs[:, :1], rtol=2e-3, atol=0.05)


def test_scans_of_unknown_class_tell_what_few_of_known_class_cannot():
    """In 20 dimensions, 25 scans of known class do not show how scans of a class vary; 400 more do."""
    rng = np.random.default_rng(3)
    classes = np.arange(425) % 5
    matrix = np.linalg.qr(rng.normal(size=(20, 20)))[0] @ np.diag(np.geomspace(1, 1e-3, 20))
    x = (rng.normal(size=(5, 20))[classes] + rng.normal(size=(425, 20))) @ matrix
    one = Problem(values=classes[:25].astype(float), n_classes=5, folds=np.arange(25) % FOLDS)
    together = learnt((x[:25], x[25:]), one).held_out
    alone = discriminant(cross_fits(x[:25], x[25:], one.folds), one).held_out
    best, rival = (
        max(f1_score(classes[25:], said.argmax(axis=1), average="weighted") for said in answers)
        for answers in (together, alone)
    )
    assert best > 0.95
    assert best > rival + 0.1


def test_learning_in_vain_ends_after_the_first_fold(scans, problem):
    asked = []

    def promising(left_out):
        asked.append(np.abs(left_out).sum(axis=(0, 2)) > 0)
        return False

    assert transductive(*whitened(*scans), problem, promising=promising) is None
    np.testing.assert_array_equal(asked, [problem.folds == 0])


def test_a_class_that_no_scan_is_known_of_is_less_likely_than_what_looks_like_a_known_one(scans):
    one = Problem(values=CLASS[:EXPOSED].astype(float), n_classes=CLASSES + 1, folds=np.arange(EXPOSED) % FOLDS)
    said = learnt(scans, one).held_out
    assert np.isfinite(said).all()
    assert (said.argmax(axis=-1) == CLASS[EXPOSED:]).mean() > 0.9
