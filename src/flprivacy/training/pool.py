"""The pool of training scans. A client's data is a set of indices into it."""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from flprivacy.cohorts.format import read_volumes
from flprivacy.cohorts.preprocessing import train_view, view_keys
from flprivacy.core.cohort import TRAIN, Cohort

Indices = npt.NDArray[np.int64]
Volumes = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.float32]

# Above this, volumes are read from the cohort's memory maps batch by batch and stay in the page cache alone.
PRELOAD_BYTES = 256 * 2**20


@dataclass(frozen=True, kw_only=True, eq=False)
class Pool:
    """Scans that a run trains on.

    Attributes:
        read: (k,) indices -> uint8 (k, depth, height, width).
        labels: (n,) disease class of each scan.
        keys: (n,) what each scan's augmentation is drawn from.
        n_classes: number of disease classes.
        protocol: preprocessing.
    """

    read: Callable[[Indices], Volumes]
    labels: npt.NDArray[np.int64]
    keys: npt.NDArray[np.uint64]
    n_classes: int
    protocol: str

    def view(self, indices: Indices, view: int) -> FloatArray:
        """Return one training view of each scan, float32 (k, depth, height, width, 1)."""
        return train_view(self.read(indices), protocol=self.protocol, view=view, keys=self.keys[indices])

    def one_hot(self, indices: Indices) -> FloatArray:
        """Return the classes as float32 (k, class)."""
        return np.eye(self.n_classes, dtype=np.float32)[self.labels[indices]]


def training_pool(cohort: Cohort, *, protocol: str, preload_bytes: int = PRELOAD_BYTES) -> Pool:
    """Return the cohort's training scans in the order of the manifest.

    Args:
        cohort: an opened cohort.
        protocol: preprocessing, ``standard`` or ``flprivacy-2023``.
        preload_bytes: volumes are held in memory up to this size together, else read when needed.
    """
    rows = cohort.rows(TRAIN)
    return Pool(
        read=volume_reader(cohort, rows, preload_bytes=preload_bytes),
        labels=cohort.manifest["label"].to_numpy(dtype=np.int64)[rows],
        keys=view_keys(cohort, rows),
        n_classes=len(cohort.meta.class_names),
        protocol=protocol,
    )


def volume_reader(cohort: Cohort, rows: Indices, *, preload_bytes: int = PRELOAD_BYTES) -> Callable[[Indices], Volumes]:
    """Return a function from indices into ``rows`` to uint8 volumes: from memory where they fit, else from disk.

    Nothing is read before the first call: an untrained baseline needs none of a cohort that was pulled in part.
    """
    if len(rows) * int(np.prod(cohort.meta.shape)) > preload_bytes:
        return lambda indices: read_volumes(cohort, rows[indices])
    volumes = functools.cache(lambda: read_volumes(cohort, rows))
    return lambda indices: volumes()[indices]
