"""Phantom patients and scans for tests: everything neutral but what a test varies."""

import dataclasses

import numpy as np

from flprivacy.cohorts.phantom.grid import Field, Grid, Pose, make_grid
from flprivacy.cohorts.phantom.patients import NORMAL, Patient, build_patient
from flprivacy.cohorts.phantom.render import render_anatomy
from flprivacy.cohorts.phantom.scanner import Acquisition

SHAPE = (12, 48, 64)
STILL = Pose(
    fov_mm=390.0, shift_mm=(0.0, 0.0), roll_rad=0.0, top=0.0, bottom=1.0, size=(1.0, 1.0), slice_mm=5.0
)  # fmt: skip
PLAIN = Acquisition(
    sharpness=0.0,
    noise_hu=0.0,
    texture=0.5,
    slice_blur=0.0,
    offset_hu=0.0,
    gain=1.0,
    table_curve_mm=20.0,
    table_hu=-400.0,
    cushion_mm=10.0,
    pose=STILL,
    blood_hu=42.0,
    lift_mm=0.0,
    lung_shift_hu=0.0,
    extent=1.0,
)


def person(
    seed: int = 0, *, sex: str = "M", age_years: float = 55.0, label: int = NORMAL, bmi: float = 26.0
) -> Patient:
    return build_patient(np.random.default_rng((99, seed)), sex=sex, age_years=age_years, label=label, bmi=bmi)


def still(patient: Patient, **changes: object) -> Acquisition:
    """The plain acquisition, centred on a patient, without noise or blur."""
    pose = dataclasses.replace(STILL, size=patient.size[:2], fov_mm=390.0 * patient.size[0])
    return dataclasses.replace(PLAIN, pose=pose, **changes)  # type: ignore[arg-type]


def anatomy(patient: Patient, seed: int = 0, *, shape: tuple[int, int, int] = SHAPE, **changes: object) -> Field:
    """A patient's anatomy in HU, without scanner effects."""
    return render_anatomy(shape, patient, still(patient, **changes), (99, seed))


def grid_of(patient: Patient, shape: tuple[int, int, int] = SHAPE) -> Grid:
    return make_grid(shape, still(patient).pose)


def region(grid: Grid, x: tuple[float, float], y: tuple[float, float], level: tuple[float, float]) -> np.ndarray:
    """Mask (depth, height, width) of a box in reference millimetres and in fractions of the lung's height."""
    z = grid.z / 270.0
    plane = (grid.x >= x[0]) & (grid.x <= x[1]) & (grid.y >= y[0]) & (grid.y <= y[1])
    return ((z >= level[0]) & (z <= level[1]))[:, None, None] & plane[None]
