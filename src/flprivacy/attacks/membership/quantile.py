"""A threshold for each scan, from models that were not trained on it (attack R of Ye et al., arXiv:2111.09679)."""

import numpy as np
import numpy.typing as npt

from flprivacy.attacks.membership.signals import observe
from flprivacy.core.array_types import FloatArray


def membership_quantile(target: npt.ArrayLike, references: npt.ArrayLike, members: npt.ArrayLike) -> FloatArray:
    """Score scans by the share of the models not trained on them that are less confident than the target.

    Nothing is assumed about how confidences are distributed. With n such models a scan has one of n + 1 scores, so the
    lowest false positive rate that can be told apart is about 1 / (n + 1), whatever the number of scans.

    Args:
        target: (scan,) or (query, scan) signals of the target (:func:`flprivacy.membership_signal`).
        references: (reference, scan) or (reference, query, scan) signals of the reference models.
        members: (reference, scan) bool, whether a reference was trained on a scan; every scan needs one that was not.

    Returns:
        (scan,) scores in [0, 1], ties counting half; averaged over queries. ``1 - score`` estimates the false positive
        rate at which a scan is called a member.

    Raises:
        AttackError: arrays that do not fit together or are not finite, or a scan without such a reference.

    Example:
        >>> membership_quantile([2.0, 2.0], [[1.0, 1.0], [0.0, 3.0]], [[False, False], [False, False]]).tolist()
        [1.0, 0.5]
    """
    seen = observe(target, references, members, least_out=1)
    beaten = (np.sign(seen.target - seen.references) + 1.0) / 2.0
    scores: FloatArray = seen.side(False).mean(beaten).mean(axis=0)
    return scores
