"""The pool of training scans, and who holds which of them: a client's data is a set of indices into the pool."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from flprivacy.cohorts.format import read_volumes
from flprivacy.cohorts.preprocessing import test_view, train_view, view_keys
from flprivacy.core.array_types import Float32Array, IntArray, Volumes
from flprivacy.core.cohort import TRAIN, Cohort
from flprivacy.core.errors import TrainingError
from flprivacy.training.draws import patient_client

Indices = IntArray

# Above this, volumes are read from the cohort's memory maps batch by batch and stay in the page cache alone.
PRELOAD_BYTES = 256 * 2**20


@dataclass(frozen=True, kw_only=True, eq=False)
class Pool:
    """Scans that a run trains on, or is scored on.

    Attributes:
        read: (k,) indices -> uint8 (k, depth, height, width).
        labels: (n,) disease class of each scan.
        keys: (n,) what each scan's augmentation is drawn from, and in private training its masks of random layers.
    """

    read: Callable[[Indices], Volumes]
    labels: IntArray
    keys: npt.NDArray[np.uint64]
    n_classes: int
    protocol: str

    def view(self, indices: Indices, view: int | None) -> Float32Array:
        """Return a training view of each scan, or the scored one (None), float32 (k, depth, height, width, 1)."""
        if view is None:
            return test_view(self.read(indices), protocol=self.protocol)
        return train_view(self.read(indices), protocol=self.protocol, view=view, keys=self.keys[indices])

    def one_hot(self, indices: Indices) -> Float32Array:
        """Return the classes as float32 (k, class)."""
        return np.eye(self.n_classes, dtype=np.float32)[self.labels[indices]]


def scan_pool(cohort: Cohort, *, protocol: str, split: str = TRAIN, preload_bytes: int = PRELOAD_BYTES) -> Pool:
    """Return the scans of a split (``train`` or ``test``) in the order of the manifest.

    Volumes are held in memory up to ``preload_bytes`` together, else read when needed.
    """
    return rows_pool(cohort, cohort.rows(split), protocol=protocol, preload_bytes=preload_bytes)


def rows_pool(cohort: Cohort, rows: Indices, *, protocol: str, preload_bytes: int = PRELOAD_BYTES) -> Pool:
    """Return the scans of some rows as :func:`scan_pool` does those of a split."""
    return Pool(
        read=_volume_reader(cohort, rows, preload_bytes),
        labels=cohort.manifest["label"].to_numpy(dtype=np.int64)[rows],
        keys=view_keys(cohort, rows),
        n_classes=len(cohort.meta.class_names),
        protocol=protocol,
    )


def joined(pool: Pool, more: Pool) -> Pool:
    """Return the scans of two pools as one, those of the second behind those of the first."""
    n = len(pool.labels)

    def read(indices: Indices) -> Volumes:
        if (indices < n).all():
            return pool.read(indices)
        behind = indices >= n
        added = more.read(indices[behind] - n)
        volumes = np.empty((len(indices), *added.shape[1:]), dtype=np.uint8)
        volumes[behind] = added
        if not behind.all():
            volumes[~behind] = pool.read(indices[~behind])
        return volumes

    return replace(
        pool,
        read=read,
        labels=np.concatenate([pool.labels, more.labels]),
        keys=np.concatenate([pool.keys, more.keys]),
    )


def _volume_reader(cohort: Cohort, rows: Indices, preload_bytes: int) -> Callable[[Indices], Volumes]:
    """Return indices into ``rows`` -> volumes, from memory or disk; nothing is read before the first call."""
    if len(rows) * int(np.prod(cohort.meta.shape)) > preload_bytes:
        return lambda indices: read_volumes(cohort, rows[indices])
    volumes = functools.cache(lambda: read_volumes(cohort, rows))
    return lambda indices: volumes()[indices]


def natural_partition(cohort: Cohort) -> tuple[Indices, ...]:
    """Return, for each site, the indices into the training pool of its own scans, ascending.

    Raises:
        TrainingError: a site of the cohort has no training scan.
    """
    sites = cohort.manifest["site_id"].to_numpy()[cohort.rows(TRAIN)]
    parts = tuple(np.flatnonzero(sites == site) for site in range(len(cohort.meta.site_names)))
    for name, part in zip(cohort.meta.site_names, parts, strict=True):
        if not len(part):
            raise TrainingError(
                f"{cohort.folder}: site {name!r} has no training scan, so it cannot train a model or be a client; "
                "give it training scans or remove it from the cohort"
            )
    return parts


def iid_partition(cohort: Cohort, *, seed: int) -> tuple[Indices, ...]:
    """Return as many random shares of the training pool as there are sites, ascending and about equally large.

    Each patient, with all scans, falls to the client that a keyed hash of the pseudonym names, so that nobody moves
    when another patient comes or goes. Together they are the whole pool.

    Raises:
        TrainingError: a share has no training scan.
    """
    patients = cohort.manifest["patient_id"].to_numpy()[cohort.rows(TRAIN)]
    n = len(cohort.meta.site_names)
    clients = np.array([patient_client(str(patient), n, seed) for patient in patients], dtype=np.int64)
    parts = tuple(np.flatnonzero(clients == client) for client in range(n))
    for number, part in enumerate(parts):
        if not len(part):
            raise TrainingError(
                f"{cohort.folder}: no patient falls to client site-{number:02d} of {n} under the iid partition; train "
                "on more patients or fewer sites, or with another seed"
            )
    return parts


def partition(cohort: Cohort, *, kind: str, seed: int) -> tuple[Indices, ...]:
    """Return each federated client's scans under the ``natural`` or ``iid`` partition."""
    return natural_partition(cohort) if kind == "natural" else iid_partition(cohort, seed=seed)
