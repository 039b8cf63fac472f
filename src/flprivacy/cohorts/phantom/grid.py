"""The voxel grid of one scan in anatomical coordinates, and implicit shapes sampled on it.

Anatomy is written in *reference millimetres*: those of a man of average build, whose chest measures
``LUNG_HEIGHT_MM`` from the apex to the base. x points to the patient's left (width), y to the back (height), z to
the feet (depth). A :class:`Grid` carries every voxel's reference coordinates, so that a smaller patient, another
field of view, a shift or a turn on the table are changes of coordinates only.

Shapes are signed distances in reference millimetres, negative inside; :meth:`Grid.coverage` turns a distance into
the fraction of a voxel that lies inside, which is what partial volume does to a scan.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Field = npt.NDArray[np.float32]
Box = tuple[slice, slice, slice]

LUNG_HEIGHT_MM = 270.0


@dataclass(frozen=True, kw_only=True)
class Pose:
    """How a patient lies in the scanner at one scan."""

    fov_mm: float  # width of the field of view
    shift_mm: tuple[float, float]  # (x, y) of the patient's centre from the isocentre
    roll_rad: float  # turn about the long axis
    top: float  # first slice's upper face as a fraction of the lung's height (0: apex, 1: base)
    bottom: float  # last slice's lower face, as ``top``
    size: tuple[float, float]  # (x, y) scale of the patient against the reference
    slice_mm: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Grid:
    """Reference coordinates of every voxel centre."""

    x: Field  # (height, width), towards the patient's left
    y: Field  # (height, width), towards the back
    z: Field  # (depth,), towards the feet
    u: Field  # (width,) scanner coordinate in true millimetres, in which the table does not turn with the patient
    v: Field  # (height,) as ``u``, downwards
    pixel_mm: tuple[float, float]  # (height, width) size of a pixel
    slice_mm: float
    to_index: npt.NDArray[np.float64]  # (2, 3) affine from (x, y, 1) to fractional (row, column)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(depth, height, width)."""
        return (len(self.z), *self.x.shape)

    @property
    def ramp_mm(self) -> float:
        """Width over which an edge blurs: one pixel."""
        return float(np.sqrt(self.pixel_mm[0] * self.pixel_mm[1]))

    def zeros(self) -> Field:
        """Return an empty (depth, height, width) field."""
        return np.zeros(self.shape, dtype=np.float32)

    def index(self, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return (2, point) the fractional row and column of reference coordinates (point,)."""
        m = self.to_index
        return np.stack([m[0, 0] * x + m[0, 1] * y + m[0, 2], m[1, 0] * x + m[1, 1] * y + m[1, 2]])

    def coverage(self, distance_mm: Field, *, ramp_mm: float | None = None) -> Field:
        """Return the fraction of each voxel inside a shape: a linear ramp one pixel (or ``ramp_mm``) wide."""
        ramp = self.ramp_mm if ramp_mm is None else max(ramp_mm, self.ramp_mm)
        return np.asarray(np.clip(0.5 - distance_mm * np.float32(1.0 / ramp), 0.0, 1.0))

    def box(self, low: Sequence[float], high: Sequence[float], margin_mm: float = 0.0) -> Box:
        """Return the index box around the reference box ``low`` .. ``high`` (x, y, z); empty beside the grid."""
        pad = margin_mm + self.ramp_mm
        spacing = float(self.z[1] - self.z[0])
        first = max(math.ceil((low[2] - margin_mm - float(self.z[0])) / spacing), 0)
        last = min(math.floor((high[2] + margin_mm - float(self.z[0])) / spacing), len(self.z) - 1)
        spans = []
        for (a, b, c), size in zip(self.to_index.tolist(), self.x.shape, strict=True):
            ends_x, ends_y = (a * (low[0] - pad), a * (high[0] + pad)), (b * (low[1] - pad), b * (high[1] + pad))
            start = max(math.floor(c + min(ends_x) + min(ends_y)), 0)
            stop = min(math.ceil(c + max(ends_x) + max(ends_y)) + 1, size)
            spans.append(slice(start, stop))
        if last < first or any(span.stop <= span.start for span in spans):
            return slice(0), slice(0), slice(0)
        return slice(first, last + 1), spans[0], spans[1]

    def at(self, box: Box) -> tuple[Field, Field, Field]:
        """Return (x, y, z) of a box's voxels, shaped to broadcast to (depth, height, width)."""
        depth, rows, columns = box
        return self.x[None, rows, columns], self.y[None, rows, columns], self.z[depth, None, None]


def make_grid(shape: tuple[int, int, int], pose: Pose) -> Grid:
    """Place ``shape`` voxels over a patient in a pose. The field of view spans height and width alike."""
    depth, height, width = shape
    u = ((np.arange(width) + 0.5) / width - 0.5) * pose.fov_mm
    v = ((np.arange(height) + 0.5) / height - 0.5) * pose.fov_mm
    cos, sin = np.cos(pose.roll_rad), np.sin(pose.roll_rad)
    du, dv = u[None, :] - pose.shift_mm[0], v[:, None] - pose.shift_mm[1]
    sx, sy = pose.size
    z = (pose.top + (np.arange(depth) + 0.5) / depth * (pose.bottom - pose.top)) * LUNG_HEIGHT_MM
    to_index = (
        np.array(
            [
                [sx * sin * height, sy * cos * height, pose.shift_mm[1] * height],
                [sx * cos * width, -sy * sin * width, pose.shift_mm[0] * width],
            ]
        )
        / pose.fov_mm
    )
    to_index[:, 2] += np.array([height, width]) / 2.0 - 0.5
    return Grid(
        x=((cos * du + sin * dv) / sx).astype(np.float32),
        y=((-sin * du + cos * dv) / sy).astype(np.float32),
        z=z.astype(np.float32),
        u=u.astype(np.float32),
        v=v.astype(np.float32),
        pixel_mm=(pose.fov_mm / height / sy, pose.fov_mm / width / sx),
        slice_mm=pose.slice_mm,
        to_index=to_index,
    )


def paint(volume: Field, alpha: Field, value: float | np.float32 | Field, box: Box | None = None) -> None:
    """Mix ``value`` into ``volume`` (or its ``box``) by the fraction ``alpha``, in place."""
    view = volume if box is None else volume[box]
    view += alpha * (value - view)


def rotation(yaw: float, pitch: float) -> npt.NDArray[np.float64]:
    """Return a matrix whose rows are an ellipsoid's axes, turned ``yaw`` in the slice, then ``pitch`` to the feet."""
    cy, sy, cp, sp = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)
    return np.array([[cp * cy, cp * sy, sp], [-sy, cy, 0.0], [-sp * cy, -sp * sy, cp]])


@dataclass(frozen=True, kw_only=True)
class Ellipsoid:
    """An ellipsoid in reference millimetres."""

    centre: tuple[float, float, float]  # (x, y, z)
    radii: tuple[float, float, float]  # along its own axes
    yaw: float = 0.0  # turn of the first axis within the slice, from the patient's left towards the back
    pitch: float = 0.0  # tilt of the first axis towards the feet

    def scaled(self, factor: float) -> "Ellipsoid":
        """Return the ellipsoid ``factor`` times as large about its own centre."""
        a, b, c = self.radii
        return replace(self, radii=(factor * a, factor * b, factor * c))

    def shrunk(self, by_mm: float) -> "Ellipsoid":
        """Return the ellipsoid with every radius ``by_mm`` shorter."""
        a, b, c = self.radii
        return replace(self, radii=(a - by_mm, b - by_mm, c - by_mm))

    def box(self, grid: Grid, margin_mm: float = 0.0) -> Box:
        """Return the index box around the ellipsoid."""
        reach = np.sqrt(((rotation(self.yaw, self.pitch).T * np.array(self.radii)) ** 2).sum(axis=1))
        centre = np.array(self.centre)
        return grid.box((centre - reach).tolist(), (centre + reach).tolist(), margin_mm)

    def distance(self, x: Field, y: Field, z: Field) -> Field:
        """Return the signed distance (first order, exact at the surface)."""
        offsets = (x - np.float32(self.centre[0]), y - np.float32(self.centre[1]), z - np.float32(self.centre[2]))
        axes = rotation(self.yaw, self.pitch).astype(np.float32)
        norm = slope = np.float32(0.0)
        for axis, radius in zip(axes, self.radii, strict=True):
            along = (axis[0] * offsets[0] + axis[1] * offsets[1] + axis[2] * offsets[2]) * np.float32(1.0 / radius)
            squared = along * along
            norm = norm + squared
            slope = slope + squared * np.float32(1.0 / radius**2)
        length = np.sqrt(norm)
        return np.asarray(length * (length - 1.0) / np.maximum(np.sqrt(slope), np.float32(1e-6)))


def tube_distance(
    x: Field, y: Field, z: Field, points: npt.NDArray[np.float64], radii: npt.NDArray[np.float64]
) -> Field:
    """Return the signed distance to a tube along a polyline of (point, 3), at least two, with radii (point,)."""
    start, axis = points[:-1], np.diff(points, axis=0)
    columns = np.concatenate(
        [start.T, axis.T, [1.0 / np.maximum((axis**2).sum(axis=1), 1e-6), radii[:-1], np.diff(radii)]]
    )
    sx, sy, sz, ax, ay, az, scale, radius, growth = columns.astype(np.float32)[..., None, None, None]
    px, py, pz = x - sx, y - sy, z - sz  # each broadcasts to (segment, depth, height, width)
    h = np.clip((px * ax + py * ay + pz * az) * scale, 0.0, 1.0)
    squared = (px - h * ax) ** 2 + (py - h * ay) ** 2 + (pz - h * az) ** 2
    return np.asarray((np.sqrt(squared) - (radius + h * growth)).min(axis=0))


def tube_box(grid: Grid, points: npt.NDArray[np.float64], radius_mm: float) -> Box:
    """Return the index box around a tube of at most ``radius_mm``."""
    return grid.box((points.min(axis=0) - radius_mm).tolist(), (points.max(axis=0) + radius_mm).tolist())


def smooth_noise(rng: np.random.Generator, grid: Grid, wavelength_mm: float, *, waves: int = 20) -> Field:
    """Return a smooth random field of mean 0 and variance 1 that is fixed in the patient, not in the voxels.

    A sum of plane waves around one wavelength: the same seed gives the same field at any resolution and pose.
    """
    direction = rng.standard_normal((waves, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    k = (direction * (2.0 * np.pi / wavelength_mm) * np.exp(0.35 * rng.standard_normal((waves, 1)))).astype(np.float32)
    phase = rng.uniform(0.0, 2.0 * np.pi, waves).astype(np.float32)
    along_z = k[:, 2] * grid.z[:, None] + phase  # (depth, wave)
    plane = k[:, :1] * grid.x.ravel() + k[:, 1:2] * grid.y.ravel()  # (wave, height * width)
    left = np.concatenate([np.cos(along_z), -np.sin(along_z)], axis=1)
    right = np.concatenate([np.cos(plane), np.sin(plane)], axis=0)
    field = np.einsum("dw,wn->dn", left, right)  # not BLAS, whose rounding and threads depend on the machine's load
    return np.asarray((field * np.float32(np.sqrt(2.0 / waves))).reshape(grid.shape))
