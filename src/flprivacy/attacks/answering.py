"""How the attacker of one seed learns all attributes from features that do not change, and what is answered."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from flprivacy.attacks.config import LearnerConfig
from flprivacy.attacks.family.choice import Chosen, Family
from flprivacy.attacks.family.decision import evidence_of_years, scores
from flprivacy.attacks.family.fusion import fused
from flprivacy.attacks.family.network import network_answers
from flprivacy.attacks.family.problem import Problem, patient_folds
from flprivacy.attacks.heads import Head
from flprivacy.attacks.learner import one_thread
from flprivacy.core.array_types import BoolArray, Float32Array, FloatArray

Pair = tuple[FloatArray, FloatArray]  # of the exposed and of the held-out scans


@dataclass(frozen=True, kw_only=True, eq=False)
class Known:
    """What the attacker of one seed knows of the exposed scans.

    Attributes:
        heads: the attributes.
        values: (attribute, scan) class index or years; NaN where unknown.
        patients: (scan,) name or number of each scan's patient.
        seed: of the attacker.
    """

    heads: tuple[Head, ...]
    values: FloatArray
    patients: npt.NDArray[np.generic]
    seed: int

    def problem(self, attribute: int) -> tuple[Problem, BoolArray]:
        """Return an attribute of the scans that have a value for it, and (scan,) which these are.

        Attributes that all scans have share their folds, and with them what is computed for each fold.
        """
        head, values = self.heads[attribute], self.values[attribute]
        known = ~np.isnan(values)
        spread_by = self.values[self._finest] if known.all() else values
        folds = patient_folds(self.patients[known], spread_by[known], seed=self.seed)
        return Problem(values=values[known], n_classes=head.n_classes, folds=folds), known

    @cached_property
    def _finest(self) -> int:
        """Which attribute that all scans have has the most classes; one in years if there is no other."""
        complete = [a for a in range(len(self.heads)) if not np.isnan(self.values[a]).any()]
        return max(complete, key=lambda a: self.heads[a].n_classes)

    def years_of(self, attribute: int) -> int | None:
        """Return which attribute is the number that an attribute's classes are intervals of; None: there is none."""
        asked_as = self.heads[attribute].attribute.asked_as
        same = (a for a, head in enumerate(self.heads) if head.attribute.asked_as == asked_as)
        return next((a for a in same if a != attribute and not self.heads[a].n_classes), None)


@dataclass(frozen=True, kw_only=True, eq=False)
class Answer:
    """What an attacker says of one attribute.

    Attributes:
        scores: (held-out scan, column) class probabilities, or years.
        left_out: (exposed scan, column) evidence for the classes, or years, each without the scan's own fold; 0 for
            scans whose attribute is unknown.
        evidence: (held-out scan, column) evidence for the classes, or years.
        learners: names of those that cross-validation chose.
    """

    scores: Float32Array
    left_out: Float32Array
    evidence: Float32Array
    learners: tuple[str, ...] = ()


def answer(
    exposed: Float32Array, held_out: Float32Array, known: Known, *, network: LearnerConfig | None = None
) -> list[Answer]:
    """Learn every attribute from the exposed scans and answer for the held-out ones.

    Args:
        exposed: (view, exposed scan, feature).
        held_out: (held-out scan, feature).
        known: what is known of the exposed scans.
        network: how the reference study's network is trained, which then competes with the family; None: it does not.

    Returns:
        An answer for each attribute.
    """
    with one_thread():
        problems = [known.problem(a) for a in range(len(known.heads))]
        family = Family(exposed.astype(np.float64), held_out.astype(np.float64))
        others = network_answers(exposed, held_out, known.heads, problems, seed=known.seed, config=network)
        chosen = [family.choose(*problem, other) for problem, other in zip(problems, others, strict=True)]
        return [
            _answer(problem, which, _with_years(known, a, chosen), chosen[a].names)
            for a, (problem, which) in enumerate(problems)
        ]


def _with_years(known: Known, attribute: int, chosen: Sequence[Chosen]) -> Pair:
    """Return what is said of an attribute; of intervals, together with what is said of the number."""
    own, number = chosen[attribute], known.years_of(attribute)
    said = own.left_out, own.held_out
    if number is None or not own.problem.n_classes:
        return said
    years = chosen[number]
    told = evidence_of_years(own.problem, years.problem.values, years.left_out[:, 0], years.held_out[:, 0])
    return fused(own.problem, [said, told])


def answer_jointly(answers: Sequence[Sequence[Answer]], known: Known) -> list[Answer]:
    """Fuse answers from several sources about the same scans, attribute by attribute.

    Args:
        answers: of each source, an answer for each attribute.
        known: what is known of the exposed scans.
    """
    joint = []
    for a in range(len(known.heads)):
        problem, which = known.problem(a)
        parts = [(one[a].left_out[which].astype(np.float64), one[a].evidence.astype(np.float64)) for one in answers]
        joint.append(_answer(problem, which, fused(problem, parts), ()))
    return joint


def _answer(
    problem: Problem,
    known: BoolArray,
    found: Pair,
    learners: tuple[str, ...],
) -> Answer:
    left_out = np.zeros((len(known), found[0].shape[1]), np.float32)
    left_out[known] = found[0]
    return Answer(
        scores=scores(problem, *found).astype(np.float32),
        left_out=left_out,
        evidence=found[1].astype(np.float32),
        learners=learners,
    )
