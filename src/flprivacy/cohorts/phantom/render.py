"""One scan: anatomy, disease and scanner put together into a volume."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from flprivacy.cohorts.phantom.disease import (
    EFFUSION_HU,
    GROUND_GLASS_HU,
    SOLID_HU,
    Findings,
    at_scan,
    dependent_density,
    draw_findings,
    effusion,
    opacities,
)
from flprivacy.cohorts.phantom.grid import Field, Grid, make_grid, paint, smooth_noise
from flprivacy.cohorts.phantom.lungs import lung_coverage, parenchyma
from flprivacy.cohorts.phantom.mediastinum import (
    AIR_HU,
    FAT_HU,
    paint_airways,
    paint_below_diaphragm,
    paint_great_vessels,
    paint_heart,
    paint_plaques,
    plaques,
)
from flprivacy.cohorts.phantom.patients import Patient
from flprivacy.cohorts.phantom.scanner import (
    Acquisition,
    Scanner,
    acquire,
    draw_acquisition,
    paint_table,
    table_top,
    to_window,
)
from flprivacy.cohorts.phantom.skeleton import paint_skeleton
from flprivacy.cohorts.phantom.thorax import contours, make_profile, window
from flprivacy.cohorts.phantom.trunk import paint_trunk
from flprivacy.cohorts.phantom.vessels import deposit, grow_tree, join

_BODY_MM, _CHEST_MM = (-118.0, 122.0), (-112.0, 94.0)  # y that bones and heart, vessels and lungs reach at least
_ARTERY_HILA = {-1.0: (-46.0, 0.0, 134.0), 1.0: (50.0, 10.0, 122.0)}


@dataclass(frozen=True, kw_only=True)
class ScanPlan:
    """Everything that one scan is rendered from.

    Attributes:
        site: index of its site.
        patient_id: pseudonym.
        repeat: 0 for the patient's first scan, 1 for the second.
        patient: the patient.
        scanner: the site's scanner.
        acquisition_seeds: draw the scanner's settings at this scan.
        patient_seeds: draw what is the same in each of the patient's scans.
        scan_seeds: draw this scan's noise.
    """

    site: int
    patient_id: str
    repeat: int
    patient: Patient
    scanner: Scanner
    acquisition_seeds: tuple[int, ...]
    patient_seeds: tuple[int, ...]
    scan_seeds: tuple[int, ...]

    @functools.cached_property
    def acquisition(self) -> Acquisition:
        """The scanner's settings at this scan."""
        return draw_acquisition(np.random.default_rng(self.acquisition_seeds), self.scanner, self.patient)


def render_anatomy(
    shape: tuple[int, int, int], patient: Patient, acquisition: Acquisition, seeds: tuple[int, ...]
) -> Field:
    """Return a patient's anatomy as this acquisition meets it, in HU, without the scanner's blur and noise.

    ``seeds`` names the patient: all that is drawn here (ribs' phase, vessel trees, lesions) is the same in every
    scan of the patient.
    """
    rng, lesion_rng, tree_rng, plaque_rng = (np.random.default_rng((*seeds, stream)) for stream in range(4))
    scan = make_grid(shape, acquisition.pose)
    profile = make_profile(scan, patient)
    phase_mm = float(rng.uniform(0.0, 100.0))
    volume = np.full(shape, -1000.0, dtype=np.float32)
    top = table_top(scan, patient, acquisition)
    paint_table(volume, scan, top, acquisition)
    # Body and chest are painted in windows of the slices, as much of a scan is air.
    in_scan = window(scan, profile.skin, *_BODY_MM)
    grid, body = scan.crop(in_scan), volume[in_scan].copy()
    outline = contours(grid, profile)
    noise = smooth_noise(rng, grid, 15.0, waves=28), smooth_noise(rng, grid, 55.0, waves=16)  # lobules, segments
    paint_trunk(body, grid, outline, patient, noise, top[in_scan[2]])
    in_body = window(grid, profile.cavity, *_CHEST_MM)
    inner, chest, cavity = grid.crop(in_body), body[in_body].copy(), outline.cavity[in_body].copy()
    fine, coarse = (field[in_body].copy() for field in noise)
    inside = inner.coverage(cavity)
    paint(chest, inside, np.float32(FAT_HU + 8.0) + 8.0 * fine)
    below = paint_below_diaphragm(chest, inner, patient, acquisition.lift_mm, inside)
    heart = paint_heart(chest, inner, patient, acquisition.blood_hu)
    body[in_body] = chest
    paint_skeleton(body, grid, outline, patient, phase_mm)
    chest = body[in_body].copy()
    findings = at_scan(draw_findings(lesion_rng, patient), acquisition.extent, acquisition.lift_mm)
    lung = lung_coverage(inner, cavity, patient, heart, below)
    paint(chest, lung, _lung_tissue(tree_rng, inner, cavity, patient, acquisition, findings, (fine, coarse)))
    paint_great_vessels(chest, inner, patient, acquisition.blood_hu)
    paint_plaques(chest, inner, plaques(plaque_rng, patient))
    paint_airways(chest, inner, patient)
    body[in_body] = chest
    volume[in_scan] = body
    return volume


def _lung_tissue(
    rng: np.random.Generator,
    grid: Grid,
    cavity: Field,
    patient: Patient,
    acquisition: Acquisition,
    findings: Findings,
    noise: tuple[Field, Field],
) -> Field:
    """Parenchyma, ground glass, vessels, consolidation and the bronchi that stay open in it."""
    fine, coarse = noise
    tissue = parenchyma(grid, patient, acquisition.lung_shift_hu, fine, coarse)
    ground, solid = opacities(grid, findings, fine)
    dependent = dependent_density(grid, cavity, findings)
    if dependent is not None:
        np.maximum(ground, 0.6 * dependent, out=ground)
    paint(tissue, ground, np.float32(GROUND_GLASS_HU) + 55.0 * fine)
    step = max(1.2, 0.5 * grid.ramp_mm)
    trees = [grow_tree(rng, patient, side, np.array(hilum), step) for side, hilum in _ARTERY_HILA.items()]
    paint(tissue, deposit(grid, join(*(tree for pair in trees for tree in pair))), np.float32(acquisition.blood_hu))
    paint(tissue, solid, np.float32(SOLID_HU) + 18.0 * fine)
    fluid = effusion(grid, cavity, findings)
    if solid.any():
        bronchi = deposit(grid, join(*(large for large, _ in trees)), scale=0.6)
        paint(tissue, np.minimum(bronchi, 0.8) * solid, np.float32(AIR_HU))
    if fluid is not None:
        paint(tissue, fluid, np.float32(EFFUSION_HU))
    return tissue


def render_plan(plan: ScanPlan, shape: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
    """Render one scan, uint8 (depth, height, width)."""
    anatomy = render_anatomy(shape, plan.patient, plan.acquisition, plan.patient_seeds)
    noise = np.random.default_rng(plan.scan_seeds)
    return to_window(acquire(noise, anatomy, plan.patient, plan.acquisition))


def render_plans(plans: Sequence[ScanPlan], shape: tuple[int, int, int]) -> list[npt.NDArray[np.uint8]]:
    """Render several scans, as a worker process does."""
    return [render_plan(plan, shape) for plan in plans]
