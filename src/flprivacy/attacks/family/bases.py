"""Coordinates in which an attacker learns: features of the exposed scans, scaled in one of a few ways, along their
principal axes.

Whatever is learnt with a penalty depends on how features are scaled. Scaling by column serves features of different
units, one scale for all serves features that were mixed or turned, whose small axes are noise; which one is better is
for cross-validation to say. A factorisation costs more than anything that is learnt in it, so attributes, penalties and
folds share it.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

# A column that varies by less than this share of its mean over the exposed sample is rounding noise.
_CONSTANT = 1e-6
_TINY = float(np.finfo(np.float32).tiny)
_FARTHEST = 6.0  # standard deviations of the exposed sample that a column may lie from its mean
_SMALLEST = 1e-12  # share of the largest axis' variance below which an axis is rounding noise
_KERNEL_AXES = 40  # at most: the others are finer than some hundred scans can show
_WIDTH = 1.0  # of the kernel, in medians of the squared distances between exposed scans


@dataclass(frozen=True, kw_only=True, eq=False)
class Basis:
    """Features along the principal axes of the exposed sample, whose mean squared norm there is 1.

    Attributes:
        exposed: (scan, axis) coordinates; columns are centred and orthogonal, the widest first.
        held_out: (held-out scan, axis) coordinates.
    """

    exposed: FloatArray
    held_out: FloatArray


def column_scaled(exposed: FloatArray, held_out: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Bring every column to unit variance over the exposed sample, cut off at 6 standard deviations.

    A unit that was almost always silent over the exposed sample would otherwise throw a held-out scan in which it is
    not to any answer.
    """
    mean, spread = exposed.mean(axis=0), exposed.std(axis=0)
    varies = spread > np.maximum(_CONSTANT * np.abs(mean), _TINY)
    mean, spread = mean[varies], spread[varies]
    first, second = (np.clip((x[:, varies] - mean) / spread, -_FARTHEST, _FARTHEST) for x in (exposed, held_out))
    return first, second


def one_scale(exposed: FloatArray, held_out: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Leave columns as they are, so that turning the coordinates changes nothing."""
    return exposed, held_out


def linear(exposed: FloatArray, held_out: FloatArray) -> Basis:
    """Return scaled features, (scan, feature) and (held-out scan, feature), along their principal axes."""
    mean = exposed.mean(axis=0)
    return _along_axes(exposed - mean, held_out - mean)


def whitened(exposed: FloatArray, held_out: FloatArray) -> Basis:
    """Return scaled features along their principal axes, each of the same width.

    In these, no linear map of the features changes anything, at the price that wide axes count no more than narrow
    ones. Axes are at most a third as many as scans, the widest ones; of more, only noise would be known.
    """
    basis = linear(exposed, held_out)
    axes = max(1, min(basis.exposed.shape[1], len(exposed) // 3))
    widths = np.sqrt((basis.exposed[:, :axes] ** 2).sum(axis=0))
    return _normal(basis.exposed[:, :axes] / widths, basis.held_out[:, :axes] / widths)


def kernel(exposed: FloatArray, held_out: FloatArray) -> Basis:
    """Return the principal axes of a Gaussian kernel of scaled features, whose width is their median distance.

    What is linear in them is any smooth function of the features (kernel PCA: Schoelkopf et al., Neural Computation
    1998).
    """
    distances = _squared_distances(exposed, exposed)
    width = _WIDTH * max(float(np.median(distances[np.triu_indices(len(exposed), 1)])), _TINY)
    own, other = np.exp(-distances / width), np.exp(-_squared_distances(held_out, exposed) / width)
    mean = own.mean(axis=0)
    centred = own - mean - mean[:, None] + mean.mean()
    other = other - other.mean(axis=1, keepdims=True) - mean + mean.mean()
    values, axes = _kept(*np.linalg.eigh(centred))
    values, axes = values[:_KERNEL_AXES], axes[:, :_KERNEL_AXES]
    lengths = np.sqrt(values)
    return _normal(axes * lengths, other @ (axes / lengths))


def _squared_distances(one: FloatArray, other: FloatArray) -> FloatArray:
    squares = (one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1) - 2.0 * one @ other.T
    distances: FloatArray = np.maximum(squares, 0.0)
    return distances


def _along_axes(exposed: FloatArray, held_out: FloatArray) -> Basis:
    """Turn centred features along their principal axes, by the smaller of the two Gram matrices."""
    scans, features = exposed.shape
    if scans < features:
        values, axes = _kept(*np.linalg.eigh(exposed @ exposed.T))
        lengths = np.sqrt(values)
        return _normal(axes * lengths, held_out @ (exposed.T @ (axes / lengths)))
    values, axes = _kept(*np.linalg.eigh(exposed.T @ exposed))
    return _normal(exposed @ axes, held_out @ axes)


def _kept(values: FloatArray, axes: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the axes that are more than rounding noise, the widest first, and their sums of squares."""
    largest = max(float(values[-1]), _TINY)
    keep = np.flatnonzero(values > _SMALLEST * largest)[::-1]
    return values[keep], axes[:, keep]


def _normal(exposed: FloatArray, held_out: FloatArray) -> Basis:
    size = np.sqrt((exposed**2).sum() / len(exposed)) or 1.0
    return Basis(exposed=exposed / size, held_out=held_out / size)
