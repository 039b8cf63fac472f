"""One attribute of the exposed scans, as every learner of the family gets it and answers it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from flprivacy.attacks.family.fits import Fit
from flprivacy.core.array_types import FloatArray, IntArray

Number = TypeVar("Number", bound=np.floating[Any])

FOLDS = 5
_FOLD_STREAM = 21
_BALANCE = 0.5  # as for the heads: half-way between all scans alike and all classes alike
_UNSEEN = 0.3  # scans that count as of every class beyond those that are, so that no class is impossible


@dataclass(frozen=True, kw_only=True, eq=False)
class Problem:
    """What is known of one attribute of the exposed scans, none of which lacks it.

    Attributes:
        values: (scan,) class index, or years.
        n_classes: number of classes; 0 for years.
        folds: (scan,) in which part of the cross-validation a scan is left out, from 0; patients are never parted.
    """

    values: FloatArray
    n_classes: int
    folds: IntArray

    @property
    def n_folds(self) -> int:
        """Number of folds."""
        return int(self.folds.max()) + 1

    @cached_property
    def classes(self) -> IntArray:
        """(scan,) class index."""
        return self.values.astype(np.int64)

    @cached_property
    def weights(self) -> FloatArray:
        """(scan,) what each counts in learning, by class size to the power -1/2; the sum is the number of scans."""
        sizes = np.bincount(self.classes, minlength=self.n_classes)[self.classes]
        weights = sizes.astype(np.float64) ** -_BALANCE
        scaled: FloatArray = weights * (len(weights) / weights.sum())
        return scaled

    @cached_property
    def log_prior(self) -> FloatArray:
        """(class,) logarithms of the classes' shares of the weights."""
        shares = np.bincount(self.classes, weights=self.weights, minlength=self.n_classes) + _UNSEEN
        prior: FloatArray = np.log(shares / shares.sum())
        return prior

    @cached_property
    def judged(self) -> FloatArray:
        """(scan,) what each counts in choosing: its weight, or 0 if no other fold has a scan of its class."""
        counts = np.zeros((self.n_folds, self.n_classes))
        np.add.at(counts, (self.folds, self.classes), 1.0)
        elsewhere = counts.sum(axis=0)[self.classes] > counts[self.folds, self.classes]
        judged: FloatArray = self.weights * elsewhere
        return judged


@dataclass(frozen=True, kw_only=True, eq=False)
class Answers:
    """What a learner says with each of its penalties.

    Attributes:
        left_out: (penalty, scan, column) of the exposed scans, each by what was learnt without its fold.
        held_out: (penalty, held-out scan, column) by what was learnt from all exposed scans.

    Columns are predicted years, or the evidence for each class: logits to which the logarithms of the classes' shares
    are yet to be added.
    """

    left_out: FloatArray
    held_out: FloatArray


Learner = Callable[[Sequence[Fit], Problem], Answers]


def patient_folds(patients: npt.NDArray[np.generic], values: FloatArray, *, seed: int) -> IntArray:
    """Return (scan,) the fold that leaves each scan out: whole patients, spread over folds by their first scan's value.

    Args:
        patients: (scan,) name or number of each scan's patient.
        values: (scan,) class index, or years.
        seed: breaks ties among patients of equal value.
    """
    _, first, index = np.unique(patients, return_index=True, return_inverse=True)
    order = np.random.default_rng([_FOLD_STREAM, seed]).permutation(len(first))
    order = order[np.argsort(values[first][order], kind="stable")]
    folds = np.empty(len(first), np.int64)
    folds[order] = np.arange(len(first)) % min(FOLDS, len(first))
    of_scans: IntArray = folds[index.ravel()]
    return of_scans


def softmax(logits: npt.NDArray[Number]) -> npt.NDArray[Number]:
    """Return the shares of classes, the last axis, of which there are few."""
    # NumPy finds the largest of a few neighbours several times slower than the largest of a few rows.
    largest = np.ascontiguousarray(logits.reshape(-1, logits.shape[-1]).T).max(axis=0)
    values: npt.NDArray[Number] = np.exp(logits - largest.reshape(*logits.shape[:-1], 1))
    values /= values.sum(axis=-1, keepdims=True)
    return values
