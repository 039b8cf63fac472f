import numpy as np
import pytest

from flprivacy.core.errors import ConfigError
from flprivacy.privacy.randomness import NOISE, SAMPLING, generator, noise_seed, secret_seed


def test_the_same_name_gives_the_same_bits():
    assert generator(SAMPLING, 5, (1, 2)).random(4).tolist() == generator(SAMPLING, 5, (1, 2)).random(4).tolist()
    assert noise_seed(NOISE, 5, (1, 2)).tolist() == noise_seed(NOISE, 5, (1, 2)).tolist()


def test_no_two_names_share_bits():
    names = [(SAMPLING, 5, (1,)), (NOISE, 5, (1,)), (SAMPLING, 6, (1,)), (SAMPLING, 5, (2,)), (SAMPLING, 5, (1, 0))]
    # These differ to us, and would not to numpy's SeedSequence alone: it pads with zeros and joins words.
    names += [(SAMPLING, 5, ()), (SAMPLING, 0, (5,)), (SAMPLING, 2**32, ()), (SAMPLING, 0, (1,))]
    assert len({tuple(generator(*name).random(3)) for name in names}) == len(names)
    assert len({tuple(noise_seed(*name)) for name in names}) == len(names)


def test_noise_seed_is_two_words():
    seed = noise_seed(NOISE, 2**127, (3, 1, 4))
    assert seed.shape == (2,)
    assert seed.dtype == np.int32


def test_secrets_are_secret():
    seeds = {secret_seed() for _ in range(10)}
    assert len(seeds) == 10
    assert max(seeds) > 2**64


@pytest.mark.parametrize(("seed", "key"), [(-1, (0,)), (0, (-1,))])
def test_negative_names_are_refused(seed, key):
    with pytest.raises(ConfigError, match="none may be negative"):
        generator(SAMPLING, seed, key)
