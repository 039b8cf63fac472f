"""The family of learners, and the choice among them by cross-validation on the exposed scans."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp, softmax

from flprivacy.attacks.family.bases import Basis, column_scaled, kernel, linear, one_scale, whitened
from flprivacy.attacks.family.decision import hits
from flprivacy.attacks.family.discriminant import discriminant
from flprivacy.attacks.family.logistic import logistic
from flprivacy.attacks.family.problem import Answers, Learner, Problem
from flprivacy.attacks.family.ridge import ridge

FloatArray = npt.NDArray[np.float64]

BASES: dict[str, Callable[[FloatArray, FloatArray], Basis]] = {
    "column-scaled": lambda exposed, held_out: linear(*column_scaled(exposed, held_out)),
    "one-scale": lambda exposed, held_out: linear(*one_scale(exposed, held_out)),
    "whitened": lambda exposed, held_out: whitened(*one_scale(exposed, held_out)),
    "kernel": lambda exposed, held_out: kernel(*column_scaled(exposed, held_out)),
}
CLASSIFIERS: dict[str, Learner] = {"discriminant": discriminant, "logistic": logistic}
REGRESSORS: dict[str, Learner] = {"ridge": ridge}
# Who competes: (learner, basis). Of equally good ones the first is chosen.
FAMILY_OF_CLASSES = (
    ("discriminant", "column-scaled"),
    ("discriminant", "one-scale"),
    ("logistic", "column-scaled"),
    ("logistic", "one-scale"),
    ("discriminant", "whitened"),
    ("discriminant", "kernel"),
)
FAMILY_OF_YEARS = (("ridge", "column-scaled"), ("ridge", "one-scale"), ("ridge", "whitened"), ("ridge", "kernel"))

# So many of the best candidates are averaged: they hardly differ, and which one looks best on some hundred exposed
# scans is chance. Those that are worse in these coordinates are not among them.
AVERAGED = 5
_LEAST, _MOST, _HALVINGS = 0.01, 3.0, 9  # of the factor that evidence is worth


@dataclass(frozen=True, kw_only=True, eq=False)
class Chosen:
    """What those members of the family say that cross-validation chose.

    Attributes:
        names: of the members, each with the number of its penalty, the best first.
        problem: what they learnt from.
        left_out: (scan, column) for exposed scans, each without its own fold: evidence for classes, in the size that
            explains these scans best, or years.
        held_out: (held-out scan, column) likewise, from all exposed scans.
    """

    names: tuple[str, ...]
    problem: Problem
    left_out: FloatArray
    held_out: FloatArray


class Family:
    """All members on the same features: each basis is made when first needed and shared by attributes."""

    def __init__(self, exposed: FloatArray, held_out: FloatArray) -> None:
        """Take features (view, exposed scan, feature) and (held-out scan, feature)."""
        self._views, self._exposed, self._held_out = exposed.shape[0], exposed, held_out
        self._bases: dict[str, Basis] = {}

    def choose(
        self, problem: Problem, known: npt.NDArray[np.bool_], others: Mapping[str, Answers] | None = None
    ) -> Chosen:
        """Learn an attribute with every member and return what the best of them say.

        Args:
            problem: of the exposed scans whose attribute is known.
            known: (exposed scan,) which these are.
            others: answers of learners that compete besides the family's, by name.
        """
        seen = Problem(
            values=np.tile(problem.values, self._views),
            n_classes=problem.n_classes,
            folds=np.tile(problem.folds, self._views),
        )
        learners, members = (CLASSIFIERS, FAMILY_OF_CLASSES) if problem.n_classes else (REGRESSORS, FAMILY_OF_YEARS)
        rows = np.tile(known, self._views)
        names, answers = [], []
        for learner, basis in members:
            found = learners[learner](self._known(basis, rows), seen)
            answers.append(self._of_scans(found))
            names += [f"{learner}, {basis}, {number}" for number in range(len(found.left_out))]
        for name, other in (others or {}).items():
            answers.append(other)
            names += [f"{name}, {number}" for number in range(len(other.left_out))]
        every = Answers(
            left_out=np.concatenate([one.left_out for one in answers]),
            held_out=np.concatenate([one.held_out for one in answers]),
        )
        return _best_of_classes(problem, every, names) if problem.n_classes else _best_of_years(problem, every, names)

    def _known(self, name: str, rows: npt.NDArray[np.bool_]) -> Basis:
        if name not in self._bases:
            flat = self._exposed.reshape(-1, self._exposed.shape[-1])
            self._bases[name] = BASES[name](flat, self._held_out)
        basis = self._bases[name]
        return basis if rows.all() else Basis(exposed=basis.exposed[rows], held_out=basis.held_out)

    def _of_scans(self, found: Answers) -> Answers:
        """Average what is said of the views of a scan."""
        penalties, _, columns = found.left_out.shape
        left_out = found.left_out.reshape(penalties, self._views, -1, columns).mean(axis=1)
        return Answers(left_out=left_out, held_out=found.held_out)


def _best_of_classes(problem: Problem, every: Answers, names: list[str]) -> Chosen:
    """Choose by the sum of two ranks: hits, which count in the end, and cross-entropy, which varies less by chance."""
    from scipy.stats import rankdata  # takes half of a second to import

    factors = _factors(every.left_out, problem)
    logits = every.left_out * factors[:, None, None] + problem.log_prior
    ranks = rankdata(-hits(problem, logits)) + rankdata(_losses(logits, problem))
    best = np.argsort(ranks, kind="stable")[:AVERAGED]
    left_out, held_out = (
        np.tensordot(factors[best], answers[best], axes=1) / len(best) for answers in (every.left_out, every.held_out)
    )
    factor = _factors(left_out[None], problem)[0]
    return Chosen(
        names=tuple(names[i] for i in best),
        problem=problem,
        left_out=left_out * factor,
        held_out=held_out * factor,
    )


def _losses(logits: FloatArray, problem: Problem) -> FloatArray:
    """Return (candidate,) cross-entropies of logits (candidate, scan, class)."""
    own = np.take_along_axis(logits, problem.classes[None, :, None], axis=-1)[..., 0]
    losses: FloatArray = (logsumexp(logits, axis=-1) - own) @ problem.judged
    return losses


def _factors(evidence: FloatArray, problem: Problem) -> FloatArray:
    """Return (candidate,) what evidence (candidate, scan, class) must be multiplied by to explain the scans best.

    The slope of the cross-entropy rises with the factor, so halving the interval finds where it is 0.
    """
    own = np.take_along_axis(evidence, problem.classes[None, :, None], axis=-1)[..., 0]
    low, high = np.full(len(evidence), np.log(_LEAST)), np.full(len(evidence), np.log(_MOST))
    for _ in range(_HALVINGS):
        middle = (low + high) / 2.0
        shares = softmax(evidence * np.exp(middle)[:, None, None] + problem.log_prior, axis=-1)
        falling = ((shares * evidence).sum(axis=-1) - own) @ problem.judged < 0.0
        low, high = np.where(falling, middle, low), np.where(falling, high, middle)
    factors: FloatArray = np.exp((low + high) / 2.0)
    return factors


def _best_of_years(problem: Problem, every: Answers, names: list[str]) -> Chosen:
    errors = ((every.left_out[..., 0] - problem.values) ** 2).sum(axis=-1)
    best = np.argsort(errors, kind="stable")[:AVERAGED]
    return Chosen(
        names=tuple(names[i] for i in best),
        problem=problem,
        left_out=every.left_out[best].mean(axis=0),
        held_out=every.held_out[best].mean(axis=0),
    )
