import numpy as np
import pytest
from scipy import stats

from flprivacy.core.errors import ConfigError
from flprivacy.privacy.randomness import NOISE, SAMPLING, gaussian, generator


def test_no_two_names_share_bits():
    names = [(SAMPLING, 5, (1,)), (NOISE, 5, (1,)), (SAMPLING, 6, (1,)), (SAMPLING, 5, (2,)), (SAMPLING, 5, (1, 0))]
    # These differ to us, and would not to numpy's SeedSequence alone: it pads with zeros and joins words.
    names += [(SAMPLING, 5, ()), (SAMPLING, 0, (5,)), (SAMPLING, 2**32, ()), (SAMPLING, 0, (1,))]
    assert len({tuple(generator(*name).random(3)) for name in names}) == len(names)
    assert len({tuple(gaussian(*name, 3)) for name in names}) == len(names)


@pytest.mark.parametrize(("seed", "key"), [(-1, (0,)), (0, (-1,))])
def test_negative_names_are_refused(seed, key):
    with pytest.raises(ConfigError, match="none may be negative"):
        generator(SAMPLING, seed, key)


def test_noise_is_gaussian_out_to_its_tails():
    """Of 20 million draws some 11 are beyond 5 standard deviations, whatever block they are in."""
    noise = np.concatenate([gaussian(NOISE, seed, (0,), 5_000_000) for seed in range(4)])
    assert noise.dtype == np.float64
    assert stats.kstest(noise[:200_000], "norm").pvalue > 1e-3
    for sigmas in (3.0, 4.0, 5.0):
        expected = 2 * stats.norm.sf(sigmas) * len(noise)
        assert abs((np.abs(noise) > sigmas).sum() - expected) < 5 * np.sqrt(expected)


def test_noise_does_not_depend_on_threads_and_fills_every_block():
    size = 3 * 2**18 + 5
    noise = gaussian(NOISE, 7, (1, 2), size)
    assert noise.tobytes() == gaussian(NOISE, 7, (1, 2), size).tobytes()
    assert len(np.unique(noise)) == size
    assert len(gaussian(NOISE, 7, (1, 2), 0)) == 0
    # The first block is a draw of its own: what comes behind changes nothing in it.
    assert gaussian(NOISE, 7, (1, 2), 2**18).tobytes() == noise[: 2**18].tobytes()


def test_a_noise_value_is_the_sum_of_several_draws():
    """So the last bits of a noised sum do not tell which draw made them (arXiv:2107.10138)."""
    rng = generator(NOISE, 7, (1, 0))
    draws = [rng.standard_normal(4) for _ in range(2)]
    assert gaussian(NOISE, 7, (1,), 4).tolist() == (sum(draws) / np.sqrt(2.0)).tolist()
