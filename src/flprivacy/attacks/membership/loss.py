"""The attack that needs nothing but the target's loss (Yeom et al., arXiv:1709.01604)."""

import numpy.typing as npt

from flprivacy.attacks.membership.signals import log_confidence, signal_of
from flprivacy.core.array_types import FloatArray


def membership_loss(target: npt.ArrayLike) -> FloatArray:
    """Score scans by the target's loss: what was trained on is fitted better.

    The weakest attack and the cheapest. It cannot tell a member from an easy scan, so it may say little at a low false
    positive rate of a model that others show to leak.

    Args:
        target: (scan,) signals of the target (:func:`flprivacy.membership_signal`); or (query, scan), of several views
            of each scan, such as mirrored ones, over which is averaged.

    Returns:
        (scan,) scores, minus the cross-entropy loss in nats. The attack's own threshold is minus the mean loss in
        training.

    Raises:
        AttackError: signals of the wrong shape or not finite.

    Example:
        >>> membership_loss([0.0, 3.0]).round(3).tolist()
        [-0.693, -0.049]
    """
    scores: FloatArray = log_confidence(signal_of(target, "target")).mean(axis=0)
    return scores
