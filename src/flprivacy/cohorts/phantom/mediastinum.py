"""Heart, great vessels, airways, oesophagus and the organs under the diaphragm."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from flprivacy.cohorts.phantom.grid import Ellipsoid, Field, Grid, paint, tube_box, tube_distance
from flprivacy.cohorts.phantom.patients import Patient
from flprivacy.cohorts.phantom.thorax import dome_z

Points = npt.NDArray[np.float64]

FAT_HU, AIR_HU, BLOOD_HU, MYOCARDIUM_HU = -98.0, -985.0, 42.0, 52.0
_HEART_MIDDLE = (10.0, -28.0, 186.0)

PERICARDIUM = Ellipsoid(centre=(17.0, -33.0, 197.0), radii=(68.0, 46.0, 58.0), yaw=-0.42, pitch=0.22)
_RIGHT_ATRIUM = Ellipsoid(centre=(-25.0, -29.0, 186.0), radii=(21.0, 27.0, 37.0))
_RIGHT_VENTRICLE = Ellipsoid(centre=(10.0, -55.0, 196.0), radii=(41.0, 19.0, 40.0), yaw=-0.18, pitch=0.25)
_LEFT_VENTRICLE = Ellipsoid(centre=(40.0, -30.0, 200.0), radii=(47.0, 29.0, 31.0), yaw=-0.55, pitch=0.35)
_LEFT_ATRIUM = Ellipsoid(centre=(6.0, 1.0, 160.0), radii=(33.0, 16.0, 25.0))
_CHAMBERS = (_RIGHT_ATRIUM, _RIGHT_VENTRICLE, _LEFT_ATRIUM)
_WALL_MM = 9.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Tube:
    """A vessel or airway: a polyline (point, 3) and a radius (mm) at each point."""

    points: Points
    radii: npt.NDArray[np.float64]


def _tube(points: tuple[tuple[float, float, float], ...], *radii: float) -> Tube:
    ends = np.linspace(0.0, 1.0, len(radii))
    places = np.linspace(0.0, 1.0, len(points))
    return Tube(points=np.array(points, dtype=np.float64), radii=np.interp(places, ends, radii))


AORTA = _tube(
    (
        (8, -24, 150), (-5, -34, 134), (-15, -39, 114), (-16, -37, 92), (-10, -29, 73), (3, -15, 63), (16, 2, 62),
        (24, 18, 70), (27, 28, 84), (27, 31, 110), (25, 33, 160), (21, 34, 210), (14, 30, 280),
    ),
    1.08, 1.05, 1.02, 1.0, 0.95, 0.9, 0.85, 0.8, 0.76, 0.74, 0.72, 0.70, 0.68,
)  # fmt: skip

# Arteries and veins with their radii in millimetres; the lung's own branches start where these end.
_SYSTEMIC = (
    _tube(((-2, -21, 58), (-11, -14, 40), (-20, -8, 16), (-30, -2, -12)), 6.5, 6.0),
    _tube(((8, -12, 56), (13, -8, 32), (19, -5, 4), (22, -4, -15)), 4.0, 3.8),
    _tube(((18, 5, 56), (25, 10, 32), (34, 8, 10), (48, 0, -12)), 5.2, 4.8),
    _tube(((-36, -20, 4), (-33, -26, 30), (-27, -30, 62), (-29, -29, 100), (-27, -26, 148)), 6.5, 7.0, 9.0, 10.0, 11.0),
    _tube(((38, -22, 10), (32, -30, 30), (12, -43, 47), (-10, -42, 56), (-25, -33, 62)), 6.0, 6.5),
    _tube(((-11, 31, 280), (-11, 33, 180), (-12, 33, 96), (-19, 16, 86), (-26, -14, 88)), 3.2, 3.8, 4.4),
    _tube(((-22, -8, 206), (-24, -4, 240), (-25, 0, 285)), 11.5, 12.5),
)
_PULMONARY = (
    _tube(((15, -52, 152), (20, -45, 132), (24, -31, 117)), 14.0, 13.0),
    _tube(((24, -31, 116), (36, -9, 109), (46, 9, 114), (51, 20, 134)), 12.0, 10.0, 8.5),
    _tube(((20, -33, 119), (-2, -19, 120), (-24, -9, 121), (-41, -4, 125)), 11.5, 10.5, 8.5),
    _tube(((-41, -4, 125), (-47, 7, 150), (-55, 22, 186)), 8.5, 7.0, 4.5),
    _tube(((51, 20, 134), (57, 28, 165), (64, 38, 200)), 8.0, 6.5, 4.2),
    _tube(((-40, -5, 122), (-52, -8, 106), (-60, -8, 86)), 6.5, 5.0, 3.4),
    _tube(((40, -4, 110), (54, -8, 98), (60, -8, 80)), 6.5, 5.0, 3.2),
    _tube(((-18, -3, 150), (-36, -14, 137), (-56, -24, 118)), 8.0, 6.0, 3.4),
    _tube(((28, -5, 148), (43, -18, 132), (58, -30, 112)), 8.0, 6.0, 3.4),
    _tube(((-20, 9, 168), (-40, 18, 176), (-62, 32, 192)), 7.5, 5.5, 3.4),
    _tube(((28, 7, 168), (46, 18, 174), (64, 32, 188)), 7.5, 5.5, 3.4),
)
CORONARIES = (
    _tube(((16, -36, 150), (34, -62, 168), (54, -70, 198), (70, -64, 222)), 2.2, 1.2),
    _tube(((-4, -44, 152), (-20, -60, 174), (-24, -54, 206), (-10, -30, 230)), 2.2, 1.6),
    _tube(((20, -22, 152), (48, -6, 164), (60, -4, 190)), 2.0, 1.2),
)
_OESOPHAGUS = _tube(((4, 19, -15), (5, 23, 60), (2, 25, 120), (3, 23, 190), (13, 12, 250), (20, 4, 285)), 6.2, 7.0)

_TRACHEA = _tube(((0, -3, -20), (0, 3, 25), (1, 8, 70), (2, 12, 98)), 9.0, 9.0)
_BRONCHI = (
    _tube(((2, 11, 95), (-18, 13, 111), (-32, 12, 122)), 7.8, 7.0),
    _tube(((-32, 12, 122), (-34, 16, 150)), 6.2, 5.6),
    _tube(((-20, 12, 109), (-42, 8, 106), (-60, 6, 94)), 5.4, 3.0),
    _tube(((-34, 16, 150), (-46, 28, 180), (-60, 42, 216)), 5.2, 2.4),
    _tube(((-34, 13, 148), (-50, -16, 170), (-62, -38, 186)), 3.8, 1.8),
    _tube(((2, 11, 95), (22, 14, 115), (38, 15, 126)), 7.2, 6.4),
    _tube(((38, 15, 126), (52, 4, 118), (62, -6, 98)), 5.4, 2.8),
    _tube(((50, 3, 122), (66, -26, 150)), 3.6, 1.8),
    _tube(((38, 15, 126), (45, 25, 156), (62, 42, 208)), 5.6, 2.4),
)


def scaled_heart(part: Ellipsoid, patient: Patient) -> Ellipsoid:
    """Return a part of the heart at the patient's heart size."""
    s, (x, y, z), (mx, my, mz) = patient.heart, part.centre, _HEART_MIDDLE
    return replace(part.scaled(s), centre=(mx + s * (x - mx), my + s * (y - my), mz + s * (z - mz)))


def aorta(patient: Patient) -> Tube:
    """Return the patient's aorta; its arch widens and unfolds with its radius."""
    points = AORTA.points.copy()
    points[4:8] += (np.array([0.0, 0.0, -1.0]) + 0.15 * np.array([1.0, 0.0, 0.0])) * (patient.aorta_mm - 14.5) * 0.9
    return Tube(points=points, radii=AORTA.radii * patient.aorta_mm)


def paint_heart(volume: Field, grid: Grid, patient: Patient, blood_hu: float) -> Field:
    """Paint the heart and return (depth, height, width) how much of each voxel the pericardium covers."""
    covered = grid.zeros()
    sac = scaled_heart(PERICARDIUM, patient)
    box = sac.box(grid)
    covered[box] = grid.coverage(sac.distance(*grid.at(box)))
    paint(volume, covered[box], FAT_HU + 12.0, box)
    for chamber in _CHAMBERS:
        _paint_ellipsoid(volume, grid, scaled_heart(chamber, patient), 0.3 * MYOCARDIUM_HU + 0.7 * blood_hu)
    ventricle = scaled_heart(_LEFT_VENTRICLE, patient)
    _paint_ellipsoid(volume, grid, ventricle, MYOCARDIUM_HU + 0.15 * (blood_hu - BLOOD_HU))
    _paint_ellipsoid(volume, grid, ventricle.shrunk(_WALL_MM), blood_hu)
    return covered


def _paint_ellipsoid(volume: Field, grid: Grid, shape: Ellipsoid, value: float, *, share: float = 1.0) -> None:
    box = shape.box(grid)
    paint(volume, grid.coverage(shape.distance(*grid.at(box))) * np.float32(share), np.float32(value), box)


def paint_tube(
    volume: Field, grid: Grid, tube: Tube, value: float, *, widen_mm: float = 0.0, scale: float = 1.0
) -> None:
    """Paint a tube; one thinner than a pixel is as faint as its share of the pixel."""
    radii = tube.radii * scale + widen_mm
    box = tube_box(grid, tube.points, float(radii.max()))
    distance = tube_distance(*grid.at(box), tube.points, radii)
    share = min(1.0, (2.0 * float(radii.mean()) / grid.ramp_mm) ** 1.5)
    paint(volume, grid.coverage(distance) * np.float32(share), np.float32(value), box)


def paint_great_vessels(volume: Field, grid: Grid, patient: Patient, blood_hu: float) -> None:
    """Paint aorta, its branches, the caval veins, coronaries and oesophagus; all lie between the lungs."""
    for tube in CORONARIES:
        paint_tube(volume, grid, tube, blood_hu, scale=patient.heart)
    paint_tube(volume, grid, _OESOPHAGUS, 34.0)
    for tube in _SYSTEMIC:
        paint_tube(volume, grid, tube, blood_hu)
    paint_tube(volume, grid, aorta(patient), blood_hu)


def paint_hila(volume: Field, grid: Grid, patient: Patient, blood_hu: float) -> None:
    """Paint the pulmonary trunk and the vessels of the hila, which reach into the lungs."""
    for tube in _PULMONARY:
        paint_tube(volume, grid, tube, blood_hu, scale=0.92 + 0.08 * patient.heart)


def paint_airways(volume: Field, grid: Grid, patient: Patient) -> None:
    """Paint trachea and bronchi: walls first, then air."""
    for tube in _BRONCHI:
        paint_tube(volume, grid, tube, -20.0, widen_mm=1.3, scale=patient.airway)
    paint_tube(volume, grid, _TRACHEA, 30.0, widen_mm=1.6, scale=patient.airway)
    for tube in (*_BRONCHI, _TRACHEA):
        paint_tube(volume, grid, tube, AIR_HU, scale=patient.airway)


def paint_below_diaphragm(volume: Field, grid: Grid, patient: Patient, lift_mm: float, inside: Field) -> Field:
    """Paint liver, spleen and stomach; return (depth, height, width) how far each voxel is below the diaphragm.

    ``inside`` is the coverage of the pleural cavity, which these organs do not leave.
    """
    below = grid.zeros()
    start = int(np.searchsorted(grid.z, 190.0 - lift_mm))
    if start == len(grid.z):
        return below
    dome = dome_z(grid.x.astype(np.float64), grid.y.astype(np.float64), lift_mm).astype(np.float32)
    under = dome[None] - grid.z[start:, None, None]  # negative below the dome
    below[start:] = np.clip(0.5 - under / np.float32(max(grid.slice_mm, 3.0)), 0.0, 1.0)
    view = volume[start:]
    reach = below[start:] * inside[start:]
    paint(view, reach, np.float32(FAT_HU))
    x, y = grid.x[None], grid.y[None]
    liver = np.maximum(x - np.float32(14.0) + 0.75 * (y + 30.0), under + np.float32(3.0))
    paint(view, reach * grid.coverage(liver), np.float32(patient.liver_hu))
    z = grid.z[start:, None, None]
    for organ, value in (
        (Ellipsoid(centre=(92.0, 34.0, 282.0 - lift_mm), radii=(34.0, 42.0, 40.0), yaw=0.4), 48.0),
        (Ellipsoid(centre=(58.0, -22.0, 278.0 - lift_mm), radii=(44.0, 40.0, 36.0), yaw=-0.3), 30.0),
        (Ellipsoid(centre=(56.0, -36.0, 278.0 - lift_mm), radii=(34.0, 22.0, 28.0), yaw=-0.3), -940.0),
    ):
        paint(view, reach * grid.coverage(organ.distance(x, y, z)), np.float32(value))
    return below


def plaques(rng: np.random.Generator, patient: Patient) -> list[Ellipsoid]:
    """Draw the patient's calcified plaques, in the wall of the aorta and in the coronary arteries."""
    found: list[Ellipsoid] = []
    main = aorta(patient)
    for _ in range(int(rng.poisson(patient.calcium))):
        coronary = rng.random() < 0.35
        tube = CORONARIES[int(rng.choice(3, p=(0.5, 0.3, 0.2)))] if coronary else main
        place = rng.uniform(0.0, 0.6) if coronary else rng.beta(1.2, 1.0)
        index = place * (len(tube.points) - 1)
        points = np.arange(len(tube.points))
        centre = np.array([np.interp(index, points, tube.points[:, i]) for i in range(3)])
        angle = rng.uniform(0.0, 2.0 * np.pi)
        if not coronary:
            radius = float(np.interp(index, points, tube.radii)) - 0.8
            centre += radius * np.array([np.cos(angle), np.sin(angle), 0.0])
        length = rng.gamma(3.0, 1.4) + 1.5
        radii = (1.9, 0.8 * length, length + 2.5) if not coronary else (1.5, 1.5, length + 2.5)
        found.append(Ellipsoid(centre=(centre[0], centre[1], centre[2]), radii=radii, yaw=angle))
    return found


def paint_plaques(volume: Field, grid: Grid, shapes: list[Ellipsoid], value: float = 850.0) -> None:
    """Paint plaques; one smaller than a pixel is as faint as its share of the pixel."""
    for shape in shapes:
        share = min(1.0, np.pi * shape.radii[0] * shape.radii[1] / grid.ramp_mm**2)
        _paint_ellipsoid(volume, grid, shape, value, share=share)
