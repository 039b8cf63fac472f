"""The robust membership inference attack RMIA (Zarifzadeh et al., arXiv:2312.03262)."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from flprivacy.attacks.membership.signals import MODES, Observed, log_confidence, observe
from flprivacy.core.array_types import FloatArray
from flprivacy.core.errors import AttackError, check


@dataclass(frozen=True, kw_only=True)
class RmiaConfig:
    """How RMIA compares scans.

    Attributes:
        mode: ``online`` averages over references trained on a scan and references that were not; ``offline`` knows
            only the latter, and corrects for the former.
        gamma: how many times likelier a scan must be than one of the population to dominate it, at least 1.
        offline_a: in [0, 1], how much training on a scan raises its probability: by none at 1, to certainty at 0.
            Models that overfit have a smaller one.
    """

    mode: str = "online"
    gamma: float = 1.0
    offline_a: float = 0.3

    def __post_init__(self) -> None:
        check(self.mode in MODES, "mode", self.mode, f"must be one of {', '.join(MODES)}")
        check(self.gamma >= 1.0, "gamma", self.gamma, "must be at least 1")
        check(0.0 <= self.offline_a <= 1.0, "offline_a", self.offline_a, "must be in [0, 1]")


def membership_rmia(
    target: npt.ArrayLike,
    references: npt.ArrayLike,
    members: npt.ArrayLike,
    population: npt.ArrayLike,
    population_references: npt.ArrayLike,
    population_members: npt.ArrayLike | None = None,
    *,
    config: RmiaConfig | None = None,
) -> FloatArray:
    """Score scans by the share of population scans that they dominate: RMIA, made for few references.

    How much likelier the target finds a scan than the references do is compared with the same ratio of every scan of
    the population, which the target was not trained on.

    Args:
        target: (scan,) or (query, scan) signals of the target (:func:`flprivacy.membership_signal`).
        references: (reference, scan) or (reference, query, scan) signals of the reference models.
        members: (reference, scan) bool, whether a reference was trained on a scan. Every scan needs a reference that
            was not, and online one that was, too: of two references trained on complementary halves it has both.
        population: (other scan,) or (query, other scan) signals of the target on the population.
        population_references: (reference, other scan) or (reference, query, other scan) likewise.
        population_members: (reference, other scan) bool; None: no reference was trained on any of them.
        config: mode, gamma and the correction offline; the defaults if None.

    Returns:
        (scan,) scores in [0, 1], averaged over queries: multiples of one over the size of the population, so that a
        small population makes ties.

    Raises:
        AttackError: arrays that do not fit together or are not finite, or a scan with too few references.
        ConfigError: an option out of range (:class:`flprivacy.RmiaConfig`).

    Example:
        >>> import numpy as np
        >>> members = np.array([[True, False], [False, True]])
        >>> references, others = np.array([[3.0, 0.0], [0.0, 3.0]]), np.zeros((2, 4))
        >>> membership_rmia([3.0, 0.0], references, members, [-1.0, 0.0, 0.5, 1.0], others).tolist()
        [0.75, 0.25]
    """
    config = config or RmiaConfig()
    online = config.mode == "online"
    seen = observe(target, references, members, least_in=1 if online else 0, least_out=1)
    shape = np.shape(population_references)
    outside = np.zeros((shape[0], shape[-1]), dtype=bool) if len(shape) > 1 else np.zeros((0, 0), dtype=bool)
    mask = outside if population_members is None else population_members
    others = observe(population, population_references, mask, least_out=1, who="population")
    if (len(others.references), len(others.target)) != (len(seen.references), len(seen.target)):
        raise AttackError(
            f"population_references are {len(others.references)} references of {len(others.target)} queries, "
            f"references {len(seen.references)} of {len(seen.target)}; give the same models and queries of both"
        )
    ratios, of_population = _log_ratios(seen, config), np.sort(_log_ratios(others, config), axis=1)
    least = np.log(config.gamma)
    pairs = zip(of_population, ratios - least, strict=True)
    dominated = [np.searchsorted(among, own, side="right") / len(among) for among, own in pairs]
    scores: FloatArray = np.mean(dominated, axis=0)
    return scores


def _log_ratios(seen: Observed, config: RmiaConfig) -> FloatArray:
    """Return (query, scan) log of the probability by the target over that by the references."""
    probabilities = expit(seen.references)
    expected = seen.side(False).mean(probabilities)
    if config.mode == "offline":
        expected = ((1.0 + config.offline_a) * expected + (1.0 - config.offline_a)) / 2.0
    else:
        # In and out weigh alike, however many references there are of each; a population may have no reference in.
        inside = seen.side(True)
        expected = np.where(inside.counts > 0, (expected + inside.mean(probabilities)) / 2.0, expected)
    ratios: FloatArray = log_confidence(seen.target) - np.log(expected)
    return ratios
