"""Random streams of private training, each named by (stream, seed, key).

Sampling and noise are a function of the seed and of a key that the caller chooses, such as (client, round, step). That
makes a run repeatable bit for bit on a CPU and a resumed run equal to an undisturbed one. It also makes the seed a
secret: who knows it can draw the same noise and subtract it, and then nothing is private. Training that is to protect
anyone takes its seed from :func:`secret_seed`, keeps it with the checkpoints while the run lasts, and never writes it
into ``target.json``, a log or a tracking server. A fixed seed is for tests and for measuring.

Numpy's generator is not cryptographic, and floating-point Gaussian noise is no exact Gaussian (Mironov, CCS 2012), even
hardened as in :func:`gaussian`: the guarantee is that of the mathematics, not of the machine's last bits.
"""

import hashlib
import json
import math
import secrets
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from flprivacy.core.array_types import FloatArray
from flprivacy.core.errors import ConfigError
from flprivacy.core.tensorflow_environment import threads

SAMPLING, NOISE, SITE_NOISE, LAYERS = "sampling", "noise", "site-noise", "layers"
_DRAWS = 2
_BLOCK = 1 << 16  # values of one generator


def secret_seed() -> int:
    """Return 128 unpredictable bits from the operating system."""
    return secrets.randbits(128)


def generator(stream: str, seed: int, key: Sequence[int]) -> np.random.Generator:
    """Return the numpy generator of one draw.

    Args:
        stream: what is drawn, so that sampling and noise never share bits.
        seed: not negative, of any size.
        key: where in the run, such as (client, round, step); keys of different lengths never collide.

    Raises:
        ConfigError: a negative seed or key.
    """
    return np.random.default_rng(_words(stream, seed, key).tolist())


def gaussian(stream: str, seed: int, key: Sequence[int], size: int) -> FloatArray:
    """Return (size,) float64 standard Gaussian noise, the same whatever the number of threads.

    Each value is the scaled sum of several draws, which leaves whoever inspects the last bits of a noised sum too many
    ways to have come by them (Holohan and Braghin, arXiv:2107.10138). Ziggurat draws from 52 random bits have full
    tails; Box-Muller draws of TensorFlow end at 5.7 standard deviations in either precision.

    Raises:
        ConfigError: a negative seed or key.
    """
    noise = np.zeros(size)
    blocks = [slice(start, min(start + _BLOCK, size)) for start in range(0, size, _BLOCK)]

    def fill(number: int) -> None:
        rng, part = generator(stream, seed, (*key, number)), noise[blocks[number]]
        draw = np.empty_like(part)
        for _ in range(_DRAWS):
            part += rng.standard_normal(out=draw)
        part /= math.sqrt(_DRAWS)

    if len(blocks) > 1:
        with ThreadPoolExecutor(min(len(blocks), threads())) as pool:  # numpy draws without holding Python's lock
            list(pool.map(fill, range(len(blocks))))
    elif blocks:
        fill(0)
    return noise


def _words(stream: str, seed: int, key: Sequence[int]) -> npt.NDArray[np.uint32]:
    """Hash the name, so that no two names share a generator (SeedSequence alone takes [1] and [1, 0] for one)."""
    numbers = [int(seed), *(int(k) for k in key)]
    if min(numbers) < 0:
        raise ConfigError(f"seed and key are {numbers[0]} and {tuple(numbers[1:])}; none may be negative")
    digest = hashlib.sha256(json.dumps([stream, *numbers]).encode()).digest()
    return np.frombuffer(digest, dtype=np.uint32)
