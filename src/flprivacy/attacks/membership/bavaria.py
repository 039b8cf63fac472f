"""BaVarIA: LiRA with variances, or all, shrunk by a prior (Brannvall et al., arXiv:2603.11799).

A normal-inverse-gamma prior is fitted to the signals of all scans, in and out apart, and every scan's own references
update it. With few references the variance is that of all scans, with many its own.
"""

import numpy as np
import numpy.typing as npt
from scipy.special import gammaln

from flprivacy.attacks.membership.signals import MODES, Side, observe
from flprivacy.core.array_types import FloatArray
from flprivacy.core.errors import AttackError, check

FORMS = ("normal", "student")
_KAPPA = 1.0  # references that the prior's mean counts as
_ALPHA = {"normal": 1.0, "student": 2.0}


def membership_bavaria(
    target: npt.ArrayLike,
    references: npt.ArrayLike,
    members: npt.ArrayLike,
    *,
    mode: str = "online",
    form: str = "student",
) -> FloatArray:
    """Score scans by a likelihood ratio whose variances borrow strength from all scans.

    Args:
        target: (scan,) or (query, scan) signals of the target (:func:`flprivacy.membership_signal`).
        references: (reference, scan) or (reference, query, scan) signals of the reference models.
        members: (reference, scan) bool, whether a reference was trained on a scan.
        mode: ``online`` updates the prior by the references trained on a scan, too; ``offline`` takes the bare prior
            for them, which still is fitted to references' signals on scans that they were trained on.
        form: ``student``, the posterior predictive distribution; or ``normal``, which shrinks the variance only.

    Returns:
        (scan,) log likelihood ratios in nats, averaged over queries; the attack's own threshold is 0.

    Raises:
        AttackError: arrays that do not fit together or are not finite, a scan with too few references, or references
            that do not vary.
        ConfigError: an unknown mode or form.

    Example:
        >>> import numpy as np
        >>> members = np.array([[True, False], [True, False], [False, True], [False, True]])
        >>> references = np.array([[4.0, 1.0], [5.0, 0.0], [1.0, 4.0], [0.0, 5.0]])
        >>> bool(np.subtract(*membership_bavaria([4.0, 1.0], references, members)) > 0)
        True
    """
    check(mode in MODES, "mode", mode, f"must be one of {', '.join(MODES)}")
    check(form in FORMS, "form", form, f"must be one of {', '.join(FORMS)}")
    online = mode == "online"
    seen = observe(target, references, members, least_in=1 if online else 0, least_out=1)
    if not seen.members.any():
        raise AttackError("no reference was trained on any scan; the prior needs some that were: give their signals")
    inside = _log_density(seen.target, seen.side(True), form, update=online)
    scores: FloatArray = (inside - _log_density(seen.target, seen.side(False), form, update=True)).mean(axis=0)
    return scores


def _log_density(target: FloatArray, side: Side, form: str, *, update: bool) -> FloatArray:
    """Return (query, scan) log densities of the target's signals under the posterior of one side."""
    pooled = side.flat
    prior_mean, prior_variance = pooled.mean(axis=1, keepdims=True), pooled.var(axis=1, keepdims=True)
    if not (prior_variance > 0.0).all():
        raise AttackError("references do not vary; give signals of references that were trained on different scans")
    alpha = _ALPHA[form]
    beta = prior_variance * (alpha - 1.0 if alpha > 1.0 else 1.0)
    n = side.counts if update else np.zeros(target.shape[1])
    mean = side.mean() if update else np.broadcast_to(prior_mean, target.shape)
    squares = side.squares if update else np.zeros(target.shape)
    kappa, alpha_n = _KAPPA + n, alpha + n / 2.0
    beta_n = beta + squares / 2.0 + _KAPPA * n * np.square(mean - prior_mean) / (2.0 * kappa)
    if form == "normal":
        # Of an alpha of 1 the mean of the variance does not exist: the bare prior's variance is that of all scans.
        variance = np.where(alpha_n > 1.0, beta_n / np.maximum(alpha_n - 1.0, 0.5), prior_variance)
        densities: FloatArray = -(np.log(2.0 * np.pi * variance) + np.square(target - mean) / variance) / 2.0
        return densities
    degrees, location = 2.0 * alpha_n, (_KAPPA * prior_mean + n * mean) / kappa
    scale_squared = beta_n * (kappa + 1.0) / (alpha_n * kappa)
    tail = (degrees + 1.0) / 2.0 * np.log1p(np.square(target - location) / (scale_squared * degrees))
    constant = gammaln((degrees + 1.0) / 2.0) - gammaln(degrees / 2.0)
    student: FloatArray = constant - np.log(degrees * np.pi * scale_squared) / 2.0 - tail
    return student
