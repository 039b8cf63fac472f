"""Loss calibrated by difficulty (Watson et al., arXiv:2111.08440)."""

import numpy.typing as npt

from flprivacy.attacks.membership.signals import log_confidence, observe
from flprivacy.core.array_types import FloatArray


def membership_calibrated_loss(target: npt.ArrayLike, references: npt.ArrayLike, members: npt.ArrayLike) -> FloatArray:
    """Score scans by how much smaller the target's loss is than that of models that were not trained on them.

    Args:
        target: (scan,) or (query, scan) signals of the target (:func:`flprivacy.membership_signal`).
        references: (reference, scan) or (reference, query, scan) signals of the reference models.
        members: (reference, scan) bool, whether a reference was trained on a scan; every scan needs one that was not.

    Returns:
        (scan,) scores in nats of loss; the attack's own threshold is 0.

    Raises:
        AttackError: arrays that do not fit together or are not finite, or a scan without such a reference.

    Example:
        >>> membership_calibrated_loss([2.0, 2.0], [[2.0, -1.0]], [[False, False]]).round(3).tolist()
        [0.0, 1.186]
    """
    seen = observe(target, references, members, least_out=1)
    expected = seen.side(False).mean(log_confidence(seen.references))
    scores: FloatArray = (log_confidence(seen.target) - expected).mean(axis=0)
    return scores
