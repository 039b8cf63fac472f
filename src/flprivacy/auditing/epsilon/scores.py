"""Canary scores, and the record of what they prove."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from flprivacy.core.errors import AuditError

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class EpsilonBound:
    """A lower bound on epsilon: with the stated confidence, the mechanism's true epsilon is not below it.

    Attributes:
        epsilon_lower: the bound, 0 or more; 0 proves nothing.
        confidence: probability, over the audit's own randomness, with which the bound holds.
        delta: of the (epsilon, delta) that it is about.
        method: how it was found: ``clopper-pearson``, ``gaussian-dp``, ``one-run`` or ``one-run-f-dp``.
        correction: how choosing the threshold or the number of guesses was paid for: ``bonferroni``, ``split`` or
            ``fixed`` (chosen before looking).
        threshold: score above which a canary counts as a member; None where guesses are made by rank or the bound
            is 0.
        counts: what the bound rests on, such as members above the threshold, or guesses and those that were right.
        parameter: of the hypothesised curve, such as Gaussian DP's mu; None for methods that assume none.
    """

    epsilon_lower: float
    confidence: float
    delta: float
    method: str
    correction: str
    threshold: float | None = None
    counts: dict[str, int] = field(default_factory=dict)
    parameter: float | None = None

    def contradicts(self, claimed_epsilon: float) -> bool:
        """Return whether the bound shows that a claimed epsilon, at the same delta, is too small."""
        return self.epsilon_lower > claimed_epsilon


def checked_scores(members: npt.ArrayLike, non_members: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Return both score arrays as float64.

    Args:
        members: (m,) scores of canaries that were trained on; higher means more like a member.
        non_members: (n,) scores of canaries that were not.

    Raises:
        AuditError: an array that is empty, not flat or not finite.
    """
    arrays = []
    for name, values in (("member", members), ("non-member", non_members)):
        array = np.asarray(values, dtype=np.float64)
        if array.ndim != 1 or not len(array):
            raise AuditError(f"{name} scores have shape {array.shape}; give a flat array of at least one score")
        if not np.isfinite(array).all():
            raise AuditError(f"{name} scores hold values that are not finite; look for a diverged model")
        arrays.append(array)
    return arrays[0], arrays[1]


def check_levels(confidence: float, delta: float) -> None:
    """Refuse a confidence outside (0.5, 1) or a delta outside [0, 1).

    Raises:
        AuditError: naming the value.
    """
    if not 0.5 < confidence < 1.0:
        raise AuditError(f"confidence is {confidence!r}; must be between 0.5 and 1, such as 0.95")
    if not 0.0 <= delta < 1.0:
        raise AuditError(f"delta is {delta!r}; must be at least 0 and below 1")
