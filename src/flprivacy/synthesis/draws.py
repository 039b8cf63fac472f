"""Random streams of a generator's training and samples: every draw is named by (stream, seed, place).

So a resumed run equals an undisturbed one, and a sample does not depend on which others are made with it.
"""

import functools
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from flprivacy.core.array_types import Float32Array, IntArray

Indices = IntArray

# Apart from the streams of training (flprivacy.training.draws).
_ORDER, _STEP, _SAMPLE, _WEIGHTS = range(100, 104)
GENERATOR, DISCRIMINATOR = 0, 1


def weights_seed(seed: int, network: int) -> int:
    """Return the seed of a network's initial weights; ``network`` is GENERATOR or DISCRIMINATOR."""
    return int(np.random.SeedSequence([_WEIGHTS, seed, network]).generate_state(1)[0] >> 1)


def step_generator(seed: int, *place: int) -> np.random.Generator:
    """Return the generator of everything that one update draws, named by its network, client, round and number."""
    return np.random.default_rng([_STEP, seed, *place])


def batch(n: int, batch_size: int, step: int, *, seed: int, client: int = 0) -> Indices:
    """Return (batch,) indices of the scans of a step: slices of endless random orders of all ``n``, laid end to end."""
    places = step * batch_size + np.arange(batch_size)
    return np.array([_order(n, int(epoch), seed, client)[place] for epoch, place in zip(places // n, places % n)])


@functools.lru_cache(maxsize=4)
def _order(n: int, epoch: int, seed: int, client: int) -> Indices:
    return np.random.default_rng([_ORDER, seed, client, epoch]).permutation(n)


class Noise(NamedTuple):
    """What n scans are made from: (n, latent) vectors, and (n, depth, height, width, 1) grain."""

    latent: Float32Array
    grain: Float32Array


def draw_noise(n: int, latent: int, shape: tuple[int, int, int], generator: np.random.Generator) -> Noise:
    """Draw standard normal noise for n scans."""
    vectors = generator.standard_normal((n, latent), dtype=np.float32)
    return Noise(vectors, generator.standard_normal((n, *shape, 1), dtype=np.float32))


def sample_noise(numbers: npt.ArrayLike, latent: int, shape: tuple[int, int, int], seed: int) -> Noise:
    """Return the noise of samples, each drawn from the seed and its number alone."""
    generators = (np.random.default_rng([_SAMPLE, seed, int(number)]) for number in np.asarray(numbers))
    found = [draw_noise(1, latent, shape, generator) for generator in generators]
    return Noise(*(np.concatenate(parts) for parts in zip(*found, strict=True)))
