"""What membership attacks read of a model, and the arrays that they are given."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import log_expit, log_softmax, logsumexp

from flprivacy.core.array_types import BoolArray, FloatArray
from flprivacy.core.errors import AttackError, check

KINDS = ("logits", "probabilities")
MODES = ("online", "offline")
_LEAST = 1e-45  # of a probability whose logarithm is taken


def membership_signal(outputs: npt.ArrayLike, labels: npt.ArrayLike, *, kind: str = "logits") -> FloatArray:
    """Return the logit-scaled confidence of a model in the true class: ln p - ln(1 - p), from softmax outputs.

    For most networks it is nearly normally distributed over trainings, where the loss is not (Carlini et al.,
    arXiv:2112.03570), and it holds the loss, ``-log_expit(signal)``. It is computed from the other classes' outputs,
    so that a confidence which rounds to 1 keeps its digits.

    Args:
        outputs: (..., scan, class) of at least 2 classes: logits, or probabilities that sum up to 1.
        labels: (scan,) index of each scan's true class.
        kind: what the outputs are, ``logits`` or ``probabilities``.

    Returns:
        (..., scan) signals, finite, float64.

    Raises:
        AttackError: arrays of the wrong shape, outputs that are not finite or no probabilities, labels out of range.
        ConfigError: an unknown kind.

    Example:
        >>> import numpy as np
        >>> membership_signal(np.log([[0.9, 0.1], [0.5, 0.5]]), [0, 1]).round(3).tolist()
        [2.197, 0.0]
    """
    check(kind in KINDS, "kind", kind, f"must be one of {', '.join(KINDS)}")
    values, classes = np.asarray(outputs, dtype=np.float64), np.asarray(labels)
    if values.ndim < 2 or values.shape[-1] < 2 or classes.shape != values.shape[-2:-1]:
        raise AttackError(
            f"outputs have shape {values.shape}, labels {classes.shape}; give (..., scan, class) of at least 2 classes "
            "and one label for each scan"
        )
    if not np.isfinite(values).all():
        raise AttackError("outputs hold values that are not finite; look for a diverged model")
    if (classes != classes.astype(np.int64)).any() or classes.min() < 0 or classes.max() >= values.shape[-1]:
        raise AttackError(f"labels hold an index outside 0..{values.shape[-1] - 1}; give the index of the true class")
    if kind == "probabilities":
        if (values < 0.0).any() or (np.abs(values.sum(axis=-1) - 1.0) > 1e-3).any():
            raise AttackError('outputs are no probabilities: negative, or of a sum other than 1; give kind="logits"')
        values = np.log(values + _LEAST)
    own = np.eye(values.shape[-1], dtype=bool)[classes.astype(np.int64)]
    logs = log_softmax(values, axis=-1)
    floor = np.log(_LEAST)
    others = logsumexp(np.where(own, -np.inf, logs), axis=-1)
    signal: FloatArray = np.maximum(logs[..., own], floor) - np.maximum(others, floor)
    return signal


@dataclass(frozen=True, kw_only=True, eq=False)
class Observed:
    """Signals of the target and of the references, checked.

    Attributes:
        target: (query, scan) of the target.
        references: (reference, query, scan) of the reference models.
        members: (reference, scan) whether a reference was trained on a scan.
    """

    target: FloatArray
    references: FloatArray
    members: BoolArray

    def side(self, inside: bool) -> "Side":
        """Return what the references say that were trained on a scan (``inside``), or those that were not."""
        return Side(values=self.references, taken=self.members if inside else ~self.members)


@dataclass(frozen=True, kw_only=True, eq=False)
class Side:
    """Signals of the references on one side of each scan: (reference, query, scan), and which of them count."""

    values: FloatArray
    taken: BoolArray  # (reference, scan)

    @property
    def counts(self) -> FloatArray:
        """(scan,) how many references there are."""
        counts: FloatArray = self.taken.sum(axis=0).astype(np.float64)
        return counts

    def mean(self, values: FloatArray | None = None) -> FloatArray:
        """Return (query, scan) means over the references; 0 where there are none."""
        chosen = self.values if values is None else values
        means: FloatArray = np.where(self.taken[:, None], chosen, 0.0).sum(axis=0) / np.maximum(self.counts, 1.0)
        return means

    @property
    def squares(self) -> FloatArray:
        """(query, scan) sums of squared residuals about each scan's own mean."""
        residuals = np.where(self.taken[:, None], self.values - self.mean(), 0.0)
        sums: FloatArray = np.square(residuals).sum(axis=0)
        return sums

    @property
    def flat(self) -> FloatArray:
        """(query, value) everything that counts, of all scans."""
        values: FloatArray = np.moveaxis(self.values, 1, 0)[:, self.taken]
        return values


def observe(
    target: npt.ArrayLike,
    references: npt.ArrayLike,
    members: npt.ArrayLike,
    *,
    least_in: int = 0,
    least_out: int = 0,
    who: str = "target",
) -> Observed:
    """Check what an attack is given; ``who`` names the target's array in messages.

    Raises:
        AttackError: arrays that do not fit together or are not finite, or a scan with too few references that were
            trained on it (``least_in``) or not (``least_out``).
    """
    queries = signal_of(target, who)
    others, mask = np.asarray(references, dtype=np.float64), np.asarray(members)
    others = others[:, None] if others.ndim == 2 else others
    if others.ndim != 3 or others.shape[1:] != queries.shape or not len(others):
        raise AttackError(
            f"references have shape {np.shape(references)}, {who} {np.shape(target)}; give (reference, [query,] scan) "
            "of the same queries and scans, of at least one reference"
        )
    if mask.shape != (len(others), queries.shape[1]) or mask.dtype != bool:
        raise AttackError(
            f"members have shape {mask.shape} and type {mask.dtype}; must be bool of ({len(others)}, "
            f"{queries.shape[1]}), whether each reference was trained on each scan"
        )
    if not np.isfinite(others).all():
        raise AttackError("references hold values that are not finite; look for a diverged reference model")
    found = Observed(target=queries, references=others, members=mask)
    for inside, least, what in ((True, least_in, "with"), (False, least_out, "without")):
        short = int((found.side(inside).counts < least).sum())
        if short:
            raise AttackError(
                f"{short} of {queries.shape[1]} scans have fewer than {least} reference(s) trained {what} them, which "
                "this attack needs: train more references, each on a random half and the next on the other half"
            )
    return found


def signal_of(values: npt.ArrayLike, who: str) -> FloatArray:
    """Return (query, scan) signals of one model.

    Raises:
        AttackError: of the wrong shape, empty, or not finite.
    """
    array = np.asarray(values, dtype=np.float64)
    array = array[None] if array.ndim == 1 else array
    if array.ndim != 2 or 0 in array.shape:
        raise AttackError(f"{who} has shape {np.shape(values)}; give (scan,) or (query, scan) signals of a model")
    if not np.isfinite(array).all():
        raise AttackError(f"{who} holds values that are not finite; look for a diverged model")
    return array


def log_confidence(signal: FloatArray) -> FloatArray:
    """Return the logarithm of the probability of the true class: minus the loss."""
    values: FloatArray = log_expit(signal)
    return values
