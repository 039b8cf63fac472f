"""The lungs: their extent between chest wall, mediastinum, heart and diaphragm, and their tissue."""

import numpy as np
import numpy.typing as npt

from flprivacy.cohorts.phantom.grid import LUNG_HEIGHT_MM, Field, Grid, smooth_noise
from flprivacy.cohorts.phantom.mediastinum import PERICARDIUM, scaled_heart
from flprivacy.cohorts.phantom.patients import Patient
from flprivacy.cohorts.phantom.thorax import Contours, cavity_radius, dome_z, mediastinum_border

Points = npt.NDArray[np.float64]

_BORDER_BINS, _BORDER_REACH_MM = 1024, 130.0
_CORNER_MM = 14.0
_DEPENDENT_HU_PER_MM = 0.42  # the back of the lung is denser, by gravity


def lung_coverage(grid: Grid, contours: Contours, patient: Patient, heart: Field, below: Field) -> Field:
    """Return (depth, height, width) the share of lung in every voxel."""
    level = grid.z.astype(np.float64)[:, None] / LUNG_HEIGHT_MM
    bins = np.linspace(-_BORDER_REACH_MM, _BORDER_REACH_MM, _BORDER_BINS)
    centre, width = mediastinum_border(bins[None, :], level, patient)
    scale = np.float32((_BORDER_BINS - 1) / (2.0 * _BORDER_REACH_MM))
    index = np.clip((grid.y + np.float32(_BORDER_REACH_MM)) * scale, 0, _BORDER_BINS - 1).astype(np.intp)
    half = width.astype(np.float32).take(index, axis=1)
    beside = half - np.abs(grid.x[None] - centre.astype(np.float32)[:, :, None])
    # A rounded corner where chest wall and mediastinum meet, as the pleura turns over.
    gap = np.maximum(np.float32(_CORNER_MM) - np.abs(contours.cavity - beside), 0.0)
    lung = grid.coverage(np.maximum(contours.cavity, beside) + gap * gap * np.float32(0.25 / _CORNER_MM))
    lung *= 1.0 - heart
    lung *= 1.0 - below
    return lung


def depth_in_lung(points: Points, patient: Patient) -> npt.NDArray[np.float64]:
    """Return (point,) how deep (mm) points (point, 3) lie inside a lung; negative outside."""
    x, y, z = points.T
    level = z / LUNG_HEIGHT_MM
    wall = cavity_radius(np.arctan2(y, x), level) - np.hypot(x, y)
    centre, width = mediastinum_border(y, level, patient)
    coordinates = (c.astype(np.float32) for c in (x, y, z))
    heart = scaled_heart(PERICARDIUM, patient).distance(*coordinates)
    depth = np.minimum(np.minimum(wall, np.abs(x - centre) - width), np.minimum(heart, dome_z(x, y, 0.0) - z))
    return np.asarray(np.minimum(depth, z + 4.0))


def sample_lung(rng: np.random.Generator, patient: Patient, side: float, count: int, depth_mm: float) -> Points:
    """Draw ``count`` points (point, 3) evenly in the lung of a side (-1 right, 1 left), at least ``depth_mm`` deep."""
    found: list[Points] = []
    missing = count
    while missing > 0:
        trial = rng.uniform((4.0, -100.0, 0.0), (142.0, 88.0, 1.04 * LUNG_HEIGHT_MM), (4 * count, 3))
        trial[:, 0] *= side
        inside = trial[depth_in_lung(trial, patient) > depth_mm][:missing]
        found.append(inside)
        missing -= len(inside)
    return np.concatenate(found)


def parenchyma(grid: Grid, patient: Patient, shift_hu: float, fine: Field, coarse: Field) -> Field:
    """Return (depth, height, width) the intensity of lung tissue without vessels.

    ``shift_hu`` is the change at this scan (a shallower breath is denser), ``fine`` and ``coarse`` come from
    :func:`noise_pair`.
    """
    gravity = np.float32(_DEPENDENT_HU_PER_MM) * grid.y
    hu: Field = np.float32(patient.lung_hu + shift_hu) + 9.0 * fine + 9.0 * coarse + gravity[None]
    if patient.emphysema > 0.01:
        upper = np.clip(1.25 - grid.z / np.float32(LUNG_HEIGHT_MM), 0.3, 1.0)[:, None, None]
        threshold = np.float32(2.8 - 3.0 * min(patient.emphysema, 0.8))
        holes = np.clip((fine + 0.7 * coarse) * upper - threshold, 0.0, 1.0)
        hu += holes * (np.float32(-965.0) - hu)
    return hu


def noise_pair(rng: np.random.Generator, grid: Grid) -> tuple[Field, Field]:
    """Return the patient's (fine, coarse) smooth noise: lobules of 15 mm and segments of 55 mm."""
    return smooth_noise(rng, grid, 15.0, waves=28), smooth_noise(rng, grid, 55.0, waves=16)
