"""The contours of the chest: pleural cavity, chest wall, muscle, skin and breasts, and the domes of the diaphragm.

In every slice a contour is a radius as a function of the angle about the patient's centre: 0 is the patient's
left, pi/2 the back, -pi/2 the front. The functions take arrays that broadcast, so they serve tables for a whole
grid and single points alike.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import map_coordinates

from flprivacy.cohorts.phantom.grid import LUNG_HEIGHT_MM, Field, Grid
from flprivacy.cohorts.phantom.patients import Patient

Array = npt.NDArray[np.floating]

BACK, FRONT = np.pi / 2.0, -np.pi / 2.0
WALL_MM = 10.5  # ribs and intercostal muscles
_ANGLES = 1024

# Half-width and depth to front and back (mm) of the pleural cavity, from the apex (0) to the base (1).
_LEVELS = (-0.05, 0.0, 0.05, 0.10, 0.17, 0.25, 0.35, 0.50, 0.65, 0.80, 0.92, 1.05)
_HALF_WIDTH = (40.0, 55.0, 68.0, 80.0, 93.0, 105.0, 117.0, 128.0, 135.0, 139.0, 140.0, 140.0)
_FRONT = (5.0, 14.0, 28.0, 41.0, 55.0, 68.0, 79.0, 87.0, 92.0, 95.0, 95.0, 94.0)
_BACK = (32.0, 47.0, 58.0, 66.0, 73.0, 79.0, 83.0, 87.0, 89.0, 89.0, 88.0, 87.0)
_SQUARENESS = 2.25

# Half-width (mm) of the mediastinum where no heart widens it: rows by level, columns from front to back.
_BORDER_LEVELS = (-0.05, 0.05, 0.15, 0.24, 0.32, 0.42, 0.55, 0.75, 1.05)
_BORDER_Y = (-100.0, -70.0, -48.0, -22.0, 8.0, 34.0, 52.0, 80.0)
_BORDER_WIDTH = (
    (30.0, 30.0, 30.0, 30.0, 27.0, 22.0, 22.0, 24.0),
    (30.0, 30.0, 30.0, 29.0, 25.0, 21.0, 21.0, 23.0),
    (26.0, 26.0, 27.0, 30.0, 25.0, 20.0, 20.0, 22.0),
    (11.0, 12.0, 25.0, 31.0, 27.0, 21.0, 20.0, 22.0),
    (4.0, 5.0, 24.0, 31.0, 25.0, 20.0, 20.0, 22.0),
    (4.0, 6.0, 26.0, 33.0, 27.0, 22.0, 21.0, 22.0),
    (4.0, 8.0, 27.0, 30.0, 24.0, 21.0, 21.0, 22.0),
    (7.0, 15.0, 27.0, 27.0, 22.0, 21.0, 21.0, 22.0),
    (20.0, 34.0, 40.0, 34.0, 26.0, 23.0, 22.0, 23.0),
)
_BORDER_SHIFT = (0.0, 0.0, 1.0, 5.0, 2.0, 1.0, 2.0, 3.0, 3.0)  # towards the left, by level

DOME_RIGHT_Z, DOME_LEFT_Z = 0.82 * LUNG_HEIGHT_MM, 0.86 * LUNG_HEIGHT_MM


def _bump(angle: Array, centre: float, width: float) -> Array:
    """A smooth periodic bump of height 1; ``width`` in radians plays the standard deviation."""
    return np.asarray(np.exp((np.cos(angle - centre) - 1.0) / width**2))


def _both(angle: Array, centre: float, width: float) -> Array:
    """The same bump on the patient's left (``centre``) and right."""
    return _bump(angle, centre, width) + _bump(angle, np.pi - centre, width)


def _fade(level: Array, start: float, stop: float) -> Array:
    """1 before ``start``, 0 after ``stop``, smooth between."""
    s = np.clip((stop - level) / (stop - start), 0.0, 1.0)
    return np.asarray(s * s * (3.0 - 2.0 * s))


def cavity_radius(angle: Array, level: Array) -> Array:
    """Radius (mm) of the pleural cavity, mediastinum included."""
    width = np.interp(level, _LEVELS, _HALF_WIDTH)
    depth = np.where(np.sin(angle) > 0.0, np.interp(level, _LEVELS, _BACK), np.interp(level, _LEVELS, _FRONT))
    p = _SQUARENESS
    radius = ((np.abs(np.cos(angle)) / width) ** p + (np.abs(np.sin(angle)) / depth) ** p) ** (-1.0 / p)
    return radius * (1.0 - 0.16 * _bump(angle, BACK, 0.30) - 0.03 * _bump(angle, FRONT, 0.25))


def muscle_thickness(angle: Array, level: Array, muscle: float) -> Array:
    """Thickness (mm) of the muscles outside the ribs: erector spinae, pectorals, latissimus and shoulder girdle."""
    spine = 25.0 * _both(angle, BACK - 0.17, 0.15)
    pectoral = 17.0 * _both(angle, -0.95, 0.38) * _fade(level, 0.28, 0.58) * (1.0 - _fade(level, 0.0, 0.14))
    flank = _both(angle, 0.45, 0.42) * (12.0 + 22.0 * _fade(level, 0.2, 0.55))
    shoulder = 60.0 * _both(angle, 0.30, 0.50) * _fade(level, 0.0, 0.26)
    trapezius = 12.0 * _bump(angle, BACK, 0.8) * _fade(level, 0.0, 0.32)
    return 2.5 + muscle * (spine + pectoral + flank + trapezius) + (0.6 + 0.4 * muscle) * shoulder


def fat_thickness(angle: Array, level: Array, patient: Patient) -> Array:
    """Thickness (mm) of fat between muscle and skin, breasts included."""
    around = 0.75 + 0.45 * _both(angle, 0.3, 0.5) + 0.25 * _bump(angle, BACK, 0.5)
    lower = 0.65 + 0.45 * (1.0 - _fade(level, 0.0, 0.9))
    mound = 38.0 * patient.breast * breast_profile(angle, level)
    return 3.0 + patient.fat_mm * around * lower + mound


def breast_profile(angle: Array, level: Array) -> Array:
    """Where the breasts are, in [0, 1]; lying on the back they spread to the sides."""
    height = np.exp(-0.5 * ((level - 0.60) / 0.14) ** 2)
    return np.asarray(_both(angle, -0.84, 0.25) * height)


def mediastinum_border(y: Array, level: Array, patient: Patient) -> tuple[Array, Array]:
    """Return (centre, half-width) in mm of the tissue between the lungs at depth ``y``."""
    row = np.interp(level, _BORDER_LEVELS, np.arange(len(_BORDER_LEVELS)))
    column = np.interp(y, _BORDER_Y, np.arange(len(_BORDER_Y)))
    shape = np.broadcast_shapes(row.shape, column.shape)
    where = np.stack([np.broadcast_to(row, shape), np.broadcast_to(column, shape)])
    table = np.array(_BORDER_WIDTH)
    anterior = np.interp(y, (-95.0, -55.0, -10.0), (5.0, 2.5, 0.0)) * (patient.visceral - 1.0)
    width = map_coordinates(table, where.reshape(2, -1), order=1, mode="nearest").reshape(shape) + anterior
    return np.interp(level, _BORDER_LEVELS, _BORDER_SHIFT), np.maximum(width, 3.0)


def dome_z(x: Array, y: Array, lift_mm: float) -> Array:
    """Height z (mm) of the diaphragm; tissue lies at larger z. ``lift_mm`` raises it (shallow breath)."""

    def dome(centre_x: float, centre_y: float, top: float, drop: float) -> Array:
        q = ((x - centre_x) / 76.0) ** 2 + ((y - centre_y) / 86.0) ** 2
        return top + drop * q**1.15

    right = dome(-66.0, -4.0, DOME_RIGHT_Z, 52.0)
    left = dome(70.0, -2.0, DOME_LEFT_Z, 50.0)
    return np.minimum(right, left) - lift_mm


@dataclass(frozen=True, kw_only=True, eq=False)
class Contours:
    """Signed distances (depth, height, width) in mm to the contours of a grid's slices, negative inside."""

    cavity: Field  # pleural cavity with the mediastinum
    muscle: Field  # outside of the muscles
    skin: Field  # outside of the body, before the table flattens it
    angle: Field  # (height, width) angle of every voxel column, in radians
    breast: Field  # (depth, height, width) in [0, 1], how far into a breast's mound a direction points


def contours(grid: Grid, patient: Patient) -> Contours:
    """Sample every contour on a grid."""
    angles = (np.arange(_ANGLES) + 0.5) / _ANGLES * 2.0 * np.pi - np.pi
    level = grid.z.astype(np.float64)[:, None] / LUNG_HEIGHT_MM
    cavity = cavity_radius(angles, level)
    muscle = cavity + WALL_MM + muscle_thickness(angles, level, patient.muscle)
    skin = muscle + fat_thickness(angles, level, patient)
    angle = np.arctan2(grid.y, grid.x)
    rho = np.sqrt(grid.x**2 + grid.y**2)
    index = ((angle + np.float32(np.pi)) * np.float32(_ANGLES / (2.0 * np.pi))).astype(np.intp) % _ANGLES

    def look_up(table: Array) -> Field:
        return table.astype(np.float32).take(index, axis=1)

    return Contours(
        cavity=rho - look_up(cavity),
        muscle=rho - look_up(muscle),
        skin=rho - look_up(skin),
        angle=angle,
        breast=look_up(breast_profile(angles, level)),
    )


def body_half_width(patient: Patient) -> float:
    """Return half the true width (mm) of the body at the level of the heart, which the field of view is fitted to."""
    side, level = np.zeros(1), np.full(1, 0.6)
    radius = cavity_radius(side, level) + WALL_MM + muscle_thickness(side, level, patient.muscle)
    return float((radius + fat_thickness(side, level, patient))[0] * patient.size[0])


def body_back(patient: Patient) -> float:
    """Return the true depth (mm) of the back behind the centre, flattened by lying on it; the table is there."""
    side, level = np.array([BACK - 0.45, BACK]), np.full(2, 0.55)
    radius = cavity_radius(side, level) + WALL_MM + muscle_thickness(side, level, patient.muscle)
    radius = radius + 0.8 * fat_thickness(side, level, patient)
    return float((radius * np.sin(side)).min() * patient.size[1])
