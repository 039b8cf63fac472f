"""White-box: how far the target still would move for a scan (Nasr et al., arXiv:1812.00910)."""

import numpy as np
import numpy.typing as npt

from flprivacy.attacks.membership.signals import signal_of
from flprivacy.core.array_types import FloatArray
from flprivacy.core.errors import AttackError


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
