"""The vessel trees of the lungs: grown to fill a lung from its hilum, drawn by the volume that they take."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from flprivacy.cohorts.phantom.grid import Field, Grid
from flprivacy.cohorts.phantom.lungs import sample_lung
from flprivacy.cohorts.phantom.patients import Patient

Points = npt.NDArray[np.float64]

_GOLDEN_RAD = 2.399963
_LOBES, _TWIGS, _LEAVES = 10, 8, 800
_SEEDS, _COARSE_STEP_MM = 300, 2.0  # at coarse voxels fewer, thicker leaves of the same volume


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
