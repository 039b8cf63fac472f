"""Discriminant analysis that learns from the scans that are asked about, too, although their classes are unknown.

Whoever asks about scans holds what is seen of them, and what all scans together look like tells how scans of one class
vary. Every scan that is asked about counts in each class by the probability that it is of that class, means and the
covariance within classes are taken anew, and so on (expectation maximisation: Dempster, Laird and Rubin, JRSS B 1977;
with classes of some known: Nigam et al., Machine Learning 2000). As in :mod:`flprivacy.attacks.family.discriminant`,
a class of few scans is expected near the mean of all and wide.

All of this happens in coordinates in which the covariance of all scans is the identity, so no linear map of the
features changes an answer, as long as scans are more than features.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from flprivacy.attacks.family.bases import Pair, unit_variance, widest
from flprivacy.attacks.family.discriminant import spread_of_means
from flprivacy.attacks.family.problem import Answers, Problem, softmax
from flprivacy.core.array_types import Float32Array, FloatArray, IntArray

# What first answers are worth: few exposed scans tell too little of the covariance for answers as sure as they look,
# and answers that are not sure enough let all classes melt into one. A candidate each.
SHARPNESS = (1.0, 1.5, 3.0)
_SHARP_ROUNDS, _ROUNDS = 5, 7
FIRST_FOLDS = 1
_MOST_BETWEEN = 0.95  # share of the variance along any direction that class means may explain
_UNSEEN = 0.3  # scans that count as of every class beyond those that are
_SCANS_AN_AXIS = 1.5  # with fewer, all scans are about as far from each other in whitened coordinates


def whitened(exposed: FloatArray, held_out: FloatArray) -> Pair | None:
    """Turn and scale all scans together so that their covariance is the identity; None if they are too few for that."""
    every = np.concatenate([exposed, held_out])
    scaled, _ = unit_variance(every, every)
    scaled = scaled - scaled.mean(axis=0)
    if len(scaled) < _SCANS_AN_AXIS * scaled.shape[1]:
        return None
    variances, axes = widest(*np.linalg.eigh(scaled.T @ scaled / len(scaled)))
    turned = scaled @ (axes / np.sqrt(variances))
    return turned[: len(exposed)], turned[len(exposed) :]


def transductive(
    exposed: FloatArray, held_out: FloatArray, problem: Problem, *, promising: Callable[[FloatArray], bool]
) -> Answers | None:
    """Learn classes of scans; None if the first folds show that it is in vain, as learning takes many rounds.

    Args:
        exposed: (exposed scan, axis) as :func:`whitened` returns them.
        held_out: (held-out scan, axis) likewise.
        problem: the exposed scans; those whose fold is left out are among the scans of unknown class.
        promising: says by ``left_out`` of :class:`Answers`, in which only the first ``FIRST_FOLDS`` are filled in,
            whether to go on.
    """
    scans, unknown = np.concatenate([exposed, held_out]).astype(np.float32), np.full(len(held_out), -1)
    left_out = np.zeros((len(SHARPNESS), len(exposed), problem.n_classes))
    for fold in range(problem.n_folds):
        if fold == FIRST_FOLDS and not promising(left_out):
            return None
        out = problem.folds == fold
        classes = np.concatenate([np.where(out, -1, problem.classes), unknown])
        left_out[:, out] = _evidence(scans, classes, problem.n_classes)[:, : out.sum()]
    evidence = _evidence(scans, np.concatenate([problem.classes, unknown]), problem.n_classes)
    return Answers(left_out=left_out, held_out=evidence.astype(np.float64))


def _evidence(scans: Float32Array, classes: IntArray, n_classes: int) -> Float32Array:
    """Return (candidate, scan, class) log-likelihoods of the scans of class -1, up to a number that classes share."""
    known = classes >= 0
    seen, place = np.unique(classes[known], return_inverse=True)
    truth = np.eye(len(seen), dtype=np.float32)[place]
    asked = _Asked(scans=scans[~known], sizes=truth.sum(axis=0), sums=truth.T @ scans[known])
    prior, sharpness = np.log(asked.sizes + _UNSEEN), np.array(SHARPNESS, np.float32)[:, None, None]
    evidence = _told(asked, np.zeros((len(SHARPNESS), len(asked.scans), len(seen)), np.float32), alone=True)[0]
    for step in range(_ROUNDS):
        shares = softmax(evidence * (sharpness if step < _SHARP_ROUNDS else np.float32(1.0)) + prior)
        evidence, of_none = _told(asked, shares)
    found = np.repeat(of_none[..., None], n_classes, axis=-1)
    found[..., seen] = evidence
    return found


@dataclass(frozen=True, kw_only=True, eq=False)
class _Asked:
    """Scans of unknown class, and what is known of the classes.

    Attributes:
        scans: (scan, axis), of covariance 1 together with those of known class.
        sizes: (class,) how many scans are known to be of each.
        sums: (class, axis) of these.
    """

    scans: Float32Array
    sizes: Float32Array
    sums: Float32Array

    @functools.cached_property
    def squares(self) -> Float32Array:
        """Return (scan,) squared lengths."""
        lengths: Float32Array = (self.scans**2).sum(axis=1)
        return lengths


def _told(asked: _Asked, shares: Float32Array, *, alone: bool = False) -> tuple[Float32Array, Float32Array]:
    """Return (candidate, scan, class) log-likelihoods, and (candidate, scan) those of a class that no scan is of.

    Args:
        asked: what is learnt from.
        shares: (candidate, scan, class) the probability that a scan of unknown class is of a class.
        alone: whether scans of unknown class, of which all shares are 0, are still left out; then nothing of the
            covariance is put down to classes.
    """
    scans, axes, sizes = asked.scans, asked.scans.shape[1], asked.sizes + shares.sum(axis=1)
    weights = sizes / sizes.sum(axis=1, keepdims=True)
    means = (asked.sums + np.swapaxes(shares, 1, 2) @ scans) / sizes[..., None]
    if alone:
        means = means - weights[:, None] @ means
    across = np.swapaxes(means, 1, 2)
    products, lengths = scans @ across, np.square(means).sum(axis=-1)
    own = np.broadcast_to(asked.squares, shares.shape[:2])
    if not alone:
        products, lengths, own = _in_units_of_spread(products, means @ across, own, _MOST_BETWEEN * weights)
    spread = spread_of_means(lengths, sizes, np.full(len(shares), float(axes)))[:, None].astype(np.float32)
    trust = sizes * spread / (sizes * spread + 1.0)
    widening = 1.0 + spread * (1.0 - trust)
    distances = own[..., None] + (lengths * trust**2)[:, None] - 2.0 * products * trust[:, None]
    evidence: Float32Array = -0.5 * (distances / widening[:, None] + axes * np.log(widening)[:, None])
    of_none: Float32Array = -0.5 * (own / (1.0 + spread) + axes * np.log(1.0 + spread))
    return evidence, of_none


def _in_units_of_spread(
    products: Float32Array, gram: Float32Array, own: Float32Array, weights: Float32Array
) -> tuple[Float32Array, Float32Array, Float32Array]:
    """Return products of scans and class means, squared lengths of the means and of the scans, under the precision
    within classes: the covariance there is 1 less that of the means, which Woodbury's identity inverts.

    Args:
        products: (candidate, scan, class) of scans and means as they are.
        gram: (candidate, class, class) of the means.
        own: (candidate, scan) squared lengths of the scans.
        weights: (candidate, class) what each mean counts in the covariance.
    """
    inverse = np.linalg.inv(np.eye(weights.shape[1], dtype=np.float32) / weights[:, None] - gram)
    corrected = products @ inverse
    lengths = np.diagonal(gram + gram @ inverse @ gram, axis1=1, axis2=2)
    return products + corrected @ gram, lengths, own + (corrected * products).sum(axis=-1)
