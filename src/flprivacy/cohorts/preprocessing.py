"""From stored uint8 volumes to what a network takes, in training and in test.

``standard``: intensities divided by 255; in training views after the first a left-right flip and a shift in the slice
plane, at the scale of the test view.

``flprivacy-2023``: what the reference study did. Intensities are cut off at 0.8; training takes a crop of 140 of 256
pixels at a random offset, test one of 156, and both are resized to the full slice, so that training and test differ
in scale. Sizes other than 256 are cropped in proportion.

Augmentation is drawn per scan from its content and the view's number, so a view does not depend on batching.
"""

import functools
import math

import numpy as np
import numpy.typing as npt

from flprivacy.core.array_types import Float32Array, IntArray, Volumes
from flprivacy.core.cohort import Cohort
from flprivacy.core.errors import CohortError, check
from flprivacy.core.vocabulary import PROTOCOLS

Index = IntArray

_STANDARD, _REFERENCE = PROTOCOLS
_SHIFT_PARTS = 16  # a standard view shifts by at most a sixteenth of the slice
_REFERENCE_EDGE, _TRAIN_CROP, _TEST_CROP, _OFFSETS = 256, 140, 156, 16
_CUT_OFF = np.float32(0.8)
_WHITE = np.float32(255)


def train_view(volumes: Volumes, *, protocol: str, view: int, keys: npt.NDArray[np.uint64]) -> Float32Array:
    """Return one training view of each scan.

    View 0 of ``standard`` is the test view; every view of ``flprivacy-2023`` is augmented.

    Args:
        volumes: uint8 (n, depth, height, width).
        protocol: ``standard`` or ``flprivacy-2023``.
        view: number of the view, from 0.
        keys: (n,) from :func:`view_keys`; a scan's augmentation is drawn from its key and ``view`` alone.

    Returns:
        float32 (n, depth, height, width, 1), in [0, 1] or, for ``flprivacy-2023``, [0, 0.8].

    Raises:
        ConfigError: an unknown protocol or a negative view.
        CohortError: volumes or keys of another type or shape.
    """
    _check(volumes, protocol)
    check(view >= 0, "view", view, "must not be negative")
    keys = np.asarray(keys)
    if keys.shape != volumes.shape[:1] or keys.dtype != np.uint64:
        raise CohortError(f"keys are {keys.dtype} {keys.shape} for {len(volumes)} volumes; take them from view_keys")
    if protocol == _STANDARD and view == 0:
        return test_view(volumes, protocol=protocol)
    out = np.empty((*volumes.shape, 1), dtype=np.float32)
    for volume, key, image in zip(volumes, keys.tolist(), out[..., 0], strict=True):
        rng = np.random.default_rng([key >> 32, key & 0xFFFFFFFF, view])
        if protocol == _STANDARD:
            np.divide(_move(volume, rng), _WHITE, out=image)
        else:
            rows, columns, flip = _training_crop(volume.shape[1], volume.shape[2], rng)
            _zoom(volume, rows, columns, flip=flip, out=image)
    return out


def test_view(volumes: Volumes, *, protocol: str) -> Float32Array:
    """Return the view of each scan that is scored; arguments and result as of :func:`train_view`.

    Raises:
        ConfigError: an unknown protocol.
        CohortError: volumes of another type or shape.
    """
    _check(volumes, protocol)
    out = np.empty((*volumes.shape, 1), dtype=np.float32)
    if protocol == _STANDARD:
        np.divide(volumes, _WHITE, out=out[..., 0])
        return out
    rows, columns = (_central(edge) for edge in volumes.shape[2:])
    for volume, image in zip(volumes, out[..., 0], strict=True):
        _zoom(volume, rows, columns, flip=False, out=image)
    return out


test_view.__test__ = False  # type: ignore[attr-defined]  # pytest would collect it by its name


def view_keys(cohort: Cohort, rows: npt.NDArray[np.integer]) -> npt.NDArray[np.uint64]:
    """Return (n,) keys of augmentation: the first 64 bits of each scan's content hash."""
    hashes = cohort.manifest["sha256"].to_numpy()[rows]
    return np.array([int(sha[:16], 16) for sha in hashes], dtype=np.uint64)


def _check(volumes: Volumes, protocol: str) -> None:
    check(protocol in PROTOCOLS, "protocol", protocol, f"must be one of {', '.join(PROTOCOLS)}")
    if volumes.ndim != 4 or volumes.dtype != np.uint8:
        raise CohortError(
            f"volumes are {volumes.dtype} of shape {volumes.shape}; give uint8 (scan, depth, height, width)"
        )


def _move(volume: Volumes, rng: np.random.Generator) -> Volumes:
    """Flip left to right or not, and shift in the slice plane; edges are repeated into what the shift uncovers."""
    height, width = volume.shape[1:]
    reach_y, reach_x = height // _SHIFT_PARTS, width // _SHIFT_PARTS
    flip = bool(rng.integers(2))
    rows = np.clip(np.arange(height) + rng.integers(-reach_y, reach_y + 1), 0, height - 1)
    columns = np.clip(np.arange(width) + rng.integers(-reach_x, reach_x + 1), 0, width - 1)
    moved: Volumes = volume.take(rows, axis=1).take(columns[::-1] if flip else columns, axis=2)
    return moved


def _scaled(length: int, edge: int) -> int:
    """Return a length given for a slice of 256 pixels for one of ``edge`` pixels, at least 1."""
    return max(1, math.floor(length * edge / _REFERENCE_EDGE + 0.5))


def _central(edge: int) -> slice:
    crop = _scaled(_TEST_CROP, edge)
    start = (edge - crop) // 2
    return slice(start, start + crop)


def _training_crop(height: int, width: int, rng: np.random.Generator) -> tuple[slice, slice, bool]:
    """Draw the reference study's crop: it starts up to 15 of 256 pixels after the central crop's start."""
    flip = bool(rng.integers(2))
    crops = []
    for edge in (height, width):
        start = _central(edge).start + int(rng.integers(_scaled(_OFFSETS, edge)))
        crops.append(slice(start, start + _scaled(_TRAIN_CROP, edge)))
    return crops[0], crops[1], flip


def _zoom(volume: Volumes, rows: slice, columns: slice, *, flip: bool, out: Float32Array) -> None:
    """Crop each slice, cut it off, flip it or not, and resize it to the full slice, into ``out``.

    One slice at a time stays in the processor's cache, and needs no matrix library, whose threads would fight those
    of the network that is being fed.
    """
    crops = volume[:, rows, columns]
    if flip:
        crops = crops[:, :, ::-1]
    left, right, share_x = _interpolation(crops.shape[2], volume.shape[2])
    upper, lower, share_y = _interpolation(crops.shape[1], volume.shape[1])
    for crop, image in zip(crops, out, strict=True):
        intensity = np.divide(crop, _WHITE, dtype=np.float32)
        np.minimum(intensity, _CUT_OFF, out=intensity)
        wide = _blend(intensity.take(left, axis=1), intensity.take(right, axis=1), share_x)
        image[:] = _blend(wide.take(upper, axis=0), wide.take(lower, axis=0), share_y[:, None])


def _blend(near: Float32Array, far: Float32Array, share: Float32Array) -> Float32Array:
    """Return ``near + share * (far - near)``, computed in the memory of ``far``."""
    far -= near
    far *= share
    far += near
    return far


@functools.lru_cache(maxsize=64)
def _interpolation(source: int, target: int) -> tuple[Index, Index, Float32Array]:
    """Return, for each of ``target`` pixels, its two neighbours among ``source`` and the share of the second.

    Bilinear with half-pixel centres, edges repeated, no antialiasing: ``tf.image.resize``.
    """
    centres = (np.arange(target) + 0.5) * source / target - 0.5
    near = np.floor(centres).astype(np.int64)
    share = (centres - near).astype(np.float32)
    near, far = near.clip(0, source - 1), (near + 1).clip(0, source - 1)
    for array in (near, far, share):
        array.flags.writeable = False
    return near, far, share
