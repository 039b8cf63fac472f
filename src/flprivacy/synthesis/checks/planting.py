"""Copies to plant: what a generator that returns its training scans might do to them, so as not to be caught."""

import numpy as np
from scipy import ndimage

from flprivacy.core.array_types import Volumes

_SHIFT_PARTS = 16  # of the slice's edge: how far a copy is moved, at most
_BLUR_PARTS = 48  # of the slice's edge: how far a copy is blurred


def plant(volumes: Volumes, *, seed: int) -> Volumes:
    """Return a copy of each of (scan, depth, height, width): as it is, shifted, mirrored or blurred, in turn."""
    rng = np.random.default_rng(seed)
    ways = (same, shifted, mirrored, blurred)
    return np.stack([ways[number % len(ways)](one, rng) for number, one in enumerate(volumes)])


def same(volume: Volumes, rng: np.random.Generator) -> Volumes:
    """Return a scan (depth, height, width) as it is."""
    del rng
    return volume


def shifted(volume: Volumes, rng: np.random.Generator) -> Volumes:
    """Return a scan moved in the slice plane; what comes in is as its edge."""
    by = [int(rng.integers(-(size // _SHIFT_PARTS), size // _SHIFT_PARTS + 1)) for size in volume.shape[1:]]
    padded = np.pad(volume, [(0, 0), *((abs(one), abs(one)) for one in by)], mode="edge")
    (y, x), (height, width) = ((abs(one) - one for one in by), volume.shape[1:])
    return padded[:, y : y + height, x : x + width]


def mirrored(volume: Volumes, rng: np.random.Generator) -> Volumes:
    """Return a scan with left and right exchanged."""
    del rng
    return volume[:, :, ::-1]


def blurred(volume: Volumes, rng: np.random.Generator) -> Volumes:
    """Return a scan without its detail."""
    del rng
    width = min(volume.shape[1:]) / _BLUR_PARTS
    smooth: Volumes = np.rint(ndimage.gaussian_filter(volume.astype(np.float32), (0.0, width, width))).astype(np.uint8)
    return smooth
