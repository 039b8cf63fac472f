"""A space in which a copy of a scan stays near, though it was shifted, mirrored, blurred or made brighter.

A scan is smoothed and cut to a window that is centred on the body, so that a body that was moved in the slice plane
comes to lie where it was. Means over a coarse grid, less their mean and of unit length, know neither brightness nor
contrast. Principal components of all real scans, each scaled to unit variance, weigh what tells patients apart as
much as what all have in common. A scan is compared in six views, as it is and mirrored, and one slice up or down;
the nearest counts. The components are those of training and held-out scans alike, so the space knows nothing of who was
trained on.

What it does not see: copies that were turned, warped or put together from several patients.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from flprivacy.core.array_types import Float32Array, IntArray, Volumes
from flprivacy.synthesis.checks.neighbours import Neighbours, joined, nearest_patients

Read = Callable[[IntArray], Volumes]

_EDGE = 64  # pixels that a slice is reduced to first
_CELLS_IN_PLANE, _MOST_CELLS_DEEP = 12, 11
_MARGIN_PARTS = 8  # of the slice's edge: how far a body may be off the centre
_BLUR = 2.0  # pixels of a reduced slice; half as much between slices
# With more components than that, the scans that they were made from lie further apart than others do.
_COMPONENTS, _SCANS_PER_COMPONENT, _LEAST_COMPONENTS = 256, 8, 16
_BLOCK = 128  # scans at a time
_LEAST_VARIANCE = 1e-6  # of a component, relative to the first: below it is rounding


@dataclass(frozen=True, kw_only=True, eq=False)
class Likeness:
    """The space, made from real scans.

    Attributes:
        mean: (cell,) of the real scans.
        components: (cell, component) that scans are projected on.
        real: (real scan, component) the real scans.
    """

    mean: Float32Array
    components: Float32Array
    real: Float32Array

    def distances(self, volumes: Volumes) -> Float32Array:
        """Return (scan, real scan) distances of uint8 (scan, depth, height, width) in their nearest view."""
        nearest: Float32Array | None = None
        for view in views(volumes):
            placed = (view - self.mean) @ self.components
            squares = (placed**2).sum(axis=1)[:, None] + (self.real**2).sum(axis=1) - 2.0 * placed @ self.real.T
            nearest = squares if nearest is None else np.minimum(nearest, squares, out=nearest)
        if nearest is None:
            raise ValueError("no view of these scans")
        return np.sqrt(np.maximum(nearest, 0.0))

    def neighbours(self, read: Read, scans: int, patients: IntArray, own: IntArray | None = None) -> Neighbours:
        """Return the nearest patients of scans, read a few at a time.

        Args:
            read: (k,) indices from 0 to ``scans`` - 1 -> uint8 (k, depth, height, width).
            scans: how many.
            patients: (real scan,) index of each one's patient.
            own: (scan,) the scans' own patients, if they are real.
        """
        parts = []
        for rows in _blocks(scans):
            mine = None if own is None else own[rows]
            parts.append(nearest_patients(self.distances(read(rows)), patients, own=mine))
        return joined(parts)


def fit_likeness(read: Read, scans: int) -> Likeness:
    """Make the space from real scans, training and held-out alike.

    Args:
        read: (k,) indices from 0 to ``scans`` - 1 -> uint8 (k, depth, height, width).
        scans: how many real scans there are, at least 8.
    """
    seen = np.concatenate([next(views(read(rows))) for rows in _blocks(scans)])
    mean = seen.mean(axis=0)
    centred = seen - mean
    variances, vectors = np.linalg.eigh(centred.T @ centred / len(seen))
    kept = min(_COMPONENTS, max(_LEAST_COMPONENTS, scans // _SCANS_PER_COMPONENT), scans // 2)
    variances, vectors = variances[::-1][:kept], vectors[:, ::-1][:, :kept]
    there = variances > _LEAST_VARIANCE * variances[0]
    components = np.ascontiguousarray(vectors[:, there] / np.sqrt(variances[there]))
    return Likeness(mean=mean, components=components, real=centred @ components)


def views(volumes: Volumes) -> Iterator[Float32Array]:
    """Yield (scan, cell) of each view of uint8 (scan, depth, height, width), the scan as it is first."""
    smooth = _smooth(volumes)
    depth = smooth.shape[1] - 2
    deep = _averaging(depth, min(depth, _MOST_CELLS_DEEP))
    for turned in (smooth, smooth[..., ::-1]):
        planes = _centred_means(turned)  # (scan, depth, cell)
        for up in (1, 0, 2):
            cells = np.matmul(deep, planes[:, up : up + depth])
            yield _unit(cells.reshape(len(cells), -1))


def _blocks(scans: int) -> Iterator[IntArray]:
    for start in range(0, scans, _BLOCK):
        yield np.arange(start, min(start + _BLOCK, scans))


def _smooth(volumes: Volumes) -> Float32Array:
    """Return scans with slices of about 64 pixels' edge, without noise and detail."""
    _, _, height, width = volumes.shape
    step = max(1, min(height, width) // _EDGE)
    reduced = volumes[:, :, : height // step * step, : width // step * step].astype(np.float32)
    if step > 1:
        shape = (*reduced.shape[:2], height // step, step, width // step, step)
        reduced = reduced.reshape(shape).mean(axis=(3, 5))
    blur = _BLUR * min(reduced.shape[2:]) / _EDGE
    smooth: Float32Array = ndimage.gaussian_filter(reduced, (0.0, blur / 2.0, blur, blur), truncate=3.0)
    return smooth


def _centred_means(volumes: Float32Array) -> Float32Array:
    """Return (scan, depth, cell) means over windows that are centred on the bodies, as far as margins allow."""
    # Denser than the scan's mean is soft tissue or bone, however bright the scan is.
    body = (volumes > volumes.mean(axis=(1, 2, 3), keepdims=True)).astype(np.float32)
    total = np.maximum(body.sum(axis=(1, 2, 3)), 1.0)
    along_rows = _windows(body.sum(axis=(1, 3)), total)  # (scan, cell, height)
    along_columns = _windows(body.sum(axis=(1, 2)), total)  # (scan, cell, width)
    rows = np.matmul(along_rows[:, None], volumes)  # (scan, depth, cell, width)
    means: Float32Array = np.matmul(rows, along_columns[:, None].transpose(0, 1, 3, 2))
    return means.reshape(*means.shape[:2], -1)


def _windows(profile: Float32Array, total: Float32Array) -> Float32Array:
    """Return (scan, cell, size) weights of each scan's cells, from how much body (scan, size) is where."""
    size = profile.shape[1]
    margin = size // _MARGIN_PARTS
    averaging = _averaging(size - 2 * margin, _CELLS_IN_PLANE)
    centre = profile @ np.arange(size, dtype=np.float32) / total
    corners = np.clip(centre - (size - 1) / 2 + margin, 0.0, 2.0 * margin)
    shifted = np.zeros((2 * margin + 1, len(averaging), size), np.float32)
    for corner, window in enumerate(shifted):
        window[:, corner : corner + averaging.shape[1]] = averaging
    # Between two places of the window, as what was moved by a few pixels of a large slice is.
    before = np.minimum(corners.astype(int), max(2 * margin - 1, 0))
    share = (corners - before).astype(np.float32)[:, None, None]
    weights: Float32Array = (1.0 - share) * shifted[before] + share * shifted[np.minimum(before + 1, 2 * margin)]
    return weights


def _averaging(size: int, cells: int) -> Float32Array:
    """Return (cell, size) weights of means over cells that differ in size by at most one."""
    edges = np.linspace(0, size, min(cells, size) + 1).round().astype(int)
    place = np.arange(size)
    inside = (place >= edges[:-1, None]) & (place < edges[1:, None])
    weights: Float32Array = (inside / np.diff(edges)[:, None]).astype(np.float32)
    return weights


def _unit(cells: Float32Array) -> Float32Array:
    centred = cells - cells.mean(axis=1, keepdims=True)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    unit: Float32Array = centred / np.maximum(length, 1e-6)
    return unit
