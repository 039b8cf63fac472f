"""Was a hospital part of the training? A statistic a site, and what so few sites can prove."""

from dataclasses import dataclass
from math import comb

import numpy as np
import numpy.typing as npt

from flprivacy.core.array_types import FloatArray, IntArray
from flprivacy.core.errors import AuditError


@dataclass(frozen=True, kw_only=True)
class SiteMembershipResult:
    """What the scores of hospitals tell about who took part.

    Attributes:
        auc: probability that a hospital that took part scores higher than one that did not, ties counting half.
        p_value: exact, one-sided: the share of all ways to choose as many hospitals that give as high an AUC.
        least_p_value: the lowest that so many hospitals can give, 1 / (n choose k).
        site_p_values: name of each hospital that took part -> share of those that did not, itself included, with at
            least its score.
        least_site_p_value: the lowest of these, 1 / (hospitals that did not take part + 1).
        n_members: hospitals that took part.
        n_non_members: hospitals that did not.
    """

    auc: float
    p_value: float
    least_p_value: float
    site_p_values: dict[str, float]
    least_site_p_value: float
    n_members: int
    n_non_members: int


def audit_site_membership(
    members: npt.ArrayLike, scores: npt.ArrayLike, *, sites: npt.ArrayLike | None = None
) -> SiteMembershipResult:
    """Judge whether scores tell the hospitals that took part in training from those that did not.

    The p-values are exact if nothing but chance decided who took part, which needs no assumption about scores. They
    say what can be resolved: with 20 hospitals in and one out no single hospital can have a p-value below .5, nor all
    together one below 1/21.

    Args:
        members: (site,) bool, whether a hospital took part.
        scores: (site,) statistic of each hospital, higher for likelier in, such as the mean over its patients of
            :func:`flprivacy.membership_lira` with references that left the hospital out.
        sites: (site,) names of the hospitals; numbers if None.

    Returns:
        The result.

    Raises:
        AuditError: arrays that do not fit together, scores that are not finite, or no hospital in, or none out.

    Example:
        >>> result = audit_site_membership([True] * 4 + [False] * 4, [5.0, 4.0, 3.0, 2.0, 1.0, 0.5, 0.2, 0.1])
        >>> result.auc, round(result.p_value, 4), result.least_site_p_value
        (1.0, 0.0143, 0.2)
    """
    inside, values = np.asarray(members), np.asarray(scores, dtype=np.float64)
    if inside.ndim != 1 or inside.dtype != bool or values.shape != inside.shape:
        raise AuditError(
            f"members have shape {inside.shape} and type {inside.dtype}, scores shape {values.shape}; give (site,) "
            "bool, and one score for each"
        )
    names = np.arange(len(inside)).astype(np.str_) if sites is None else np.asarray(sites).astype(np.str_)
    if names.shape != inside.shape or len(np.unique(names)) != len(names):
        raise AuditError(f"sites have shape {names.shape}; give a different name for each of {len(inside)} hospitals")
    if not np.isfinite(values).all():
        raise AuditError("scores hold values that are not finite; look for a diverged model")
    n_in, n_out = int(inside.sum()), int((~inside).sum())
    if not n_in or not n_out:
        raise AuditError(f"{n_in} hospitals took part and {n_out} did not; there must be some of both")
    outsiders = values[~inside]
    as_high = {
        str(name): (1 + int((outsiders >= score).sum())) / (n_out + 1)
        for name, score in zip(names[inside], values[inside], strict=True)
    }
    doubled = _doubled_ranks(values)
    total = int(doubled[inside].sum())
    return SiteMembershipResult(
        auc=(total / 2.0 - n_in * (n_in + 1) / 2.0) / (n_in * n_out),
        p_value=_share_of_choices(doubled, n_in, total),
        least_p_value=1.0 / comb(n_in + n_out, n_in),
        site_p_values=as_high,
        least_site_p_value=1.0 / (n_out + 1),
        n_members=n_in,
        n_non_members=n_out,
    )


def _doubled_ranks(values: FloatArray) -> IntArray:
    """Return twice the ranks, the mean rank where values are equal, so that all are whole."""
    ordered = np.sort(values)
    below, at_most = (np.searchsorted(ordered, values, side=side) for side in ("left", "right"))
    return np.asarray(below + at_most + 1, dtype=np.int64)


def _share_of_choices(doubled_ranks: IntArray, chosen: int, total: int) -> float:
    """Return the share of all choices of so many ranks whose sum is at least ``total``, by counting them."""
    ways = np.zeros((chosen + 1, int(doubled_ranks.sum()) + 1))
    ways[0, 0] = 1.0
    for rank in doubled_ranks.tolist():
        # The right side is computed before it is added, so that no rank is chosen twice.
        ways[1:, rank:] += ways[:-1, :-rank]
    return float(ways[chosen, total:].sum()) / comb(len(doubled_ranks), chosen)
