"""The soft tissue around the chest: skin, subcutaneous fat, breasts, muscles and the fat of the armpits."""

import numpy as np

from flprivacy.cohorts.phantom.grid import Ellipsoid, Field, Grid, paint
from flprivacy.cohorts.phantom.mediastinum import FAT_HU
from flprivacy.cohorts.phantom.patients import Patient
from flprivacy.cohorts.phantom.thorax import WALL_MM, Contours

_SKIN_HU, _GLAND_HU = 10.0, 35.0
_SKIN_MM = 1.8


def paint_trunk(
    volume: Field, grid: Grid, outline: Contours, patient: Patient, noise: tuple[Field, Field], top: Field
) -> None:
    """Paint everything outside the pleural cavity but the bones into ``volume`` (depth, height, width), in HU.

    ``noise`` is the patient's (fine, coarse) smooth noise, ``top`` (width,) the table's upper face, which flattens
    the back.
    """
    fine, coarse = noise
    lying = (grid.v[:, None] - top[None, :]) / np.float32(patient.size[1])
    skin = np.maximum(outline.skin, lying[None])
    paint(volume, grid.coverage(skin), np.float32(_SKIN_HU))
    inner = skin + np.float32(_SKIN_MM)
    paint(volume, grid.coverage(inner), np.float32(FAT_HU - 6.0) + 5.0 * fine)
    if patient.gland > 0.02:
        _paint_glands(volume, grid, outline, patient, fine, inner)
    muscle = np.maximum(outline.muscle, inner + np.float32(1.5))
    fatty = _fat_in_muscle(grid, outline, patient, fine, coarse)
    paint(volume, grid.coverage(muscle), np.float32(patient.muscle_hu) + fatty * np.float32(FAT_HU - patient.muscle_hu))
    _paint_armpits(volume, grid, outline, fine, muscle)


def _paint_glands(volume: Field, grid: Grid, outline: Contours, patient: Patient, fine: Field, inner: Field) -> None:
    """Glandular tissue, streaked through the fat of the breasts."""
    shell = np.maximum(inner + np.float32(5.0), np.float32(1.0) - outline.muscle)
    reach = np.clip((outline.breast - 0.42) * 6.0, 0.0, 1.0)
    streaks = np.clip(0.5 + 0.9 * fine + np.float32(3.2 * (patient.gland - 0.45)), 0.0, 1.0)
    paint(volume, grid.coverage(shell) * reach * streaks, np.float32(_GLAND_HU))


def _fat_in_muscle(grid: Grid, outline: Contours, patient: Patient, fine: Field, coarse: Field) -> Field:
    """Share of fat in muscle: specks that grow with age, and the plane between the layers."""
    fatty: Field = np.clip(fine - np.float32(1.35 - 0.012 * (patient.age_years - 50.0)), 0.0, 1.0)
    planes = np.abs(outline.cavity - np.float32(WALL_MM + 7.5) - 3.0 * coarse) - np.float32(0.5 * grid.ramp_mm)
    deep = np.clip(-0.3 * outline.muscle - 1.5, 0.0, 0.7)
    np.maximum(fatty, grid.coverage(planes) * deep * np.clip(1.0 + 0.8 * fine, 0.0, 1.0), out=fatty)
    fatty *= np.clip((outline.cavity - np.float32(WALL_MM)) / 3.0, 0.0, 1.0)
    return fatty


def _paint_armpits(volume: Field, grid: Grid, outline: Contours, fine: Field, muscle: Field) -> None:
    for side in (-1.0, 1.0):
        shape = Ellipsoid(centre=(side * 116.0, -6.0, 52.0), radii=(22.0, 24.0, 46.0), yaw=side * 0.5)
        box = shape.box(grid)
        distance = np.maximum(shape.distance(*grid.at(box)) + 5.0 * fine[box], muscle[box] + np.float32(5.0))
        distance = np.maximum(distance, np.float32(WALL_MM + 3.0) - outline.cavity[box])
        paint(volume, 0.85 * grid.coverage(distance, ramp_mm=5.0), np.float32(FAT_HU), box)
