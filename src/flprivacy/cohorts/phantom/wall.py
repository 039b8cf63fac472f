"""The wall of the chest: bones (ribs and their cartilage, sternum, clavicles, shoulder blades, spine), and around them
skin, subcutaneous fat, breasts, muscles and the fat of the armpits.
"""

import numpy as np
import numpy.typing as npt

from flprivacy.cohorts.phantom.grid import LUNG_HEIGHT_MM, Ellipsoid, Field, Grid, paint, tube_box, tube_distance
from flprivacy.cohorts.phantom.mediastinum import FAT_HU
from flprivacy.cohorts.phantom.patients import Patient
from flprivacy.cohorts.phantom.thorax import FRONT, WALL_MM, Contours, cavity_radius

_RIB_SPACING_MM, _RIB_DROP_MM_PER_RAD = 27.0, 46.0
_RIB_HALF_THICKNESS_MM, _RIB_HALF_HEIGHT_MM = 4.2, 6.0
_VERTEBRA_MM, _DISC_MM = 23.5, 5.0
_CARTILAGE_HU, _CORTEX_HU = 95.0, 620.0
_CARTILAGE_FROM_RAD, _CARTILAGE_TO_RAD = 2.45, 2.95  # angle from the back
_SKIN_HU, _GLAND_HU = 10.0, 35.0
_SKIN_MM = 1.8


def paint_skeleton(volume: Field, grid: Grid, contours: Contours, patient: Patient, phase_mm: float) -> None:
    """Paint all bones. ``phase_mm`` shifts ribs and vertebrae along the body, different in every patient."""
    _paint_ribs(volume, grid, contours, patient, phase_mm)
    _paint_sternum(volume, grid, patient)
    _paint_clavicles(volume, grid, patient)
    _paint_scapulae(volume, grid, contours, patient)
    _paint_spine(volume, grid, patient, phase_mm)


def _cortex(patient: Patient) -> float:
    """Intensity of cortical bone; it thins with age like the trabeculae, but less."""
    return _CORTEX_HU + 0.8 * (patient.bone_hu - 190.0)


def _paint_bone(
    volume: Field, alpha: Field, depth_mm: Field, marrow_hu: float, cortex_hu: float, shell_mm: float
) -> None:
    """Paint a bone whose outer ``shell_mm`` is cortical; ``depth_mm`` is positive inside."""
    shell = np.clip(1.5 - depth_mm * np.float32(1.0 / shell_mm), 0.0, 1.0)
    paint(volume, alpha, np.float32(marrow_hu) + shell * np.float32(cortex_hu - marrow_hu))


def _paint_ribs(volume: Field, grid: Grid, contours: Contours, patient: Patient, phase_mm: float) -> None:
    """Ribs fall from the spine to the front, so that a slice cuts each wall several times."""
    reach = grid.ramp_mm
    wall = np.flatnonzero((contours.cavity > 0.5 - reach) & (contours.cavity < WALL_MM + reach))
    depth, column = np.divmod(wall, grid.x.size)
    out = contours.cavity.ravel()[wall] - np.float32(0.52 * WALL_MM)
    from_back = np.abs(np.arctan2(np.sin(contours.angle - np.pi / 2.0), np.cos(contours.angle - np.pi / 2.0)))
    from_back = from_back.ravel()[column]
    drop = np.float32(_RIB_DROP_MM_PER_RAD) * np.minimum(from_back, 2.55)
    turns = (grid.z[depth] - drop + np.float32(phase_mm)) * np.float32(1.0 / _RIB_SPACING_MM)
    along = (turns - np.round(turns)) * np.float32(_RIB_SPACING_MM)
    norm = np.sqrt((out / _RIB_HALF_THICKNESS_MM) ** 2 + (along / _RIB_HALF_HEIGHT_MM) ** 2)
    distance = (norm - 1.0) * np.float32(_RIB_HALF_THICKNESS_MM)
    cartilage = np.clip((from_back - _CARTILAGE_FROM_RAD) * 12.0, 0.0, 1.0)
    present = np.clip((_CARTILAGE_TO_RAD - from_back) * 12.0, 0.0, 1.0)
    present = present * np.clip((from_back - 0.30) * 12.0, 0.0, 1.0)
    alpha = grid.coverage(distance) * present
    shell = np.clip(1.5 + distance * 0.6, 0.0, 1.0)
    bone = patient.bone_hu + shell * (_cortex(patient) - patient.bone_hu)
    flat = volume.reshape(-1)
    flat[wall] += alpha * (bone + cartilage * (_CARTILAGE_HU - bone) - flat[wall])


def front_y(level: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """Return y (mm) of the inner face of the sternum at a level."""
    return -cavity_radius(np.full(np.shape(level), FRONT), np.asarray(level))


def _paint_sternum(volume: Field, grid: Grid, patient: Patient) -> None:
    level = grid.z.astype(np.float64) / LUNG_HEIGHT_MM
    box = grid.box((-34.0, -118.0, 0.14 * LUNG_HEIGHT_MM), (34.0, -40.0, 0.86 * LUNG_HEIGHT_MM))
    x, y, z = grid.at(box)
    half = np.interp(level, (0.14, 0.2, 0.32, 0.36, 0.7, 0.8, 0.86), (20.0, 30.0, 21.0, 16.0, 19.0, 13.0, 5.0))
    centre = (front_y(level) - 7.0).astype(np.float32)[box[0], None, None]
    wide = half.astype(np.float32)[box[0], None, None]
    across = np.abs(x) / wide
    norm = (across**4 + np.abs((y - centre) / np.float32(5.8)) ** 4) ** np.float32(0.25)
    distance = (norm - 1.0) * np.float32(5.8)
    ends = np.clip((z - 0.14 * LUNG_HEIGHT_MM) / 6.0, 0.0, 1.0) * np.clip((0.86 * LUNG_HEIGHT_MM - z) / 8.0, 0.0, 1.0)
    alpha = grid.coverage(distance) * ends
    _paint_bone(volume[box], alpha, -distance, 0.55 * patient.bone_hu, 0.75 * _cortex(patient), 1.5)


def _paint_clavicles(volume: Field, grid: Grid, patient: Patient) -> None:
    for side in (-1.0, 1.0):
        line = np.array([(24, -62, 44), (60, -64, 27), (105, -34, 10), (150, -4, -4), (175, 4, -10)], dtype=np.float64)
        line[:, 0] *= side
        box = tube_box(grid, line, 7.0)
        distance = tube_distance(*grid.at(box), line, np.array([8.5, 6.5, 5.5, 6.0, 6.5]))
        _paint_bone(volume[box], grid.coverage(distance), -distance, patient.bone_hu, _cortex(patient), 1.8)


def _paint_scapulae(volume: Field, grid: Grid, contours: Contours, patient: Patient) -> None:
    """A thin blade behind the ribs that narrows to its lower angle, thick at its outer border and at the spine."""
    stop = int(np.searchsorted(grid.z, 0.50 * LUNG_HEIGHT_MM))
    level = (grid.z[:stop] / np.float32(LUNG_HEIGHT_MM))[:, None, None]
    if stop == 0:
        return
    for side in (1.0, -1.0):
        angle = contours.angle if side > 0 else np.where(contours.angle > 0, np.pi - contours.angle, -9.0)
        angle = angle.astype(np.float32)[None]
        outer, inner = 0.12 + 0.55 * level, 1.02 - 0.35 * level
        across = np.maximum(outer - angle, angle - inner) * np.float32(120.0)
        thick = 1.9 + 2.8 * np.exp(-(((angle - outer) / 0.12) ** 2))
        bend = np.float32(17.0) + 6.0 * (angle - 0.6)
        distance = np.maximum(np.abs(contours.cavity[:stop] - WALL_MM + 4.0 - bend) - thick, across)
        alpha = grid.coverage(distance)
        _paint_bone(volume[:stop], alpha, -distance, 0.8 * _cortex(patient), _cortex(patient), 1.6)


def spine_centre(z: Field, kyphosis: float) -> tuple[Field, Field]:
    """Return (y, radius) in mm of the vertebral bodies at ``z``; the column is arched backwards."""
    level = z / np.float32(LUNG_HEIGHT_MM)
    arch = 4.0 * level * (1.0 - level)
    y = 42.0 + (6.0 + 3.0 * kyphosis) * arch
    radius = 14.5 + 4.0 * level
    return y.astype(np.float32), radius.astype(np.float32)


def _paint_spine(volume: Field, grid: Grid, patient: Patient, phase_mm: float) -> None:
    box = grid.box((-44.0, 10.0, float(grid.z[0])), (44.0, 122.0, float(grid.z[-1])))
    x, y, z = grid.at(box)
    centre, radius = spine_centre(z, patient.kyphosis)
    turns = (z + np.float32(phase_mm)) / np.float32(_VERTEBRA_MM)
    along = turns - np.round(turns)  # 0 in the middle of a vertebra, +-0.5 in a disc
    view, cortex = volume[box], _cortex(patient)
    down, side = y - centre, np.abs(x)
    _paint_arch(view, grid, patient, (side, down - radius, along))
    norm = ((side / (1.12 * radius)) ** 2.6 + (np.abs(down) / (0.86 * radius)) ** 2.6) ** np.float32(1.0 / 2.6)
    distance = (norm - 1.0) * radius
    edge_mm = (0.5 - np.abs(along)) * np.float32(_VERTEBRA_MM) - np.float32(_DISC_MM / 2.0)
    disc = np.clip(0.5 - edge_mm / max(grid.slice_mm, 2.0), 0.0, 1.0)
    marrow = patient.bone_hu + np.clip(1.2 - np.abs(edge_mm) / 3.0, 0.0, 0.6) * (0.5 * cortex)
    marrow = marrow + disc * (90.0 - marrow)
    shell = np.clip(1.4 + distance / 1.7, 0.0, 1.0) * (1.0 - 0.8 * disc)
    paint(view, grid.coverage(distance), marrow + shell * (0.85 * cortex - marrow))


def _paint_arch(view: Field, grid: Grid, patient: Patient, where: tuple[Field, Field, Field]) -> None:
    """Pedicles, laminae, transverse and spinous processes about the canal.

    ``where`` is the distance from the midline, from the back face of the vertebral body, and the place along the
    vertebra (-0.5 .. 0.5).
    """
    side, behind, along = where
    cortex = _cortex(patient)
    pedicle = np.clip(1.6 - 5.0 * np.abs(along + 0.12), 0.0, 1.0)
    lamina = np.clip(1.9 - 5.0 * np.abs(along - 0.12), 0.0, 1.0)
    ring: Field = np.sqrt((side / 1.15) ** 2 + (behind - 7.5) ** 2)
    shell: Field = np.abs(ring - 11.5) - 3.2
    open_front = np.clip((behind - 6.0) / 4.0, 0.0, 1.0)
    paint(view, grid.coverage(shell) * np.maximum(pedicle * (1.0 - open_front), lamina * open_front), 0.85 * cortex)
    sweep: Field = np.abs(behind - 12.0 - 0.32 * side) - (4.6 - 0.05 * side)
    transverse = np.maximum(sweep, np.maximum(10.0 - side, side - 36.0))
    _paint_bone(view, grid.coverage(transverse) * pedicle, -transverse, patient.bone_hu, cortex, 1.8)
    blade = np.maximum(side - (2.2 + 0.05 * behind), np.maximum(16.0 - behind, behind - 42.0))
    spinous = np.clip(1.7 - 3.4 * np.abs(along - 0.25), 0.0, 1.0)
    _paint_bone(view, grid.coverage(blade) * spinous, -blade, patient.bone_hu, cortex, 1.6)
    canal = ring - 8.3
    paint(view, grid.coverage(canal), np.float32(18.0))
    cord = np.sqrt((side / 1.25) ** 2 + (behind - 7.5) ** 2)
    paint(view, grid.coverage(cord - np.float32(3.8)), np.float32(38.0))


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
