"""One threshold a false positive rate, from a population of non-members (attack P of Ye et al., arXiv:2111.09679)."""

import numpy as np
import numpy.typing as npt

from flprivacy.attacks.membership.signals import signal_of
from flprivacy.core.array_types import FloatArray
from flprivacy.core.errors import AttackError


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
