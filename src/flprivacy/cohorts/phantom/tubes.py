"""Vessels, airways and clavicles: tubes along polylines, of which whole groups are measured at once.

A segment matters only to the voxels close to it, a few hundred of many thousands; taken together, the (segment,
voxel) pairs of a group are one flat array that NumPy works through quickly.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from flprivacy.cohorts.phantom.grid import Box, Field, Grid, Points, paint

_FAR_MM = np.float32(1e6)


@dataclass(frozen=True, kw_only=True, eq=False)
class Tube:
    """A vessel, airway or long bone: a polyline (point, 3), at least two, and a radius (mm) at each point."""

    points: Points
    radii: npt.NDArray[np.float64]

    def resized(self, *, scale: float = 1.0, widen_mm: float = 0.0) -> "Tube":
        """Return the tube with radii ``scale`` times as large and ``widen_mm`` more."""
        return Tube(points=self.points, radii=self.radii * scale + widen_mm)


def tube(points: Sequence[tuple[float, float, float]], *radii: float) -> Tube:
    """Return a tube whose radius runs through ``radii`` at even steps along the points."""
    ends = np.linspace(0.0, 1.0, len(radii))
    places = np.linspace(0.0, 1.0, len(points))
    return Tube(points=np.array(points, dtype=np.float64), radii=np.interp(places, ends, radii))


def paint_tubes(volume: Field, grid: Grid, tubes: Sequence[Tube], value: float) -> None:
    """Paint tubes one after the other; one thinner than a pixel is as faint as its share of the pixel."""
    for shape, box, distance in tube_distances(grid, tubes):
        share = min(1.0, (2.0 * float(shape.radii.mean()) / grid.ramp_mm) ** 1.5)
        alpha = grid.coverage(distance)
        alpha *= np.float32(share)
        paint(volume, alpha, np.float32(value), box)


def tube_distances(
    grid: Grid, tubes: Sequence[Tube], *, radius_mm: float | None = None
) -> Iterator[tuple[Tube, Box, Field]]:
    """Yield every tube that meets the grid, the box around it and the signed distance (mm) to it in that box.

    The distance is exact up to a pixel outside of the tube, and large beyond. The box is that of the tube's largest
    radius, or of ``radius_mm``.
    """
    kept = [(shape, box) for shape in tubes if (box := _tube_box(grid, shape, radius_mm)) is not None]
    if not kept:
        return
    first, size = _segment_boxes(grid, kept)
    pairs = _pair_distances(grid, [shape for shape, _ in kept], first, size)
    ends = np.cumsum(size.prod(axis=1)).tolist()
    starts, (first_list, size_list) = [0, *ends], (first.tolist(), size.tolist())
    segment = 0
    for shape, box in kept:
        distance = np.full([span.stop - span.start for span in box], _FAR_MM)
        for _ in range(len(shape.points) - 1):
            start, end = starts[segment], ends[segment]
            if end > start:
                corner = zip(first_list[segment], size_list[segment], box, strict=True)
                view = distance[tuple([slice(low - s.start, low - s.start + n) for low, n, s in corner])]
                np.minimum(view, pairs[start:end].reshape(view.shape), out=view)
            segment += 1
        yield shape, box, distance


def _tube_box(grid: Grid, shape: Tube, radius_mm: float | None) -> Box | None:
    radius = float(shape.radii.max()) if radius_mm is None else radius_mm
    return grid.box((shape.points.min(axis=0) - radius).tolist(), (shape.points.max(axis=0) + radius).tolist())


def _segment_boxes(grid: Grid, kept: Sequence[tuple[Tube, Box]]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return (segment, 3) first indices and sizes of the box around each segment, within the box of its tube."""
    start = np.concatenate([shape.points[:-1] for shape, _ in kept])
    end = np.concatenate([shape.points[1:] for shape, _ in kept])
    radius = np.concatenate([np.maximum(shape.radii[:-1], shape.radii[1:]) for shape, _ in kept])
    reach = radius[:, None] + grid.ramp_mm
    low, high = np.minimum(start, end) - reach, np.maximum(start, end) + reach
    counts = [len(shape.points) - 1 for shape, _ in kept]
    limits = np.repeat([[(span.start, span.stop) for span in box] for _, box in kept], counts, axis=0)
    middle, half = (low + high)[:, :2] / 2.0, (high - low)[:, :2] / 2.0
    plane = middle @ grid.to_index[:, :2].T + grid.to_index[:, 2] - np.array(grid.origin)
    spread = half @ np.abs(grid.to_index[:, :2]).T
    near = np.column_stack([(low[:, 2] - grid.first_mm) / grid.spacing_mm, plane - spread])
    far = np.column_stack([(high[:, 2] - grid.first_mm) / grid.spacing_mm, plane + spread])
    first = np.maximum(np.floor(near).astype(np.int64), limits[..., 0])
    stop = np.minimum(np.ceil(far).astype(np.int64) + 1, limits[..., 1])
    return first, np.maximum(stop - first, 0)


def _pair_distances(
    grid: Grid, tubes: Sequence[Tube], first: npt.NDArray[np.int64], size: npt.NDArray[np.int64]
) -> Field:
    """Return (pair,) the distance of every voxel of a segment's box to the segment, segment after segment."""
    counts = size.prod(axis=1)
    total = int(counts.sum())
    segment = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    place = np.arange(total, dtype=np.int32) - np.repeat((np.cumsum(counts) - counts).astype(np.int32), counts)
    depths, rows, columns = first.astype(np.int32).T
    _, height, width = np.maximum(size, 1).astype(np.int32).T
    line, column = np.divmod(place, width[segment])
    slice_, row = np.divmod(line, height[segment])
    pixel = (row + rows[segment]) * np.int32(grid.x.shape[1]) + column + columns[segment]
    x, y, z = grid.x.ravel()[pixel], grid.y.ravel()[pixel], grid.z[slice_ + depths[segment]]
    axis = np.concatenate([np.diff(shape.points, axis=0) for shape in tubes])
    start = np.concatenate([shape.points[:-1] for shape in tubes])
    radius = np.concatenate([shape.radii[:-1] for shape in tubes])
    growth = np.concatenate([np.diff(shape.radii) for shape in tubes])
    scale = 1.0 / np.maximum((axis**2).sum(axis=1), 1e-6)
    table = np.concatenate([start.T, axis.T, [scale, radius, growth]]).astype(np.float32)
    sx, sy, sz, ax, ay, az, s, r, g = np.repeat(table, counts, axis=1)
    px, py, pz = x - sx, y - sy, z - sz
    h = ((px * ax + py * ay + pz * az) * s).clip(0.0, 1.0)
    squared = (px - h * ax) ** 2 + (py - h * ay) ** 2 + (pz - h * az) ** 2
    distance: Field = np.sqrt(squared) - (r + h * g)
    return distance
