"""Do models tell which hospitals they were trained on? A game of chance with references on halves of the hospitals.

Every reference is attacked in turn. Its score of a hospital is how much surer it is of the hospital's scans, beside its
sureness of all hospitals', than those other references are that were trained without the hospital, as difficulty is
calibrated in membership inference (Watson et al., arXiv:2111.08440); hospitals are the subjects of subject membership
inference (Suri et al., arXiv:2206.03317).

The number is a mean over references of an AUC over hospitals, and both are few. Its variance is that over hospitals
(of their placement values, summed over references: DeLong, DeLong and Clarke-Pearson, Biometrics 1988), plus that over
pairs of references as far as it exceeds what their own hospitals explain: two-way clustering (Cameron, Gelbach and
Miller, Journal of Business & Economic Statistics 2011).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import comb

import numpy as np
import numpy.typing as npt

from flprivacy.auditing.intervals import score_interval
from flprivacy.auditing.uncertainty import Uncertainty, satterthwaite
from flprivacy.core.array_types import BoolArray, FloatArray
from flprivacy.core.errors import AuditError, check
from flprivacy.core.membership import Area

_STREAM = 83
_AT_ONCE = 250  # redraws
_CLOSE = 1e-9


@dataclass(frozen=True, kw_only=True, eq=False)
class SiteReferencesResult:
    """What references on halves of the hospitals tell about who took part.

    Attributes:
        auc: probability that a hospital that took part scores higher than one that did not, ties counting half, with
            its interval; mean over references. Hospitals and pairs of references are both taken for drawn at random.
        p_value: exact, one-sided: the share of redraws of the halves that give as high an AUC, the draw itself
            included.
        noticed: the least AUC whose p-value would not exceed 1 - confidence.
        least_p_value: the lowest that so many hospitals, references and redraws can give.
        scores: (reference, site) higher for likelier in.
        recognised: name of each hospital -> share of the pairs of it, where it took part, and a hospital that did not,
            in which it scores higher.
    """

    auc: Area
    p_value: float
    noticed: float
    least_p_value: float
    scores: FloatArray
    recognised: dict[str, float]


def audit_site_references(
    signals: npt.ArrayLike,
    took_part: npt.ArrayLike,
    *,
    sites: npt.ArrayLike | None = None,
    confidence: float = 0.95,
    redraws: int = 9999,
) -> SiteReferencesResult:
    """Judge whether models tell the hospitals that they were trained on, by references on halves of the hospitals.

    The p-value needs no assumption about signals: were a model's answers the same whichever half it is trained on, any
    other draw of the halves would have been as likely to go with them. The draw of a pair must have been uniform over
    all choices of so many hospitals.

    Args:
        signals: (reference, site) mean signal of each hospital by each reference, such as the mean over the patients of
            the mean over their scans of :func:`flprivacy.membership_signal`. References 2k and 2k + 1 are a pair.
        took_part: (reference, site) bool, whether a reference was trained on a hospital; in a pair each hospital
            took part once.
        sites: (site,) names of the hospitals; numbers if None.
        confidence: of the interval, and of what is called noticed.
        redraws: of the halves of all pairs, for the p-value.

    Returns:
        The result.

    Raises:
        AuditError: arrays that do not fit together, signals that are not finite, fewer than 2 pairs or 4 hospitals, or
            halves that are no complements or of unlike numbers of hospitals.
        ConfigError: an option out of range.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> halves = np.stack([rng.permutation(20) < 10 for _ in range(4)])
        >>> took_part = np.stack([halves, ~halves], axis=1).reshape(8, 20)
        >>> result = audit_site_references(rng.normal(size=(8, 20)) + 2 * took_part, took_part)
        >>> result.auc.value > 0.8, result.p_value
        (True, 0.0001)
    """
    check(0.5 < confidence < 1.0, "confidence", confidence, "must be between 0.5 and 1, such as 0.95")
    check(redraws >= 99, "redraws", redraws, "must be at least 99")
    values, inside = np.asarray(signals, dtype=np.float64), np.asarray(took_part)
    _check(values, inside)
    names = np.arange(inside.shape[1]).astype(np.str_) if sites is None else np.asarray(sites).astype(np.str_)
    if names.shape != inside.shape[1:] or len(np.unique(names)) != len(names):
        raise AuditError(
            f"sites have shape {names.shape}; give a different name for each of {inside.shape[1]} hospitals"
        )
    scores = calibrated(values, inside)
    placements = _placements(scores, inside)
    by_chance = np.concatenate([_aucs(values, halves) for halves in _redrawn(inside, redraws)])
    area = _area(placements, inside, confidence)
    pairs, n_in = len(inside) // 2, int(inside[0].sum())
    allowed = int((1.0 - confidence) * (redraws + 1) + _CLOSE)
    return SiteReferencesResult(
        auc=area,
        p_value=(1 + int((by_chance >= area.value - _CLOSE).sum())) / (redraws + 1),
        noticed=_noticed(by_chance, allowed),
        least_p_value=max(1.0 / (redraws + 1), float(comb(inside.shape[1], n_in)) ** -pairs),
        scores=scores,
        recognised=dict(zip(names.tolist(), _recognised(placements, inside), strict=True)),
    )


def calibrated(signals: FloatArray, took_part: BoolArray) -> FloatArray:
    """Return (..., reference, site) how far a signal is above the mean of other pairs' references without the site.

    First each reference's mean over all sites is taken off: how well it was trained says nothing about a site, and
    sites are compared with different references.
    """
    signals = signals - signals.mean(axis=-1, keepdims=True)
    without = np.where(took_part, 0.0, signals)
    partner = np.arange(signals.shape[-2]) ^ 1
    # Of a pair exactly one was trained without the site, so that the others' count is one less than the pairs'.
    own = without + without[..., partner, :]
    others = without.sum(axis=-2, keepdims=True) - own
    scores: FloatArray = signals - others / (signals.shape[-2] // 2 - 1)
    return scores


def _placements(scores: FloatArray, took_part: BoolArray) -> FloatArray:
    """Return (..., reference, site) the share of hospitals of the other kind that one is on the right side of."""
    left, right = scores[..., :, None], scores[..., None, :]
    above = (left > right + _CLOSE) + 0.5 * (np.abs(left - right) <= _CLOSE)  # (..., of, over)
    above *= took_part[..., :, None] & ~took_part[..., None, :]
    n_in = took_part.sum(axis=-1, keepdims=True)
    n_out = took_part.shape[-1] - n_in
    shares: FloatArray = np.where(took_part, above.sum(axis=-1) / n_out, above.sum(axis=-2) / n_in)
    return shares


def _aucs(signals: FloatArray, took_part: BoolArray) -> FloatArray:
    """Return (draw,) the mean over references of the AUC over hospitals, of (draw, reference, site) halves."""
    placements = _placements(calibrated(np.broadcast_to(signals, took_part.shape), took_part), took_part)
    areas: FloatArray = (np.where(took_part, placements, 0.0).sum(axis=-1) / took_part.sum(axis=-1)).mean(axis=-1)
    return areas


def _redrawn(took_part: BoolArray, redraws: int) -> Iterator[BoolArray]:
    """Yield (some, reference, site) other draws of the halves, of as many hospitals in each."""
    rng = np.random.default_rng([_STREAM, *took_part.shape])
    sizes = took_part[::2].sum(axis=-1)[:, None]
    for start in range(0, redraws, _AT_ONCE):
        some = min(_AT_ONCE, redraws - start)
        ranks = rng.random((some, *took_part[::2].shape)).argsort(axis=-1).argsort(axis=-1)
        first = ranks < sizes
        yield np.stack([first, ~first], axis=2).reshape(some, *took_part.shape)


def _noticed(by_chance: FloatArray, allowed: int) -> float:
    """Return the least AUC that fewer redraws reach than ``allowed``."""
    ordered = np.sort(by_chance)[::-1]
    return min(float(ordered[max(allowed - 1, 0)]) + _CLOSE, 1.0)


def _recognised(placements: FloatArray, took_part: BoolArray) -> list[float]:
    shares: list[float] = (np.where(took_part, placements, 0.0).sum(axis=0) / took_part.sum(axis=0)).tolist()
    return shares


def _area(placements: FloatArray, took_part: BoolArray, confidence: float) -> Area:
    """Return the mean AUC with its interval; hospitals and pairs of references are both random."""
    n_references, n_sites = took_part.shape
    pairs = n_references // 2
    n_in = took_part.sum(axis=-1, keepdims=True)
    of_references = np.where(took_part, placements, 0.0).sum(axis=-1, keepdims=True) / n_in
    influence = (placements - of_references) / np.where(took_part, n_in, n_sites - n_in) / n_references
    correction = n_sites / (n_sites - 1)
    of_sites = float(np.square(influence.sum(axis=0)).sum()) * correction
    of_cells = float(np.square(influence.reshape(pairs, 2, n_sites).sum(axis=1)).sum()) * correction
    between = float(of_references.reshape(pairs, 2).mean(axis=1).var(ddof=1)) / pairs
    of_pairs = max(between - of_cells, 0.0)
    total = of_sites + of_pairs
    degrees = satterthwaite(total, [(of_sites, n_sites - 1.0), (of_pairs, pairs - 1.0)])
    spread = Uncertainty(variance=total, degrees=degrees)
    value = float(of_references.mean())
    trials = float(n_sites * pairs)
    low, high = score_interval(value, spread, confidence, patients=trials, effective=trials / 2.0)
    return Area(value=value, low=low, high=high, standard_error=spread.standard_error, degrees=degrees)


def _check(signals: FloatArray, took_part: npt.NDArray[np.generic]) -> None:
    if took_part.ndim != 2 or took_part.dtype != bool or signals.shape != took_part.shape:
        raise AuditError(
            f"took_part has shape {took_part.shape} and type {took_part.dtype}, signals shape {signals.shape}; give "
            "(reference, site) bool, and one signal for each"
        )
    n_references, n_sites = took_part.shape
    if n_references % 2 or n_references < 4 or n_sites < 4:
        raise AuditError(
            f"{n_references} references and {n_sites} hospitals; there must be pairs of references, two at least, and "
            "4 hospitals"
        )
    if (took_part[::2] == took_part[1::2]).any():
        raise AuditError("two references of a pair are no complements; in 2k and 2k + 1 each hospital takes part once")
    if not np.isfinite(signals).all():
        raise AuditError("signals hold values that are not finite; look for a diverged model")
    sizes = took_part[::2].sum(axis=1)
    if (sizes != sizes[0]).any() or not 0 < sizes[0] < n_sites:
        raise AuditError(
            f"the first halves of the pairs hold {sorted(set(sizes.tolist()))} hospitals; draw as many in each"
        )
