"""Attacks by a threshold: on the loss (Yeom et al., arXiv:1709.01604), on the loss calibrated by difficulty (Watson et
al., arXiv:2111.08440), for each false positive rate from a population of non-members, and for each scan from models
that were not trained on it (attacks P and R of Ye et al., arXiv:2111.09679).
"""

import numpy as np
import numpy.typing as npt

from flprivacy.attacks.membership.signals import log_confidence, observe, signal_of
from flprivacy.core.array_types import FloatArray
from flprivacy.core.errors import AttackError


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


def membership_population(
    target: npt.ArrayLike,
    population: npt.ArrayLike,
    *,
    groups: npt.ArrayLike | None = None,
    population_groups: npt.ArrayLike | None = None,
) -> FloatArray:
    """Score scans by the share of known non-members that the target is less confident of.

    Without groups the order is that of the loss, and what is gained is a threshold of known false positive rate. With
    groups, such as the disease class, a scan is compared within its own, so that an easy class does not look trained
    on.

    Args:
        target: (scan,) or (query, scan) signals of the target (:func:`flprivacy.membership_signal`).
        population: (other scan,) or (query, other scan) signals of the target on scans of other patients that it was
            surely not trained on. They must not be among the scans that are scored.
        groups: (scan,) index or name of each scan's group; None: one group.
        population_groups: (other scan,) likewise for the population.

    Returns:
        (scan,) scores in [0, 1], ties counting half; averaged over queries. ``1 - score`` estimates the false positive
        rate at which a scan is called a member.

    Raises:
        AttackError: arrays of the wrong shape or not finite, or a group without population.

    Example:
        >>> membership_population([1.0, 5.0], [0.0, 1.0, 2.0, 3.0]).tolist()
        [0.375, 1.0]
    """
    scored, others = signal_of(target, "target"), signal_of(population, "population")
    if len(scored) != len(others):
        raise AttackError(f"target has {len(scored)} queries, population {len(others)}; give the same of both")
    own, theirs = _groups(groups, scored, "groups"), _groups(population_groups, others, "population_groups")
    lacking = sorted(set(own.tolist()) - set(theirs.tolist()), key=str)
    if lacking:
        raise AttackError(
            f"population has no scan of group {lacking[0]!r}; give some, or leave groups out to compare with all"
        )
    scores = np.empty(scored.shape)
    for group in np.unique(own):
        for query, among in enumerate(np.sort(others[:, theirs == group], axis=1)):
            asked = scored[query, own == group]
            below, at_most = (np.searchsorted(among, asked, side=side) for side in ("left", "right"))
            scores[query, own == group] = (below + at_most) / (2.0 * len(among))
    means: FloatArray = scores.mean(axis=0)
    return means


def _groups(groups: npt.ArrayLike | None, signals: FloatArray, name: str) -> npt.NDArray[np.generic]:
    found = np.zeros(signals.shape[1], np.int64) if groups is None else np.asarray(groups)
    if found.shape != signals.shape[1:]:
        raise AttackError(f"{name} have shape {found.shape}; must be {signals.shape[1:]}, one for each scan")
    return found
