"""The scanner: what kernel, dose, field of view, slice thickness, calibration, table and protocol do to a scan.

Protocol is how the breath is coached and how often contrast medium is given.

A site's signature is a point in the space of TRAITS, each trait a standard normal in the common population of
scanners. Every scan scatters about its site's point, as protocols and patients differ from day to day. The
signature strength multiplies the site's point alone: at 0 all sites share one distribution of scans.

Kernel, noise texture and slice blur act on the delivered voxels (a site's export resamples to that grid), so that
a signature survives whatever shape a cohort has.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter1d

from flprivacy.cohorts.phantom.grid import Field, Grid, Pose, paint
from flprivacy.cohorts.phantom.patients import Patient
from flprivacy.cohorts.phantom.thorax import body_back, body_half_width

WINDOW_HU = (-1000.0, 400.0)

# Trait -> (spread between sites at strength 1, spread between the scans of one site).
# Larger first numbers make sites easier to tell apart, larger second numbers harder.
TRAITS: dict[str, tuple[float, float]] = {
    "sharpness": (1.1, 0.7),
    "noise": (1.1, 0.7),
    "texture": (1.0, 0.8),
    "thickness": (1.0, 0.7),
    "zoom": (1.0, 0.9),
    "offset": (1.1, 0.7),
    "gain": (1.0, 0.8),
    "height": (0.9, 0.9),
    "table_curve": (0.9, 0.6),
    "table_density": (0.9, 0.6),
    "cushion": (0.9, 0.7),
    "breath": (1.6, 0.7),
    "contrast": (1.5, 0.3),
}

# What one unit of a trait does.
NOISE_HU, NOISE_LOG_SD = 24.0, 0.5
ZOOM_LOG_SD = 0.045
OFFSET_HU, GAIN_SD = 14.0, 0.014
HEIGHT_MM = 9.0
SLICE_MM, SLICE_LOG_SD = 5.0, 0.35
BREATH_LUNG_HU, BREATH_LIFT_MM = 15.0, 5.0  # how the breath is coached; a shallow one is denser
CONTRAST_LOGIT, CONTRAST_LOGIT_SD = -1.8, 1.6  # share of scans with contrast medium
REFERENCE_FOV_MM, FOV_MARGIN = 368.0, 1.07

_SMOOTH_PIXELS = 0.85


Scanner = tuple[float, ...]  # a site's place (in standard deviations) along each of TRAITS, strength included


@dataclass(frozen=True, kw_only=True)
class Acquisition:
    """The settings of one scan."""

    sharpness: float  # kernel; below 0 smooths, above 0 enhances edges
    noise_hu: float  # standard deviation of the noise in a person of average size
    texture: float  # share of the noise that is correlated over neighbouring pixels, in (0, 1)
    slice_blur: float  # share that each neighbouring slice contributes, in (0, 0.05)
    offset_hu: float  # calibration error of water
    gain: float  # calibration error of the scale from air
    table_curve_mm: float  # how much the table's edges rise
    table_hu: float  # intensity of the table's shell
    cushion_mm: float  # thickness of the mattress
    pose: Pose
    blood_hu: float  # intensity of blood; high with contrast medium
    lift_mm: float  # how far a shallow breath raises the diaphragm
    lung_shift_hu: float  # how much it densifies the lungs
    extent: float  # size of the lesions against the patient's mean


def draw_scanner(rng: np.random.Generator, strength: float) -> Scanner:
    """Draw a site's scanner; at ``strength`` 0 it is the common one."""
    directions = rng.standard_normal(len(TRAITS))
    spreads = [site for site, _ in TRAITS.values()]
    return tuple(float(strength * s * d) for s, d in zip(spreads, directions, strict=True))


def _logistic(value: float) -> float:
    return float(1.0 / (1.0 + np.exp(-value)))


def draw_acquisition(rng: np.random.Generator, scanner: Scanner, patient: Patient) -> Acquisition:
    """Draw the settings of one scan of a patient on a scanner."""
    scatter = rng.standard_normal(len(TRAITS))
    spreads = [scan for _, scan in TRAITS.values()]
    values = [float(m + s * e) for m, s, e in zip(scanner, spreads, scatter, strict=True)]
    trait = dict(zip(TRAITS, values, strict=True))
    contrast = rng.random() < _logistic(CONTRAST_LOGIT + CONTRAST_LOGIT_SD * trait["contrast"])
    enhancement = float(rng.uniform(90.0, 210.0))
    return Acquisition(
        sharpness=2.5 * _logistic(1.1 * trait["sharpness"] - 0.4) - 0.95,
        noise_hu=float(NOISE_HU * np.exp(NOISE_LOG_SD * np.clip(trait["noise"], -4.0, 4.0))),
        texture=_logistic(1.1 * trait["texture"]),
        slice_blur=0.05 * _logistic(1.1 * trait["thickness"] - 0.6),
        offset_hu=OFFSET_HU * trait["offset"],
        gain=1.0 + GAIN_SD * trait["gain"],
        table_curve_mm=70.0 * _logistic(1.2 * trait["table_curve"] - 0.3),
        table_hu=-700.0 + 560.0 * _logistic(trait["table_density"]),
        cushion_mm=22.0 * _logistic(1.2 * trait["cushion"] - 0.4),
        pose=_draw_pose(rng, patient, trait),
        blood_hu=float(rng.normal(42.0, 4.0)) + (enhancement if contrast else 0.0),
        lift_mm=float(np.clip(BREATH_LIFT_MM * trait["breath"], -14.0, 16.0)),
        lung_shift_hu=float(np.clip(BREATH_LUNG_HU * trait["breath"], -40.0, 60.0)),
        extent=float(np.exp(rng.normal(0.0, 0.15))),
    )


def _draw_pose(rng: np.random.Generator, patient: Patient, trait: dict[str, float]) -> Pose:
    fitted = 2.0 * FOV_MARGIN * body_half_width(patient)
    zoom = np.exp(ZOOM_LOG_SD * np.clip(trait["zoom"], -4.0, 4.0))
    stature = patient.size[2]
    return Pose(
        fov_mm=float(np.sqrt(fitted * REFERENCE_FOV_MM) * zoom),
        shift_mm=(float(rng.normal(0.0, 5.0)), float(rng.normal(0.0, 3.0) + HEIGHT_MM * trait["height"])),
        roll_rad=float(np.clip(rng.normal(0.0, 0.03), -0.09, 0.09)),
        top=float(np.clip(rng.normal(0.0, 0.012), -0.03, 0.03)),
        bottom=float(np.clip(rng.normal(0.985, 0.02), 0.94, 1.03)),
        size=(patient.size[0], patient.size[1]),
        slice_mm=float(SLICE_MM / stature * np.exp(SLICE_LOG_SD * np.clip(trait["thickness"], -4.0, 4.0))),
    )


def table_top(grid: Grid, patient: Patient, acquisition: Acquisition) -> Field:
    """Return (width,) the scanner coordinate v (mm) of the mattress's upper face, which the back is flattened on."""
    lowest = body_back(patient) + acquisition.pose.shift_mm[1]
    across = np.clip(grid.u / np.float32(230.0), -1.0, 1.0)
    return np.asarray((lowest - acquisition.table_curve_mm * across**2).astype(np.float32))


def paint_table(volume: Field, grid: Grid, top: Field, acquisition: Acquisition) -> None:
    """Paint mattress and table, the same in every slice: a thin shell about a foam core."""
    pixel = acquisition.pose.fov_mm / min(grid.shape[1:])

    def inside(distance: Field) -> Field:
        return np.asarray(np.clip(0.5 - distance / np.float32(pixel), 0.0, 1.0))

    u, below = np.abs(grid.u)[None, :], grid.v[:, None] - top[None, :]  # (1, width), (height, width)
    cushion = np.maximum(np.maximum(-below, below - np.float32(acquisition.cushion_mm)), u - 195.0)
    paint(volume, inside(cushion)[None], np.float32(-940.0))
    under = below - np.float32(acquisition.cushion_mm)
    slab = np.maximum(np.abs(under - 17.0) - 17.0, u - 215.0)
    thin = min(1.0, 4.0 / pixel)
    paint(volume, inside(slab)[None], np.float32(-900.0))
    shell = np.abs(slab + np.float32(1.5)) - np.float32(1.5)
    paint(volume, inside(shell)[None] * np.float32(thin), np.float32(acquisition.table_hu))


def _smooth(volume: Field, sigma: float) -> Field:
    plane = gaussian_filter1d(volume, sigma, axis=1, truncate=2.5, mode="nearest")
    return gaussian_filter1d(plane, sigma, axis=2, truncate=2.5, mode="nearest")


def acquire(rng: np.random.Generator, anatomy_hu: Field, patient: Patient, acquisition: Acquisition) -> Field:
    """Return what the scanner makes of the anatomy (depth, height, width), in HU."""
    blur = np.float32(acquisition.slice_blur)
    hu = anatomy_hu * (1.0 - 2.0 * blur)
    hu[1:] += blur * anatomy_hu[:-1]
    hu[:-1] += blur * anatomy_hu[1:]
    hu[0] += blur * anatomy_hu[0]
    hu[-1] += blur * anatomy_hu[-1]
    hu += np.float32(acquisition.sharpness) * (hu - _smooth(hu, _SMOOTH_PIXELS))
    hu += _noise(rng, hu.shape, patient, acquisition)
    hu += np.float32(1000.0)
    hu *= np.float32(acquisition.gain)
    hu += np.float32(acquisition.offset_hu - 1000.0)
    return hu


def _noise(rng: np.random.Generator, shape: tuple[int, ...], patient: Patient, acquisition: Acquisition) -> Field:
    """Quantum noise: stronger in large patients and, with streaks across, at the shoulders."""
    white = rng.standard_normal(shape, dtype=np.float32)
    correlated = np.float32(acquisition.texture)
    grain = (1.0 - correlated) * white + correlated * np.float32(2.2) * _smooth(white, _SMOOTH_PIXELS)
    grain *= np.float32(1.0 / grain.std())
    shoulders = np.exp(-(((np.arange(shape[0]) + 0.5) / shape[0] / 0.10) ** 2)).astype(np.float32)[:, None, None]
    streaks = gaussian_filter1d(rng.standard_normal((shape[0], shape[1], 1), dtype=np.float32), 0.7, axis=1)
    size = float(np.exp(0.010 * (body_half_width(patient) - 172.0)))
    noise: Field = grain * (1.0 + 0.5 * shoulders) + 0.8 * shoulders * streaks
    noise *= np.float32(acquisition.noise_hu * size)
    return noise


def to_window(hu: Field) -> npt.NDArray[np.uint8]:
    """Map WINDOW_HU to 0 .. 255, rounding and clipping."""
    low, high = WINDOW_HU
    grey: Field = np.clip((hu - np.float32(low)) * np.float32(255.0 / (high - low)), 0.0, 255.0)
    return np.rint(grey).astype(np.uint8)
