"""Random streams of a generator's training and samples: every draw is named by (stream, seed, place).

So a resumed run equals an undisturbed one, and a sample does not depend on which others are made with it.
"""

import functools

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]

# Apart from the streams of training (flprivacy.training.draws).
_ORDER, _STEP, _LATENT, _WEIGHTS = range(100, 104)
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


def latents(numbers: npt.ArrayLike, length: int, seed: int) -> FloatArray:
    """Return float32 (n, length) noise vectors of samples, each of the seed and its number alone."""
    found = [np.random.default_rng([_LATENT, seed, int(i)]).standard_normal(length) for i in np.asarray(numbers)]
    return np.asarray(found, dtype=np.float32).reshape(-1, length)
