import pytest

from flprivacy.core.errors import ConfigError
from flprivacy.privacy.randomness import NOISE, SAMPLING, generator, noise_seed


def test_no_two_names_share_bits():
    names = [(SAMPLING, 5, (1,)), (NOISE, 5, (1,)), (SAMPLING, 6, (1,)), (SAMPLING, 5, (2,)), (SAMPLING, 5, (1, 0))]
    # These differ to us, and would not to numpy's SeedSequence alone: it pads with zeros and joins words.
    names += [(SAMPLING, 5, ()), (SAMPLING, 0, (5,)), (SAMPLING, 2**32, ()), (SAMPLING, 0, (1,))]
    assert len({tuple(generator(*name).random(3)) for name in names}) == len(names)
    assert len({tuple(noise_seed(*name)) for name in names}) == len(names)


@pytest.mark.parametrize(("seed", "key"), [(-1, (0,)), (0, (-1,))])
def test_negative_names_are_refused(seed, key):
    with pytest.raises(ConfigError, match="none may be negative"):
        generator(SAMPLING, seed, key)
