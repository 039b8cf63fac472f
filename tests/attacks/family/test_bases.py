"""Coordinates of features, and what heavy tails do to them."""

import numpy as np
import pytest
from scipy import stats

from flprivacy.attacks.family.bases import BASES, _quartiles, bases_for, column_scaled, unit_variance, with_sizes

SCANS, HELD_OUT = 200, 50


@pytest.fixture(scope="module")
def plain():
    """Exposed and held-out scans of features of several shapes, none of which has heavy tails."""
    rng = np.random.default_rng(3)
    normal = rng.normal(size=(SCANS + HELD_OUT, 5))
    normal[:, 1] = np.exp(normal[:, 1])
    normal[:, 2] = rng.random(len(normal)) < 0.1
    normal[:, 3] = np.maximum(normal[:, 3] - 1.0, 0.0)
    normal[:, 4] = 7.0
    return normal[:SCANS], normal[SCANS:]


@pytest.fixture(scope="module")
def heavy():
    """(exposed scan,) and (held-out scan,) a feature over many decades, with ties."""
    rng = np.random.default_rng(4)
    found = np.round(rng.standard_cauchy(SCANS + HELD_OUT), 1) ** 3
    return found[:SCANS], found[SCANS:]


def test_features_without_heavy_tails_are_only_brought_to_one_spread(plain):
    for found, expected in zip(column_scaled(*plain), unit_variance(*plain), strict=True):
        np.testing.assert_array_equal(found, expected)
    exposed, _ = unit_variance(*plain)
    np.testing.assert_allclose(exposed[:, 0].std(), 1.0)
    assert exposed.shape[1] == 4, "what does not vary is left out"


@pytest.mark.parametrize("scans", [1, 2, 3, 82, 200])
def test_quartiles_are_numpy_s(plain, scans):
    found = _quartiles(plain[0][:scans])
    np.testing.assert_allclose(found, np.quantile(plain[0][:scans], (0.25, 0.5, 0.75), axis=0), rtol=1e-12)


def test_a_feature_with_heavy_tails_is_also_seen_by_its_ranks(plain, heavy):
    exposed, held_out = (np.column_stack([one, other]) for one, other in zip(plain, heavy, strict=True))
    first, second = column_scaled(exposed, held_out)
    np.testing.assert_array_equal(first[:, :-1], unit_variance(exposed, held_out)[0])
    np.testing.assert_array_equal(second[:, :-1], unit_variance(exposed, held_out)[1])
    expected = stats.norm.ppf(stats.rankdata(heavy[0]) / (SCANS + 1.0))
    np.testing.assert_allclose(first[:, -1], expected)
    for value, score in zip(heavy[1], second[:, -1], strict=True):
        below, alike = (heavy[0] < value).sum(), (heavy[0] == value).sum()
        assert score == pytest.approx(stats.norm.ppf((below + alike / 2.0 + 0.5) / (SCANS + 1.0)))


def test_of_a_feature_that_is_mostly_silent_the_other_scans_decide(plain):
    exposed, held_out = (one[:, [3]].copy() for one in plain)
    assert np.mean(exposed == 0.0) > 0.75
    assert column_scaled(exposed, held_out)[0].shape[1] == 1
    exposed[np.flatnonzero(exposed)[:2]] = 1e9
    first, _ = column_scaled(exposed, held_out)
    assert first.shape[1] == 2
    told = np.argsort(exposed[:, 0], kind="stable")
    assert (np.diff(first[told, 1]) >= 0.0).all()
    assert np.ptp(first[exposed[:, 0] < 1e9, 1]) > 2.0, "silent scans and others are apart"


def test_its_units_do_not_matter(heavy):
    scores = [
        column_scaled(*(scale * one[:, None] + 5.0 * scale for one in heavy))[1][:, -1] for scale in (1.0, 1e-9, 1e9)
    ]
    np.testing.assert_allclose(scores[1], scores[0], atol=0.02)
    np.testing.assert_allclose(scores[2], scores[0], atol=0.02)


def test_sizes_are_those_on_either_side_of_the_mean(plain):
    for found, expected in zip(with_sizes(*plain), column_scaled(*plain), strict=True):
        np.testing.assert_array_equal(found, np.hstack([expected, np.abs(expected)]))


def test_sizes_are_learnt_from_where_features_are_few_enough():
    assert set(bases_for(64)) - set(bases_for(65)) == {"with sizes"}
    assert set(bases_for(64)) == set(BASES)


def test_one_scan_far_off_hides_no_feature(plain):
    exposed, held_out = (one[:, :1].copy() for one in plain)
    truth = held_out[:, 0].copy()
    exposed[17] = 1e12
    _, second = column_scaled(exposed, held_out)
    assert np.ptp(second[:, 0]) < 1e-9, "the spread is that one's"
    assert np.corrcoef(second[:, 1], truth)[0, 1] > 0.98
