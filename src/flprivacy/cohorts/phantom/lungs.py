"""The lungs: their extent between chest wall, mediastinum, heart and diaphragm, their tissue and their vessels.

A lung's vessels are a tree grown to fill it from its hilum, and drawn by the volume that they take.
"""

from dataclasses import dataclass

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
_GOLDEN_RAD = 2.399963
_LOBES, _TWIGS, _LEAVES = 10, 8, 800
_SEEDS, _COARSE_STEP_MM = 300, 2.0  # at coarse voxels fewer, thicker leaves of the same volume


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


@dataclass(frozen=True, kw_only=True, eq=False)
class Tree:
    """Points along the branches of the lungs' vessels or airways: (point, 3) mm, their radius and length of line."""

    points: Points
    radii: npt.NDArray[np.float64]
    lengths: npt.NDArray[np.float64]


def _curves(start: Points, heading: Points, end: Points, r0: Points, r1: Points, step_mm: float) -> tuple[Tree, Points]:
    """Bend a curve from every ``start`` along ``heading`` to ``end``; return its points and its final direction."""
    reach = np.linalg.norm(end - start, axis=1, keepdims=True)
    bend = start + 0.4 * reach * heading
    count = max(4, int(np.ceil(float(reach.mean()) * 1.1 / step_mm)))
    s = ((np.arange(count) + 0.5) / count)[None, :, None]
    line = (1 - s) ** 2 * start[:, None] + 2 * s * (1 - s) * bend[:, None] + s**2 * end[:, None]
    radii = (r0[:, None] + (r1 - r0)[:, None] * s[..., 0]).ravel()
    lengths = np.repeat(1.1 * reach[:, 0] / count, count)
    final = end - bend
    final /= np.linalg.norm(final, axis=1, keepdims=True) + 1e-6
    return Tree(points=line.reshape(-1, 3), radii=radii, lengths=lengths), final


def _squared(points: Points, anchors: Points) -> npt.NDArray[np.float64]:
    """Return (point, anchor) squared distances, less the points' own squares."""
    result: npt.NDArray[np.float64] = np.tile((anchors**2).sum(axis=1), (len(points), 1))
    for axis in range(3):
        result -= np.multiply.outer(2.0 * points[:, axis], anchors[:, axis])
    return result


def _nearest(points: Points, anchors: Points) -> npt.NDArray[np.intp]:
    return np.asarray(_squared(points, anchors).argmin(axis=1))


def _spread(rng: np.random.Generator, points: Points, count: int) -> Points:
    """Choose ``count`` points far from each other."""
    between = _squared(points, points) + (points**2).sum(axis=1)[:, None]
    chosen = [int(rng.integers(len(points)))]
    gap = between[chosen[0]].copy()
    for _ in range(count - 1):
        chosen.append(int(gap.argmax()))
        np.minimum(gap, between[chosen[-1]], out=gap)
    return points[chosen]


def grow_tree(
    rng: np.random.Generator, patient: Patient, side: float, hilum: Points, step_mm: float
) -> tuple[Tree, Tree]:
    """Grow a vessel tree that fills one lung from its hilum.

    Returns:
        The branches that bronchi run beside (two generations), and the fine ones beyond them.
    """
    count = _LEAVES if step_mm < _COARSE_STEP_MM else _SEEDS
    leaves = sample_lung(rng, patient, side, count, 2.5)
    seeds = leaves[:_SEEDS]
    lobes = _spread(rng, seeds, _LOBES)
    lobe_ends = hilum + 0.52 * (lobes - hilum)
    heading = lobes - hilum
    heading /= np.linalg.norm(heading, axis=1, keepdims=True)
    start = np.repeat(hilum[None], _LOBES, axis=0)
    stem, direction = _curves(start, heading, lobe_ends, np.full(_LOBES, 4.4), np.full(_LOBES, 3.0), step_mm)
    twigs = _spread(rng, seeds, _LOBES * _TWIGS)
    parent = _nearest(twigs, 0.5 * (lobe_ends + lobes))
    twig_ends = lobe_ends[parent] + 0.62 * (twigs - lobe_ends[parent])
    n = len(twigs)
    middle, turn = _curves(lobe_ends[parent], direction[parent], twig_ends, np.full(n, 2.7), np.full(n, 1.7), step_mm)
    parent = _nearest(leaves, 0.4 * twig_ends + 0.6 * twigs)
    thick = rng.uniform(1.0, 1.6, count) * np.sqrt(_LEAVES / count)
    fine, _ = _curves(twig_ends[parent], turn[parent], leaves, thick, 0.35 * thick, step_mm)
    return join(stem, middle), fine


def join(*trees: Tree) -> Tree:
    """Return several trees as one."""
    return Tree(
        points=np.concatenate([t.points for t in trees]),
        radii=np.concatenate([t.radii for t in trees]),
        lengths=np.concatenate([t.lengths for t in trees]),
    )


def deposit(grid: Grid, tree: Tree, *, scale: float = 1.0) -> Field:
    """Return (depth, height, width) the share of each voxel that a tree fills, its volume conserved.

    Branches thinner than a voxel cannot be drawn as shapes; their volume is spread over the voxels of the slices
    that they cross instead, evenly over each branch's disc.
    """
    spacing = float(grid.z[1] - grid.z[0])
    slab = min(max(grid.slice_mm, 2.5), spacing)
    position = (tree.points[:, 2] - float(grid.z[0])) / spacing
    slices = np.round(position)
    hit = (np.abs(position - slices) * spacing <= slab / 2.0) & (slices >= 0) & (slices < len(grid.z))
    points, radii, crossed = tree.points[hit, :2], tree.radii[hit] * scale, slices[hit].astype(np.intp)
    volume = np.pi * radii**2 * tree.lengths[hit] / (slab * grid.pixel_mm[0] * grid.pixel_mm[1])
    wanted = np.clip(4.0 * (2.0 * radii / grid.ramp_mm) ** 2, 1, 19).astype(np.intp)
    owner = np.repeat(np.arange(len(points)), wanted)
    spoke = np.arange(len(owner)) - np.repeat(np.cumsum(wanted) - wanted, wanted)
    reach = radii[owner] * np.sqrt((spoke + 0.5) / wanted[owner])  # a sunflower's pattern fills the disc evenly
    turn = _GOLDEN_RAD * spoke
    x, y = points[owner, 0] + reach * np.cos(turn), points[owner, 1] + reach * np.sin(turn)
    total = _bilinear(grid.index(x, y), crossed[owner], (volume / wanted)[owner], grid.shape)
    return np.minimum(total, 1.0).astype(np.float32).reshape(grid.shape)


def _bilinear(
    plane: Points, slices: npt.NDArray[np.intp], weight: Points, shape: tuple[int, int, int]
) -> npt.NDArray[np.float64]:
    depth, height, width = shape
    low = np.floor(plane).astype(np.intp)
    part = plane - low
    inside = (low >= 0).all(axis=0) & (low[0] < height - 1) & (low[1] < width - 1)
    (row, column), (down, right) = low[:, inside], part[:, inside]
    first, weight = (slices[inside] * height + row) * width + column, weight[inside]
    places = np.concatenate([first, first + 1, first + width, first + width + 1])
    left, up = 1.0 - right, 1.0 - down
    shares = np.concatenate([up * left * weight, up * right * weight, down * left * weight, down * right * weight])
    return np.asarray(np.bincount(places, weights=shares, minlength=depth * height * width), dtype=np.float64)
