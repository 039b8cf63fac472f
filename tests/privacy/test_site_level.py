import numpy as np
import pytest
from scipy import stats

from flprivacy.core.errors import TrainingError
from flprivacy.privacy.events import SampledGaussianSteps
from flprivacy.privacy.site_level import clip_update, private_mean_update

SHAPES = [(2, 3), (4,)]


def rounds(**change):
    settings = {"clip_norm": 1.0, "noise_multiplier": 1e-9, "sampling_rate": 0.5, "population": 8}
    return SampledGaussianSteps(steps=1, unit="site", **(settings | change))


def updates(n, scale=1.0):
    rng = np.random.default_rng(0)
    return [[scale * rng.normal(size=s) for s in SHAPES] for _ in range(n)]


def norm(update):
    return np.sqrt(sum(np.square(a).sum() for a in update))


def test_mean_is_of_clipped_updates_over_a_fixed_denominator():
    given = [*updates(2), *updates(1, scale=1e-3)]
    mean = private_mean_update(given, rounds(), shapes=SHAPES, seed=0, round_=0)
    for i in range(len(SHAPES)):
        naive = sum(u[i] / max(1.0, norm(u)) for u in given) / 4.0
        assert mean[i] == pytest.approx(naive, abs=1e-7)


def test_one_site_moves_the_mean_by_at_most_its_share():
    given = updates(3, scale=100.0)
    with_it = private_mean_update(iter(given), rounds(), shapes=SHAPES, seed=0, round_=0)
    without = private_mean_update(iter(given[:-1]), rounds(), shapes=SHAPES, seed=0, round_=0)
    assert norm([a - b for a, b in zip(with_it, without, strict=True)]) == pytest.approx(1.0 / 4.0)


def test_noise_has_the_stated_variance_even_without_clients():
    settings = rounds(clip_norm=0.5, noise_multiplier=3.0, sampling_rate=0.25)
    draws = np.concatenate(
        [
            a.ravel()
            for round_ in range(500)
            for a in private_mean_update([], settings, shapes=SHAPES, seed=1, round_=round_)
        ]
    )
    deviation = 0.5 * 3.0 / 2.0
    low, high = stats.chi2.ppf([5e-4, 1 - 5e-4], draws.size) / draws.size
    assert low < np.square(draws / deviation).mean() < high
    assert stats.kstest(draws / deviation, "norm").pvalue > 1e-3
    again = private_mean_update([], settings, shapes=SHAPES, seed=1, round_=0)
    assert np.concatenate([a.ravel() for a in again]) == pytest.approx(draws[:10])


def test_clipping_keeps_direction_and_short_updates():
    (long,) = updates(1, scale=10.0)
    clipped = clip_update(long, 2.0)
    assert norm(clipped) == pytest.approx(2.0)
    assert clipped[0] / long[0] == pytest.approx(np.full((2, 3), 2.0 / norm(long)))
    assert clip_update([np.zeros(3)], 1.0)[0].tolist() == [0, 0, 0]
    short = [np.array([0.1, 0.2])]
    assert clip_update(short, 1.0)[0].tolist() == [0.1, 0.2]


def test_bad_input_is_refused():
    broken = [[np.full(s, np.nan) for s in SHAPES]]
    with pytest.raises(TrainingError, match="drawn client 0: its update has norm nan"):
        private_mean_update(broken, rounds(), shapes=SHAPES, seed=0, round_=0)
    with pytest.raises(TrainingError, match="does not fit the model"):
        private_mean_update([[np.zeros(3)]], rounds(), shapes=SHAPES, seed=0, round_=0)
