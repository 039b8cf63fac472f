"""Random streams of a run: every draw is named by (stream, seed, place), so none depends on another.

So a resumed run equals an undisturbed one, and a client's batches do not depend on who else was drawn.
"""

import hmac
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

_BATCHES, _LAYERS, _CLIENTS, _SYNTHETIC = range(1, 5)  # 0: initial weights


class Place(NamedTuple):
    """Names one pass: client (or siloed model), FedAvg round, epoch within it; 0 where there is none."""

    client: int = 0
    round_: int = 0
    epoch: int = 0


def batch_generator(seed: int, client: int, round_: int, epoch: int) -> np.random.Generator:
    """Return the generator of the batches of one pass of one client (``round_`` is 0 outside FedAvg)."""
    return np.random.default_rng([_BATCHES, seed, client, round_, epoch])


def layer_generator(seed: int, client: int, round_: int) -> np.random.Generator:
    """Return the generator that seeds random layers (dropout) when a client starts."""
    return np.random.default_rng([_LAYERS, seed, client, round_])


def draw_clients(n_clients: int, fraction: float, seed: int, round_: int) -> npt.NDArray[np.int64]:
    """Draw one round's clients: ``fraction`` of them rounded to the nearest, at least one; ascending."""
    count = max(1, round(fraction * n_clients))
    return np.sort(np.random.default_rng([_CLIENTS, seed, round_]).choice(n_clients, size=count, replace=False))


def synthetic_generator(seed: int) -> np.random.Generator:
    """Return the generator that draws a target's synthetic scans."""
    return np.random.default_rng([_SYNTHETIC, seed])


def patient_client(patient: str, n_clients: int, seed: int) -> int:
    """Return the client of the IID partition that holds a patient, whoever else there is."""
    keyed = hmac.digest(f"partition {seed}".encode(), patient.encode(), "sha256")
    return int.from_bytes(keyed, "big") % n_clients
