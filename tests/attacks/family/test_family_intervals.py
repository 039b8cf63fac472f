"""Classes that are intervals of a number: what a predicted number says of them."""

import numpy as np
import pytest
from scipy.stats import norm

from flprivacy.attacks.answering import Known, answer
from flprivacy.attacks.family.decision import evidence_of_years
from flprivacy.attacks.family.problem import Problem
from flprivacy.attacks.heads import Head
from flprivacy.core.attributes import AGE_BAND, AGE_YEARS, SEX
from flprivacy.core.metrics import confusion_matrices, f1_weighted

EDGES = (45.0, 60.0, 75.0)


def test_evidence_is_that_of_the_normal_distribution_around_the_predicted_years():
    rng = np.random.default_rng(0)
    years = rng.uniform(20, 90, 4000)
    bands = np.searchsorted(EDGES, years, side="right")
    one = Problem(values=bands.astype(float), n_classes=4, folds=np.arange(4000) % 5)
    left_out, asked = years + rng.normal(0, 8, 4000), np.array([30.0, 58.0, 60.0, 90.0])
    evidence = evidence_of_years(one, years, left_out, asked)[1]
    shares = np.exp(evidence + one.log_prior)
    expected = np.diff(norm(asked[:, None], 8).cdf([-np.inf, *EDGES, np.inf]))
    np.testing.assert_allclose(shares, expected, atol=0.02)


@pytest.mark.parametrize("absent", [0, 1, 3])
def test_an_interval_without_exposed_scans_is_possible_or_empty_but_no_number_breaks(absent):
    years = np.array([30.0, 50.0, 70.0, 80.0, 35.0, 52.0, 66.0, 81.0])
    bands = np.searchsorted(EDGES, years, side="right")
    some = bands != absent
    one = Problem(values=bands[some].astype(float), n_classes=4, folds=np.arange(some.sum()) % 2)
    for part in evidence_of_years(one, years[some], years[some] + 3, np.array([20.0, 55.0, 95.0])):
        assert np.isfinite(part).all()


def bands_told(seed, *, with_years):
    rng = np.random.default_rng([31, seed])
    years = rng.normal(60, 14, 900)
    x = rng.normal(size=(900, 60))
    x[:, :20] += 0.3 * (years[:, None] - 60) / 14
    bands = np.searchsorted(EDGES, years, side="right").astype(float)
    heads = [Head(attribute=AGE_BAND, n_classes=4), Head(attribute=AGE_YEARS, n_classes=0)][: 1 + with_years]
    known = Known(
        heads=tuple(heads), values=np.stack([bands, years])[: 1 + with_years, :100], patients=np.arange(100), seed=seed
    )
    scores = answer(x[None, :100].astype("f4"), x[100:].astype("f4"), known)[0].scores
    return float(f1_weighted(confusion_matrices(bands[100:], scores.argmax(axis=1), 4)))


def test_bands_are_told_better_by_whoever_knows_the_years():
    gains = [bands_told(seed, with_years=True) - bands_told(seed, with_years=False) for seed in range(5)]
    assert np.mean(gains) > 0.015, gains


def test_years_are_looked_for_under_the_same_name_only():
    heads = (
        Head(attribute=SEX, n_classes=2),
        Head(attribute=AGE_BAND, n_classes=4),
        Head(attribute=AGE_YEARS, n_classes=0),
    )
    known = Known(heads=heads, values=np.zeros((3, 4)), patients=np.arange(4), seed=0)
    assert [known.years_of(a) for a in range(3)] == [None, 2, None]
