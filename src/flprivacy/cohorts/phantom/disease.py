"""Disease of the lungs: COVID-like ground glass, other pneumonia, and the harmless findings that anyone may have."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from flprivacy.cohorts.phantom.grid import Ellipsoid, Field, Grid
from flprivacy.cohorts.phantom.lungs import depth_in_lung, sample_lung
from flprivacy.cohorts.phantom.patients import COVID, PNEUMONIA, Patient

GROUND_GLASS_HU, SOLID_HU, EFFUSION_HU = -420.0, 5.0, 8.0

COVID_PATCHES_MEAN, COVID_PATCH_MM = 16.0, (18.0, 40.0)
COVID_SEVERITY_SD = 0.5  # of the logarithm: many mild cases, some severe ones
PNEUMONIA_MM = (36.0, 70.0)
PNEUMONIA_BILATERAL_SHARE, EFFUSION_SHARE = 0.18, 0.25
SCAR_SHARE, DEPENDENT_SHARE = 0.40, 0.55
DEPENDENT_PER_MM = 0.03  # of a raised diaphragm


@dataclass(frozen=True, kw_only=True)
class Lesion:
    """One focus: its shape, how much of it is ground glass and solid, the blur of its edge, and its lobe."""

    shape: Ellipsoid
    ground: float  # strength of the ground glass, in [0, 1]
    solid: float  # share of the radius that is consolidated, in [0, 1]
    edge_mm: float = 9.0  # width of the edge
    lobe: int = 0  # 1 if the lesion stays below the oblique fissure, -1 above it, 0 if it crosses


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What a patient's lungs show."""

    lesions: tuple[Lesion, ...]
    dependent: float  # strength of the dependent density at the back, in [0, 1]
    effusion_mm: tuple[float, float]  # (right, left) depth of pleural fluid at the back


def fissure_z(x: Field, y: Field) -> Field:
    """Height z (mm) of the oblique fissure at a place in the slice; the lower lobe lies at larger z."""
    return np.asarray(np.float32(143.0) - np.float32(1.1) * y + np.float32(0.28) * np.abs(x) + 6.0 * np.sin(0.05 * x))


def draw_findings(rng: np.random.Generator, patient: Patient) -> Findings:
    """Draw a patient's findings from the disease class."""
    lesions: list[Lesion] = []
    effusion = (0.0, 0.0)
    if patient.label == COVID:
        lesions += _covid(rng, patient)
    elif patient.label == PNEUMONIA:
        side = -1.0 if rng.random() < 0.55 else 1.0
        lesions += _pneumonia(rng, patient, side)
        if rng.random() < PNEUMONIA_BILATERAL_SHARE:
            lesions += _pneumonia(rng, patient, -side)
        if rng.random() < EFFUSION_SHARE:
            depth = float(rng.uniform(8.0, 30.0))
            effusion = (depth, 0.0) if side < 0 else (0.0, depth)
    if rng.random() < SCAR_SHARE:
        lesions += _scars(rng, patient)
    dependent = float(rng.beta(1.5, 3.0)) if rng.random() < DEPENDENT_SHARE else 0.0
    return Findings(lesions=tuple(lesions), dependent=dependent, effusion_mm=effusion)


def at_scan(findings: Findings, extent: float, lift_mm: float) -> Findings:
    """Return the findings as they are at one scan.

    Every focus is ``extent`` times as large, and a breath that leaves the diaphragm ``lift_mm`` high leaves the back
    of the lungs less open.
    """
    grown = tuple(replace(lesion, shape=lesion.shape.scaled(extent)) for lesion in findings.lesions)
    dependent = min(max(findings.dependent + DEPENDENT_PER_MM * lift_mm, 0.0), 1.0)
    return replace(findings, lesions=grown, dependent=dependent)


def _ellipsoid(centre: npt.NDArray[np.float64], radii: tuple[float, float, float], yaw: float) -> Ellipsoid:
    return Ellipsoid(centre=(float(centre[0]), float(centre[1]), float(centre[2])), radii=radii, yaw=yaw)


def _covid(rng: np.random.Generator, patient: Patient) -> list[Lesion]:
    """Patches along the pleura of both lungs, most of them low and at the back."""
    severity = np.exp(rng.normal(0.0, COVID_SEVERITY_SD))
    count = max(2, int(rng.poisson(COVID_PATCHES_MEAN * severity)))
    count = min(count, 40)
    places = np.concatenate([sample_lung(rng, patient, side, 160, 2.0) for side in (-1.0, 1.0)])
    depth = depth_in_lung(places, patient)
    weight = np.exp(places[:, 2] / 75.0 + places[:, 1] / 55.0 - depth / 14.0)
    chosen = rng.choice(len(places), size=count, replace=False, p=weight / weight.sum())
    solid = rng.beta(1.2, 2.5)
    found = []
    for place in places[chosen]:
        along = float(np.arctan2(place[1], place[0]) + np.pi / 2.0)  # tangent of the chest wall
        size = float(rng.uniform(*COVID_PATCH_MM) * severity**0.3)
        shape = _ellipsoid(place, (size, 0.62 * size, 0.9 * size), along)
        core = float(np.clip(solid * rng.uniform(0.2, 1.3), 0.0, 0.9)) if rng.random() < 0.5 else 0.0
        found.append(Lesion(shape=shape, ground=float(rng.uniform(0.7, 1.0)), solid=core))
    return found


def _pneumonia(rng: np.random.Generator, patient: Patient, side: float) -> list[Lesion]:
    """A consolidated segment or lobe that stops at the fissure, its halo, and a few small foci near it."""
    places = sample_lung(rng, patient, side, 60, 10.0)
    centre = places[int(rng.integers(len(places)))]
    size = float(rng.uniform(*PNEUMONIA_MM))
    x, y, z = centre.astype(np.float32)[:, None]
    lobe = 1 if z > fissure_z(x, y) else -1
    radii = (size, size * rng.uniform(0.7, 1.1), size * rng.uniform(0.8, 1.2))
    main = Lesion(
        shape=_ellipsoid(centre, radii, float(rng.uniform(0.0, np.pi))),
        ground=float(rng.uniform(0.6, 1.0)),
        solid=float(rng.uniform(0.45, 0.95)),
        edge_mm=7.0,
        lobe=lobe,
    )
    near = sample_lung(rng, patient, side, 60, 3.0)
    near = near[np.linalg.norm(near - centre, axis=1) < 2.2 * size][: int(rng.integers(0, 6))]
    small = [
        Lesion(shape=_ellipsoid(p, (r, r, 1.2 * r), 0.0), ground=0.9, solid=0.6, edge_mm=4.0, lobe=lobe)
        for p, r in zip(near, rng.uniform(4.0, 11.0, len(near)).tolist(), strict=True)
    ]
    return [main, *small]


def _scars(rng: np.random.Generator, patient: Patient) -> list[Lesion]:
    """Small nodules and scars of no consequence."""
    count = int(rng.integers(1, 4))
    side = -1.0 if rng.random() < 0.5 else 1.0
    places = sample_lung(rng, patient, side, count, 3.0)
    radii = rng.uniform(2.5, 7.0, count).tolist()
    yaws = rng.uniform(0.0, np.pi, count).tolist()
    return [
        Lesion(shape=_ellipsoid(p, (1.6 * r, 0.6 * r, r), yaw), ground=0.7, solid=0.8, edge_mm=3.0)
        for p, r, yaw in zip(places, radii, yaws, strict=True)
    ]


def opacities(grid: Grid, findings: Findings, fine: Field) -> tuple[Field, Field]:
    """Return (ground glass, solid) of every voxel, each (depth, height, width) in [0, 1]; ``fine`` roughens edges."""
    ground, solid = grid.zeros(), grid.zeros()
    for lesion in findings.lesions:
        box = lesion.shape.box(grid, 0.5 * lesion.edge_mm)
        x, y, z = grid.at(box)
        distance = lesion.shape.distance(x, y, z) + np.float32(0.35 * lesion.edge_mm) * fine[box]
        stays = 1.0
        if lesion.lobe:
            side = lesion.lobe * (z - fissure_z(x, y))
            stays = np.clip(0.5 + side / max(grid.slice_mm, 4.0), 0.0, 1.0)
        glass = grid.coverage(distance, ramp_mm=lesion.edge_mm) * np.float32(lesion.ground) * stays
        np.maximum(ground[box], glass, out=ground[box])
        if lesion.solid > 0.0:
            inner = distance + np.float32((1.0 - lesion.solid) * min(lesion.shape.radii))
            core = grid.coverage(inner, ramp_mm=0.8 * lesion.edge_mm) * stays
            np.maximum(solid[box], core, out=solid[box])
    return ground, solid


def dependent_density(grid: Grid, cavity: Field, findings: Findings) -> Field | None:
    """Return (depth, height, width) the faint density at the back of the lung in [0, 1], or None if there is none."""
    if findings.dependent == 0.0:
        return None
    near = np.clip(1.0 + cavity / np.float32(14.0), 0.0, 1.0)  # cavity distance is negative inside
    low = np.clip((grid.y - np.float32(25.0)) / 40.0, 0.0, 1.0)[None]
    base = np.clip(grid.z / 150.0 - 0.3, 0.0, 1.0)[:, None, None]
    return np.asarray(near * low * base * np.float32(findings.dependent))


def effusion(grid: Grid, cavity: Field, findings: Findings) -> Field | None:
    """Return (depth, height, width) the share of pleural fluid, low at the back, or None if there is none."""
    if max(findings.effusion_mm) == 0.0:
        return None
    right, left = findings.effusion_mm
    depth = np.where(grid.x < 0.0, np.float32(right), np.float32(left))
    low = np.clip((grid.y + 25.0) / 85.0, 0.0, 1.0)
    base = np.clip((grid.z - 70.0) / 150.0, 0.0, 1.2)[:, None, None]
    layer = -cavity - (depth * low)[None] * base
    return np.asarray(grid.coverage(layer, ramp_mm=3.0) * (depth * low > 1.0)[None] * (base > 0.05))
