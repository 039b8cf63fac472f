"""The likelihood ratio attack LiRA (Carlini et al., arXiv:2112.03570)."""

import numpy as np
import numpy.typing as npt

from flprivacy.attacks.membership.signals import MODES, Observed, Side, observe
from flprivacy.core.array_types import FloatArray
from flprivacy.core.errors import AttackError, check

VARIANCES = ("pooled", "per_scan")
QUERIES = ("independent", "joint")


def membership_lira(
    target: npt.ArrayLike,
    references: npt.ArrayLike,
    members: npt.ArrayLike,
    *,
    mode: str = "online",
    variance: str = "pooled",
    queries: str = "independent",
) -> FloatArray:
    """Score scans by how much better the target's confidence fits models trained on them than models that were not.

    Both kinds of models are given a normal distribution a scan. Offline, only those that were not trained on the scan
    are used, and the score is how far above them the target is.

    Args:
        target: (scan,) or (query, scan) signals of the target (:func:`flprivacy.membership_signal`).
        references: (reference, scan) or (reference, query, scan) signals of the reference models.
        members: (reference, scan) bool, whether a reference was trained on a scan.
        mode: ``online`` needs references trained on every scan and references that were not; ``offline`` only the
            latter, for an attacker who meets a scan after training them.
        variance: ``pooled`` over scans, of residuals about each scan's own mean, which is better with fewer than about
            64 references; or ``per_scan``, which needs at least 2 references of each kind used for every scan.
        queries: how several views of a scan, such as mirrored ones, are combined: ``independent`` averages their
            scores; ``joint`` gives them a multivariate normal distribution, as the paper does, with one covariance for
            all scans. Views of a scan are alike, and counting them as independent is surer than it should be.

    Returns:
        (scan,) scores, averaged over queries if these are independent. Online: log likelihood ratios in nats, whose own
        threshold is 0. Offline: standard deviations above the mean, whose normal tail is the paper's ``Pr[Z > z]``; of
        joint queries, in the direction in which a shift of all by as much is seen best.

    Raises:
        AttackError: arrays that do not fit together or are not finite, a scan with too few references, or references
            that do not vary.
        ConfigError: an unknown mode, variance or combination of queries, or a joint one of variances per scan.

    Example:
        >>> import numpy as np
        >>> members = np.array([[True, False], [True, False], [False, True], [False, True]])
        >>> references = np.array([[4.0, 1.0], [5.0, 0.0], [1.0, 4.0], [0.0, 5.0]])
        >>> membership_lira([4.0, 1.0], references, members).tolist()
        [12.0, -12.0]
    """
    check(mode in MODES, "mode", mode, f"must be one of {', '.join(MODES)}")
    check(variance in VARIANCES, "variance", variance, f"must be one of {', '.join(VARIANCES)}")
    check(queries in QUERIES, "queries", queries, f"must be one of {', '.join(QUERIES)}")
    check(
        queries == "independent" or variance == "pooled", "variance", variance, "must be pooled where queries are joint"
    )
    online, least = mode == "online", 2 if variance == "per_scan" else 1
    seen = observe(target, references, members, least_in=least if online else 0, least_out=least)
    if queries == "joint":
        return _joint(seen, online=online)
    above_out, out_variance = _standardised(seen.target, seen.side(False), variance)
    if not online:
        above: FloatArray = above_out.mean(axis=0)
        return above
    above_in, in_variance = _standardised(seen.target, seen.side(True), variance)
    ratios = (np.square(above_out) - np.square(above_in) + np.log(out_variance / in_variance)) / 2.0
    scores: FloatArray = ratios.mean(axis=0)
    return scores


def _joint(seen: Observed, *, online: bool) -> FloatArray:
    """Return (scan,) scores of a multivariate normal distribution of the queries."""
    above_out, out_logarithm, even_out = _whitened(seen.target, seen.side(False))
    if not online:
        above: FloatArray = even_out @ above_out / np.linalg.norm(even_out)
        return above
    above_in, in_logarithm, _ = _whitened(seen.target, seen.side(True))
    squares = np.square(above_out).sum(axis=0) - np.square(above_in).sum(axis=0)
    ratios: FloatArray = (squares + out_logarithm - in_logarithm) / 2.0
    return ratios


def _whitened(target: FloatArray, side: Side) -> tuple[FloatArray, float, FloatArray]:
    """Return the target's signals less the mean of one side, made independent and of unit variance.

    With them the logarithm of the covariance's determinant, and what a shift of all queries by 1 becomes.
    """
    residuals = np.where(side.taken[:, None], side.values - side.mean(), 0.0)
    degrees = np.maximum(side.counts - 1.0, 0.0).sum()
    covariance = np.einsum("rqs,rps->qp", residuals, residuals) / max(degrees, 1.0)
    try:
        root = np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError as error:
        raise AttackError(
            "references do not vary, or answer some queries alike on all scans; give more references, or leave out "
            "queries that are copies of others"
        ) from error
    shift: FloatArray = np.linalg.solve(root, np.ones(len(target))).astype(np.float64)
    above: FloatArray = np.linalg.solve(root, target - side.mean()).astype(np.float64)
    return above, float(2.0 * np.log(np.diag(root)).sum()), shift


def _standardised(target: FloatArray, side: Side, variance: str) -> tuple[FloatArray, FloatArray]:
    """Return (query, scan) standard deviations of the target above the mean of one side, and the variances."""
    squares, degrees = side.squares, side.counts - 1.0
    if variance == "pooled":
        squares, degrees = squares.sum(axis=1, keepdims=True), np.maximum(degrees, 0.0).sum(keepdims=True)
    found = np.broadcast_to(squares / np.maximum(degrees, 1.0), target.shape)
    if not (found > 0.0).all():
        raise AttackError(
            f"references do not vary on {int((found <= 0.0).any(axis=0).sum())} of {target.shape[1]} scans; give more "
            'references, and variance="pooled" where only some scans are concerned'
        )
    return (target - side.mean()) / np.sqrt(found), found
