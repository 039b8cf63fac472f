"""What all epsilon bounds share: checks of scores and levels, and the names of what they assume."""

import numpy as np
import numpy.typing as npt

from flprivacy.core.errors import AuditError

FloatArray = npt.NDArray[np.float64]

CORRECTIONS = ("bonferroni", "split")
GAUSSIAN = "Gaussian noise, of whatever size"
INDEPENDENT = "canaries that do not influence each other"


def checked_scores(
    members: npt.ArrayLike, non_members: npt.ArrayLike, confidence: float, delta: float
) -> tuple[FloatArray, FloatArray]:
    """Return both score arrays as float64.

    Args:
        members: (m,) scores of canaries that were trained on; higher means more like a member.
        non_members: (n,) scores of canaries that were not.
        confidence: with which a bound is to hold.
        delta: of the bound.

    Raises:
        AuditError: an array that is empty, not flat or not finite; a level that :func:`check_levels` refuses.
    """
    check_levels(confidence, delta)
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


def unknown_correction(correction: str) -> AuditError:
    """Return the error for a correction that there is none of."""
    return AuditError(f"correction is {correction!r}; must be one of {', '.join(CORRECTIONS)}")
