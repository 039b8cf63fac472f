"""Coordinates in which an attacker learns: features of the exposed scans, scaled in one of a few ways.

Whatever is learnt with a penalty depends on how features are scaled. Scaling by column serves features of different
units, one scale for all serves features that were mixed or turned, whose small axes are noise; which one is better is
for cross-validation to say.
"""

from collections.abc import Callable
from statistics import NormalDist

import numpy as np

from flprivacy.core.array_types import BoolArray, FloatArray

Pair = tuple[FloatArray, FloatArray]  # features of exposed and of held-out scans

# A column that varies by less than this share of its mean over the exposed sample is rounding noise.
_CONSTANT = 1e-6
_TINY = float(np.finfo(np.float32).tiny)
_FARTHEST = 6.0  # standard deviations of the exposed sample that a column may lie from its mean
_HEAVY = 3.0  # times as far as the quartiles say may the standard deviation of a column reach
_QUARTILES = 1.349  # standard deviations between the quartiles of a normal distribution
_SOME = 20  # scans, of which quartiles say something
_SMALLEST = 1e-12  # share of the largest axis' variance below which an axis is rounding noise
_WITH_SIZES = 64  # features at most: twice as many columns take long to learn from
_KERNEL_AXES = 40  # at most: the others are finer than some hundred scans can show
_WIDTH = 1.0  # of the kernel, in medians of the squared distances between exposed scans


def column_scaled(exposed: FloatArray, held_out: FloatArray) -> Pair:
    """Bring every column to unit variance over the exposed sample, and add the normal scores of those with heavy tails.

    Where a few scans make up a column's variance, all others are next to 0 in it, and what its sign or its size tells
    of them is lost. By ranks it shows.
    """
    scaled = unit_variance(exposed, held_out)
    heavy = _heavy_tailed(exposed)
    if not heavy.any():
        return scaled
    scores = _normal_scores(exposed[:, heavy], held_out[:, heavy])
    return np.hstack([scaled[0], scores[0]]), np.hstack([scaled[1], scores[1]])


def _heavy_tailed(exposed: FloatArray) -> BoolArray:
    """Return (column,) which have heavy tails; where most values are the same, by the others, if there are some."""
    lower, middle, upper = _quartiles(exposed)
    reach, spread = upper - lower, exposed.std(axis=0)
    for column in np.flatnonzero((reach == 0.0) & (spread > 0.0)):
        others = exposed[exposed[:, column] != middle[column], column]
        if len(others) >= _SOME:
            reach[column], spread[column] = np.subtract(*np.quantile(others, (0.75, 0.25))), others.std()
    heavy: BoolArray = (reach > 0.0) & (spread > _HEAVY * reach / _QUARTILES)
    return heavy


def _quartiles(values: FloatArray) -> FloatArray:
    """Return (3, column) quartiles, what ``np.quantile`` says several times faster for many columns."""
    places = np.array([0.25, 0.5, 0.75]) * (len(values) - 1)
    below = places.astype(np.int64)
    above = np.minimum(below + 1, len(values) - 1)
    ordered = np.partition(np.ascontiguousarray(values.T), np.concatenate([below, above]), axis=1)
    first = ordered[:, below].T
    quartiles: FloatArray = first + (places - below)[:, None] * (ordered[:, above].T - first)
    return quartiles


def unit_variance(exposed: FloatArray, held_out: FloatArray) -> Pair:
    """Bring every column to unit variance over the exposed sample, cut off at 6 standard deviations.

    A unit that was almost always silent over the exposed sample would otherwise throw a held-out scan in which it is
    not to any answer.
    """
    mean, spread = exposed.mean(axis=0), exposed.std(axis=0)
    varies = spread > np.maximum(_CONSTANT * np.abs(mean), _TINY)
    if not varies.any():
        return np.zeros((len(exposed), 1)), np.zeros((len(held_out), 1))
    mean, spread = mean[varies], spread[varies]
    first, second = (np.clip((x[:, varies] - mean) / spread, -_FARTHEST, _FARTHEST) for x in (exposed, held_out))
    return first, second


def _normal_scores(exposed: FloatArray, held_out: FloatArray) -> Pair:
    """Return columns of the quantiles of a normal distribution at the values' ranks among the exposed sample."""
    ordered, scans = np.sort(exposed, axis=0), len(exposed)
    quantile = NormalDist().inv_cdf
    quantiles = np.array([quantile((halves / 2.0 + 0.5) / (scans + 1.0)) for halves in range(2 * scans + 1)])

    def scores(values: FloatArray) -> FloatArray:
        twice_the_ranks = [
            np.searchsorted(known, asked, "left") + np.searchsorted(known, asked, "right")
            for known, asked in zip(ordered.T, values.T, strict=True)
        ]
        found: FloatArray = quantiles[np.column_stack(twice_the_ranks)]
        return found

    return scores(exposed), scores(held_out)


def with_sizes(exposed: FloatArray, held_out: FloatArray) -> Pair:
    """Return column-scaled features and how far each is from its mean, on either side alike.

    What the spread of single features tells is linear in these, and far fewer numbers are learnt than of covariances.
    """
    first, second = column_scaled(exposed, held_out)
    return np.hstack([first, np.abs(first)]), np.hstack([second, np.abs(second)])


def one_scale(exposed: FloatArray, held_out: FloatArray) -> Pair:
    """Leave columns as they are, so that turning the coordinates changes nothing."""
    return exposed, held_out


def kernel(exposed: FloatArray, held_out: FloatArray) -> Pair:
    """Return column-scaled features along the principal axes of a Gaussian kernel as wide as their median distance.

    What is linear in them is any smooth function of the features (kernel PCA: Schoelkopf et al., Neural Computation
    1998).
    """
    exposed, held_out = column_scaled(exposed, held_out)
    distances = _squared_distances(exposed, exposed)
    width = _WIDTH * max(float(np.median(distances[np.triu_indices(len(exposed), 1)])), _TINY)
    own, other = np.exp(-distances / width), np.exp(-_squared_distances(held_out, exposed) / width)
    mean = own.mean(axis=0)
    centred = own - mean - mean[:, None] + mean.mean()
    other = other - other.mean(axis=1, keepdims=True) - mean + mean.mean()
    values, axes = widest(*np.linalg.eigh(centred))
    lengths = np.sqrt(values[-_KERNEL_AXES:])
    axes = axes[:, -_KERNEL_AXES:]
    return axes * lengths, other @ (axes / lengths)


def widest(values: FloatArray, axes: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return those of (axis,) rising eigenvalues and (row, axis) eigenvectors that are more than rounding noise.

    The largest is kept whatever it is, and none is 0.
    """
    least = max(_SMALLEST * float(values[-1]), _TINY)
    keep = values > least
    keep[-1] = True
    return np.maximum(values[keep], least), axes[:, keep]


def _squared_distances(one: FloatArray, other: FloatArray) -> FloatArray:
    squares = (one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1) - 2.0 * one @ other.T
    distances: FloatArray = np.maximum(squares, 0.0)
    return distances


_SIZES = "with sizes"
BASES: dict[str, Callable[[FloatArray, FloatArray], Pair]] = {
    "column-scaled": column_scaled,
    _SIZES: with_sizes,
    "one-scale": one_scale,
    "kernel": kernel,
}


def bases_for(features: int) -> tuple[str, ...]:
    """Return in which coordinates so many features are learnt from, names in BASES."""
    return tuple(name for name in BASES if name != _SIZES or features <= _WITH_SIZES)
