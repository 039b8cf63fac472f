"""Random streams of private training, each named by (stream, seed, key).

Sampling and noise are a function of the seed and of a key that the caller chooses, such as (client, round, step). That
makes a run repeatable bit for bit on a CPU and a resumed run equal to an undisturbed one. It also makes the seed a
secret: who knows it can draw the same noise and subtract it, and then nothing is private. Training that is to protect
anyone takes its seed from :func:`secret_seed`, keeps it with the checkpoints while the run lasts, and never writes it
into ``target.json``, a log or a tracking server. A fixed seed is for tests and for measuring.

Neither numpy's nor TensorFlow's generator is cryptographic, and floating-point Gaussian noise is no exact Gaussian
(Mironov, CCS 2012): the guarantee is that of the mathematics, not of the machine's last bits.
"""

import hashlib
import json
import secrets
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from flprivacy.core.errors import ConfigError

SAMPLING, NOISE, SITE_NOISE = "sampling", "noise", "site-noise"


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


def noise_seed(stream: str, seed: int, key: Sequence[int]) -> npt.NDArray[np.int32]:
    """Return (2,) the seed of one draw of the backend's stateless generator.

    Raises:
        ConfigError: a negative seed or key.
    """
    return _words(stream, seed, key)[:2].view(np.int32)


def _words(stream: str, seed: int, key: Sequence[int]) -> npt.NDArray[np.uint32]:
    """Hash the name, so that no two names share a generator (SeedSequence alone takes [1] and [1, 0] for one)."""
    numbers = [int(seed), *(int(k) for k in key)]
    if min(numbers) < 0:
        raise ConfigError(f"seed and key are {numbers[0]} and {tuple(numbers[1:])}; none may be negative")
    digest = hashlib.sha256(json.dumps([stream, *numbers]).encode()).digest()
    return np.frombuffer(digest, dtype=np.uint32)
