"""Poisson sampling: in each step every unit takes part independently, with one probability.

This is what amplification by sampling is proved for; shuffled batches of one size are not it. A draw is cut into as
many padded chunks of one physical size as it needs: nothing is ever left out, and the denominator of the update stays
the *expected* batch (see :mod:`flprivacy.privacy.gradients`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from flprivacy.core.errors import check
from flprivacy.privacy.randomness import SAMPLING, generator

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Chunk:
    """A padded part of one step's draw.

    Attributes:
        indices: (physical,) scans of the client, in [0, n). Filling repeats a scan of the client.
        mask: (physical,) float32: 1 for a scan of the draw, 0 for filling.
        ends: (physical,) float32: 1 where a unit's last scan stands, so that its sum is clipped there. A patient's
            scans follow one another, from one chunk into the next where need be.
        last: whether the step is complete with this chunk; noise is added then.
    """

    indices: Indices
    mask: npt.NDArray[np.float32]
    ends: npt.NDArray[np.float32]
    last: bool


def poisson_sample(n: int, rate: float, *, seed: int, key: Sequence[int]) -> Indices:
    """Draw the units of one step, each of ``n`` with the probability ``rate`` in (0, 1].

    Returns:
        (k,) units, ascending; k is random and may be 0.

    Raises:
        ConfigError: ``rate``, ``seed`` or ``key`` is out of range.
    """
    check(0.0 < rate <= 1.0, "sampling rate", rate, "must be in (0, 1]")
    return np.flatnonzero(generator(SAMPLING, seed, key).random(n) < rate)


def physical_batch(scans_per_unit: npt.ArrayLike, rate: float, *, overflow: float = 0.05) -> int:
    """Return a physical batch that a step's draw seldom exceeds; one that does takes a second chunk.

    ``scans_per_unit`` is (n,), ones where the unit is a scan; ``overflow`` the share of steps that may take more.
    """
    scans = np.asarray(scans_per_unit, dtype=np.float64)
    if (scans == scans[0]).all():
        from scipy.stats import binom  # slow to import: only where it is used

        return max(1, int(binom.isf(overflow, len(scans), rate) * scans[0]))
    spread = np.sqrt(rate * (1.0 - rate) * np.square(scans).sum())
    return max(1, int(np.ceil(rate * scans.sum() + 1.65 * spread)))


def scan_chunks(n: int, rate: float, *, physical: int, seed: int, key: Sequence[int]) -> Iterator[Chunk]:
    """Draw one step whose unit is the scan, and yield it in chunks (one, unless the draw is large)."""
    drawn = poisson_sample(n, rate, seed=seed, key=key)
    yield from _cut(drawn, np.ones(len(drawn), dtype=np.float32), physical)


def patient_chunks(
    patients: npt.ArrayLike, rate: float, *, physical: int, seed: int, key: Sequence[int]
) -> Iterator[Chunk]:
    """Draw one step whose unit is the patient, who takes part with every scan.

    ``patients`` is (n,): the patient of each of the client's scans, of any sortable kind.
    """
    _, patient = np.unique(np.asarray(patients), return_inverse=True)
    drawn = poisson_sample(int(patient.max()) + 1, rate, seed=seed, key=key)
    order = np.argsort(patient, kind="stable")
    scans = order[np.isin(patient[order], drawn)]
    ends = np.append(patient[scans][1:] != patient[scans][:-1], True) if len(scans) else np.zeros(0)
    yield from _cut(scans, ends.astype(np.float32), physical)


def _cut(scans: Indices, ends: npt.NDArray[np.float32], physical: int) -> Iterator[Chunk]:
    """Yield chunks of ``physical`` scans; an empty draw is one chunk of filling, since noise is due all the same."""
    check(physical >= 1, "physical batch", physical, "must be at least 1")
    for start in range(0, max(len(scans), 1), physical):
        part = scans[start : start + physical]
        chunk_ends, mask = np.zeros((2, physical), dtype=np.float32)
        chunk_ends[: len(part)] = ends[start : start + physical]
        mask[: len(part)] = 1.0
        indices = np.zeros(physical, dtype=np.int64)
        indices[: len(part)] = part
        yield Chunk(indices=indices, mask=mask, ends=chunk_ends, last=start + physical >= len(scans))
