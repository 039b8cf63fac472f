"""White-box: how far the target still would move for a scan (Nasr et al., arXiv:1812.00910), and what training changes
in several statistics of a network's layers, combined.
"""

import numpy as np
import numpy.typing as npt

from flprivacy.attacks.membership.signals import Observed, observe, signal_of
from flprivacy.core.array_types import FloatArray
from flprivacy.core.errors import AttackError


def membership_layers(target: npt.ArrayLike, references: npt.ArrayLike, members: npt.ArrayLike) -> FloatArray:
    """Combine statistics of a network's layers into the score that best tells the references' members.

    A scan's statistics are taken relative to their mean over references that were not trained on it. Along which
    direction training moves them, and how they vary otherwise, is learnt from all scans of all references (Fisher's
    discriminant, the covariance shrunk as Ledoit and Wolf, 2004, do).

    Args:
        target: (statistic, scan) statistics of the target, such as the logarithm of each layer's gradient norm and
            the signal; on any scale.
        references: (reference, statistic, scan) statistics of the reference models.
        members: (reference, scan) bool, whether a reference was trained on a scan. Every scan needs one that was not,
            some scans at least 2 references of a kind, and some both kinds.

    Returns:
        (scan,) log likelihood ratios in nats; the attack's own threshold is 0.

    Raises:
        AttackError: arrays that do not fit together or are not finite, or references too few to learn from.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> members = rng.random((8, 50)) < 0.5
        >>> references = rng.normal(size=(8, 2, 50)) + members[:, None]
        >>> target = rng.normal(size=(2, 50)) + (np.arange(50) < 25)
        >>> scores = membership_layers(target, references, members)
        >>> bool(scores[:25].mean() > scores[25:].mean())
        True
    """
    seen = observe(target, references, members, least_out=1)
    scale, moved, covariance = _learnt(seen)
    direction = np.linalg.solve(covariance, moved)
    above = (seen.target - seen.side(False).mean()) / scale
    scores: FloatArray = direction @ (above - moved[:, None] / 2.0)
    return scores


def _learnt(seen: Observed) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the statistics' scale (statistic, 1), how training moves them (statistic,), and their covariance."""
    from sklearn.covariance import ledoit_wolf  # slow to import: only where it is used

    inside, outside = seen.side(True), seen.side(False)
    both = (inside.counts > 0) & (outside.counts > 0)
    means = np.where(seen.members[:, None], inside.mean(), outside.mean())
    counts = np.where(seen.members, inside.counts, outside.counts)
    # Residuals about a mean of n are short by (n - 1) / n; those of a single reference tell nothing.
    lengthened = np.sqrt(counts / np.maximum(counts - 1.0, 1.0))
    residuals = np.moveaxis((seen.references - means) * lengthened[:, None], 1, -1)[counts > 1.0]
    scale = residuals.std(axis=0)[:, None] if len(residuals) else np.zeros((1, 1))
    if not both.any() or not (scale > 0.0).all():
        raise AttackError(
            "references tell nothing about how training changes the statistics: some scans need references of both "
            "kinds, some at least 2 of a kind, and every statistic must vary; train more references"
        )
    moved = ((inside.mean() - outside.mean())[:, both] / scale).mean(axis=1)
    return scale, moved, np.asarray(ledoit_wolf(residuals / scale[:, 0], assume_centered=True)[0])


def membership_gradient_norm(norms: npt.ArrayLike) -> FloatArray:
    """Score scans by the norm of the loss's gradient: training has brought that of its members near zero.

    As a signal for attacks with references, such as :func:`flprivacy.membership_lira`, give them these scores of the
    target and of every reference.

    Args:
        norms: (scan,) or (query, scan) Euclidean norms of the gradient of each scan's loss with respect to the
            target's weights, or to those of some layers; positive.

    Returns:
        (scan,) scores, minus the logarithm of the norm, averaged over queries.

    Raises:
        AttackError: norms of the wrong shape, not finite, or not positive.

    Example:
        >>> membership_gradient_norm([1.0, 0.1]).round(2).tolist()
        [-0.0, 2.3]
    """
    values = signal_of(norms, "norms")
    if (values <= 0.0).any():
        raise AttackError("norms hold values that are not positive; add what the gradient's precision is")
    scores: FloatArray = -np.log(values).mean(axis=0)
    return scores
