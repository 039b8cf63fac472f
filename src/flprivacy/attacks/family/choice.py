"""The family of learners, and the choice among them by cross-validation on the exposed scans."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import log_softmax

from flprivacy.attacks.family.bases import BASES, Pair, bases_for
from flprivacy.attacks.family.decision import hits
from flprivacy.attacks.family.discriminant import discriminant
from flprivacy.attacks.family.fits import Fit, cross_fits
from flprivacy.attacks.family.problem import Answers, Problem, softmax
from flprivacy.attacks.family.quadratic import has_covariances, quadratic, quadratic_years
from flprivacy.attacks.family.regressions import logistic, ridge
from flprivacy.attacks.family.transductive import FIRST_FOLDS, transductive, whitened

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

# Logistic regression costs most, so it is learnt only in one of these, in which discriminants do better.
_OF_LOGISTIC = ("column-scaled", "one-scale")
# So many of the best candidates are averaged, at most: they hardly differ, and which one looks best on some hundred
# exposed scans is chance. Those that are worse by more than so many standard errors are left out.
AVERAGED = 5
_CLEARLY = 2.0
# When learning from scans of unknown class, which takes many rounds, is in vain: where the others explain classes no
# better than by so much of what knowing nothing leaves, or are ahead by so much weighted F1 in the first folds.
_NEXT_TO_NOTHING, _FAR_BEHIND = 0.97, 0.15
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
    """All members on the same features: each factorisation is made when first needed and shared by attributes."""

    def __init__(self, exposed: FloatArray, held_out: FloatArray) -> None:
        """Take features (view, exposed scan, feature) and (held-out scan, feature)."""
        self._views = len(exposed)
        self._features = exposed.reshape(-1, exposed.shape[-1]), held_out
        self._bases = bases_for(exposed.shape[-1])
        self._fits: dict[tuple[str, bytes, bytes], tuple[Fit, ...]] = {}
        self._pairs: dict[bytes, Pair | None] = {}

    def choose(
        self, problem: Problem, known: npt.NDArray[np.bool_], others: Mapping[str, Answers] | None = None
    ) -> Chosen:
        """Learn an attribute with every member and return what the best of them say.

        Args:
            problem: of the exposed scans whose attribute is known.
            known: (exposed scan,) which these are.
            others: answers of learners that compete besides the family's, by name.
        """
        return (self._classes if problem.n_classes else self._years)(problem, known, others or {})

    def _classes(self, problem: Problem, known: npt.NDArray[np.bool_], others: Mapping[str, Answers]) -> Chosen:
        seen, competing = self._seen(problem), {}
        for basis in self._bases:
            found = self._of_scans(discriminant(self._along(basis, known, problem.folds), seen))
            competing[f"discriminant, {basis}"] = _Sized.of(found, problem)
        best = min(_OF_LOGISTIC, key=lambda basis: (competing[f"discriminant, {basis}"].losses @ problem.judged).min())
        found = self._of_scans(logistic(self._along(best, known, problem.folds), seen))
        competing[f"logistic, {best}"] = _Sized.of(found, problem)
        if has_covariances(problem):
            found = self._of_scans(quadratic(self._along("column-scaled", known, problem.folds), seen))
            competing["quadratic, column-scaled"] = _Sized.of(found, problem)
        if (pair := self._whitened(known)) and (answers := self._transductive(pair, problem, competing)):
            competing["discriminant, transductive"] = _Sized.of(self._of_scans(answers), problem)
        competing |= {name: _Sized.of(one, problem) for name, one in others.items()}
        return _best_of_classes(problem, competing)

    def _years(self, problem: Problem, known: npt.NDArray[np.bool_], others: Mapping[str, Answers]) -> Chosen:
        seen, competing = self._seen(problem), {}
        for basis in self._bases:
            competing[f"ridge, {basis}"] = self._of_scans(ridge(self._along(basis, known, problem.folds), seen))
        along = self._along("column-scaled", known, problem.folds)
        competing["quadratic, column-scaled"] = self._of_scans(quadratic_years(along, seen))
        if pair := self._whitened(known):
            competing["ridge, whitened"] = self._of_scans(ridge(cross_fits(*pair, seen.folds), seen))
        return _best_of_years(problem, competing | dict(others))

    def _seen(self, problem: Problem) -> Problem:
        """Return the problem with every view of a scan as a scan."""
        return Problem(
            values=np.tile(problem.values, self._views),
            n_classes=problem.n_classes,
            folds=np.tile(problem.folds, self._views),
        )

    def _along(self, basis: str, known: npt.NDArray[np.bool_], folds: npt.NDArray[np.int64]) -> tuple[Fit, ...]:
        key = basis, known.tobytes(), folds.tobytes()
        if key not in self._fits:
            exposed, held_out = BASES[basis](*self._features)
            rows = np.tile(known, self._views)
            self._fits[key] = cross_fits(exposed[rows], held_out, np.tile(folds, self._views))
        return self._fits[key]

    def _transductive(self, pair: Pair, problem: Problem, competing: Mapping[str, "_Sized"]) -> Answers | None:
        """Learn from scans of unknown class, too; None where others tell next to nothing of them, or far more."""
        others = list(competing.values())
        loss_of_nothing = -float(problem.log_prior[problem.classes] @ problem.judged)
        if min(float((one.losses @ problem.judged).min()) for one in others) > _NEXT_TO_NOTHING * loss_of_nothing:
            return None
        best = max(others, key=lambda one: one.hits.max())
        reached = hits(problem, best.logits(problem), folds=FIRST_FOLDS).max()

        def promising(left_out: FloatArray) -> bool:
            said = self._of_scans(Answers(left_out=left_out, held_out=left_out)).left_out + problem.log_prior
            return bool(hits(problem, said, folds=FIRST_FOLDS).max() > reached - _FAR_BEHIND)

        return transductive(*pair, self._seen(problem), promising=promising)

    def _whitened(self, known: npt.NDArray[np.bool_]) -> Pair | None:
        key = known.tobytes()
        if key not in self._pairs:
            exposed, held_out = self._features
            self._pairs[key] = whitened(exposed[np.tile(known, self._views)], held_out)
        return self._pairs[key]

    def _of_scans(self, found: Answers) -> Answers:
        """Average what is said of the views of a scan."""
        penalties, _, columns = found.left_out.shape
        left_out = found.left_out.reshape(penalties, self._views, -1, columns).mean(axis=1)
        return Answers(left_out=left_out, held_out=found.held_out)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Sized:
    """Evidence for classes and what it must be multiplied by to explain the exposed scans best.

    Attributes:
        evidence: of each candidate.
        factors: (candidate,).
        losses: (candidate, scan) cross-entropies on the exposed scans.
        hits: (candidate,) weighted F1 there.
    """

    evidence: Answers
    factors: FloatArray
    losses: FloatArray
    hits: FloatArray

    @classmethod
    def of(cls, evidence: Answers, problem: Problem) -> "_Sized":
        factors = _factors(evidence.left_out, problem)
        logits = _logits(evidence, factors, problem)
        losses = -_own(log_softmax(logits, axis=-1), problem)
        return cls(evidence=evidence, factors=factors, losses=losses, hits=hits(problem, logits))

    def logits(self, problem: Problem) -> FloatArray:
        """Return (candidate, scan, class) logits of the exposed scans, each without its own fold."""
        return _logits(self.evidence, self.factors, problem)


def _logits(evidence: Answers, factors: FloatArray, problem: Problem) -> FloatArray:
    logits: FloatArray = evidence.left_out * factors[:, None, None] + problem.log_prior
    return logits


def _own(values: FloatArray, problem: Problem) -> FloatArray:
    """Return (candidate, scan) what (candidate, scan, class) values say of each scan's own class."""
    own: FloatArray = np.take_along_axis(values, problem.classes[None, :, None], axis=-1)[..., 0]
    return own


def _factors(evidence: FloatArray, problem: Problem) -> FloatArray:
    """Return (candidate,) what evidence (candidate, scan, class) must be multiplied by to explain the scans best.

    The slope of the cross-entropy rises with the factor, so halving the interval finds where it is 0. The sign of a
    slope needs no more than single precision.
    """
    evidence = evidence.astype(np.float32)
    own, prior = _own(evidence, problem), problem.log_prior.astype(np.float32)
    low, high = np.full(len(evidence), np.log(_LEAST)), np.full(len(evidence), np.log(_MOST))
    for _ in range(_HALVINGS):
        middle = (low + high) / 2.0
        shares = softmax(evidence * np.exp(middle, dtype=np.float32)[:, None, None] + prior)
        falling = ((shares * evidence).sum(axis=-1) - own) @ problem.judged < 0.0
        low, high = np.where(falling, middle, low), np.where(falling, high, middle)
    factors: FloatArray = np.exp((low + high) / 2.0)
    return factors


def _best_of_classes(problem: Problem, competing: Mapping[str, _Sized]) -> Chosen:
    """Choose by the sum of two ranks: hits, which count in the end, and cross-entropy, which varies less by chance."""
    every = list(competing.values())
    hit, losses, factors = (
        np.concatenate([getattr(one, name) for one in every]) for name in ("hits", "losses", "factors")
    )
    ranks = _ranks(-hit) + _ranks(losses @ problem.judged)
    best = _best(ranks, losses, problem.judged)
    left_out, held_out = _averaged([one.evidence for one in every], best, factors)
    factor = _factors(left_out[None], problem)[0]
    return Chosen(
        names=_names({name: len(one.factors) for name, one in competing.items()}, best),
        problem=problem,
        left_out=left_out * factor,
        held_out=held_out * factor,
    )


def _ranks(values: FloatArray) -> FloatArray:
    """Return the places of values from 1 for the lowest; equal ones share the mean of theirs."""
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    places: FloatArray = (counts.cumsum() - (counts - 1) / 2.0)[which]
    return places


def _best_of_years(problem: Problem, competing: Mapping[str, Answers]) -> Chosen:
    errors = np.concatenate([(one.left_out[..., 0] - problem.values) ** 2 for one in competing.values()])
    best = _best(errors.sum(axis=-1), errors, np.ones(len(problem.values)))
    left_out, held_out = _averaged(list(competing.values()), best, np.ones(len(errors)))
    names = _names({name: len(one.left_out) for name, one in competing.items()}, best)
    return Chosen(names=names, problem=problem, left_out=left_out, held_out=held_out)


def _best(ranks: FloatArray, losses: FloatArray, counted: FloatArray) -> IntArray:
    """Return the candidates to average, the best first.

    Args:
        ranks: (candidate,) by which the best are chosen, the lowest.
        losses: (candidate, scan), of which none may be clearly larger than the least.
        counted: (scan,) what each counts.
    """
    best: IntArray = np.argsort(ranks, kind="stable")[:AVERAGED]
    shares, some = counted / max(counted.sum(), np.finfo(np.float64).tiny), losses[best]
    more = some - some[(some @ shares).argmin()]
    mean = more @ shares
    error = np.sqrt((((more - mean[:, None]) * shares) ** 2).sum(axis=-1))
    kept: IntArray = best[mean <= _CLEARLY * error]
    return kept


def _averaged(answers: Sequence[Answers], which: IntArray, factors: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the mean of what those candidates say, times their factors: (scan, column) and (held-out scan, column)."""
    owners = [(one, number) for one in answers for number in range(len(one.left_out))]
    chosen = [(owners[i], factors[i] / len(which)) for i in which]
    left_out = sum(factor * one.left_out[number] for (one, number), factor in chosen)
    held_out = sum(factor * one.held_out[number] for (one, number), factor in chosen)
    return np.asarray(left_out), np.asarray(held_out)


def _names(counts: Mapping[str, int], which: IntArray) -> tuple[str, ...]:
    every = [f"{name}, {number}" for name, count in counts.items() for number in range(count)]
    return tuple(every[i] for i in which)
