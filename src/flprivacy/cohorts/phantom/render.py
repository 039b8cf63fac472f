"""One scan: anatomy, disease and scanner put together into a volume."""

import numpy as np
import numpy.typing as npt

from flprivacy.cohorts.phantom import disease, mediastinum
from flprivacy.cohorts.phantom.grid import Field, Grid, make_grid, paint
from flprivacy.cohorts.phantom.lungs import deposit, grow_tree, join, lung_coverage, noise_pair, parenchyma
from flprivacy.cohorts.phantom.patients import Patient
from flprivacy.cohorts.phantom.scanner import Acquisition, acquire, paint_table, table_top, to_window
from flprivacy.cohorts.phantom.thorax import Contours, contours
from flprivacy.cohorts.phantom.wall import paint_skeleton, paint_trunk

_ARTERY_HILA = {-1.0: (-46.0, 0.0, 134.0), 1.0: (50.0, 10.0, 122.0)}


def render_anatomy(
    shape: tuple[int, int, int], patient: Patient, acquisition: Acquisition, seeds: tuple[int, ...]
) -> Field:
    """Return a patient's anatomy as this acquisition meets it, in HU, without the scanner's blur and noise.

    ``seeds`` names the patient: all that is drawn here (ribs' phase, vessel trees, lesions) is the same in every
    scan of the patient.
    """
    rng, lesion_rng, tree_rng, plaque_rng = (np.random.default_rng((*seeds, stream)) for stream in range(4))
    grid = make_grid(shape, acquisition.pose)
    outline = contours(grid, patient)
    phase_mm = float(rng.uniform(0.0, 100.0))
    fine, coarse = noise_pair(rng, grid)
    volume = np.full(shape, -1000.0, dtype=np.float32)
    top = table_top(grid, patient, acquisition)
    paint_table(volume, grid, top, acquisition)
    paint_trunk(volume, grid, outline, patient, (fine, coarse), top)
    cavity = grid.coverage(outline.cavity)
    paint(volume, cavity, np.float32(mediastinum.FAT_HU + 8.0) + 8.0 * fine)
    below = mediastinum.paint_below_diaphragm(volume, grid, patient, acquisition.lift_mm, cavity)
    heart = mediastinum.paint_heart(volume, grid, patient, acquisition.blood_hu)
    paint_skeleton(volume, grid, outline, patient, phase_mm)
    lung = lung_coverage(grid, outline, patient, heart, below)
    findings = disease.at_scan(disease.draw_findings(lesion_rng, patient), acquisition.extent, acquisition.lift_mm)
    paint(volume, lung, _lung_tissue(tree_rng, grid, outline, patient, acquisition, findings, (fine, coarse)))
    mediastinum.paint_great_vessels(volume, grid, patient, acquisition.blood_hu)
    mediastinum.paint_hila(volume, grid, patient, acquisition.blood_hu)
    mediastinum.paint_plaques(volume, grid, mediastinum.plaques(plaque_rng, patient))
    mediastinum.paint_airways(volume, grid, patient)
    return volume


def _lung_tissue(
    rng: np.random.Generator,
    grid: Grid,
    outline: Contours,
    patient: Patient,
    acquisition: Acquisition,
    findings: disease.Findings,
    noise: tuple[Field, Field],
) -> Field:
    """Parenchyma, ground glass, vessels, consolidation and the bronchi that stay open in it."""
    fine, coarse = noise
    tissue = parenchyma(grid, patient, acquisition.lung_shift_hu, fine, coarse)
    ground, solid = disease.opacities(grid, findings, fine)
    dependent = disease.dependent_density(grid, outline.cavity, findings)
    if dependent is not None:
        np.maximum(ground, 0.6 * dependent, out=ground)
    paint(tissue, ground, np.float32(disease.GROUND_GLASS_HU) + 55.0 * fine)
    step = max(1.2, 0.5 * grid.ramp_mm)
    trees = [grow_tree(rng, patient, side, np.array(hilum), step) for side, hilum in _ARTERY_HILA.items()]
    paint(tissue, deposit(grid, join(*(tree for pair in trees for tree in pair))), np.float32(acquisition.blood_hu))
    paint(tissue, solid, np.float32(disease.SOLID_HU) + 18.0 * fine)
    fluid = disease.effusion(grid, outline.cavity, findings)
    if solid.any():
        bronchi = deposit(grid, join(*(large for large, _ in trees)), scale=0.6)
        paint(tissue, np.minimum(bronchi, 0.8) * solid, np.float32(mediastinum.AIR_HU))
    if fluid is not None:
        paint(tissue, fluid, np.float32(disease.EFFUSION_HU))
    return tissue


def render_scan(
    shape: tuple[int, int, int],
    patient: Patient,
    acquisition: Acquisition,
    *,
    patient_seeds: tuple[int, ...],
    scan_seeds: tuple[int, ...],
) -> npt.NDArray[np.uint8]:
    """Return one scan, uint8 (depth, height, width)."""
    anatomy = render_anatomy(shape, patient, acquisition, patient_seeds)
    return to_window(acquire(np.random.default_rng(scan_seeds), anatomy, patient, acquisition))
