"""The audit of one attribute attack on arrays: no file, no model and no pipeline in sight.

The same functions judge score tables (:mod:`flprivacy.auditing.attributes`); here they get arrays, may lack baselines,
and say what follows from that.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from flprivacy.auditing.attributes import few_patients, not_cleared
from flprivacy.auditing.baselines import MAJORITY, NO_TWIN, PIXELS
from flprivacy.auditing.config import AuditConfig, PolicyRule
from flprivacy.auditing.estimates import estimate_cell
from flprivacy.auditing.runs import AttackRuns, HeldOut, held_out_scans
from flprivacy.auditing.uncertainty import resample_patients
from flprivacy.auditing.verdicts import few_seeds, judge
from flprivacy.core.attributes import NO_ACCESS, AttackKey, Attribute, attribute_of
from flprivacy.core.audit import ExcessEstimate, MetricEstimate, Verdict
from flprivacy.core.errors import AuditError
from flprivacy.core.vocabulary import JOINT

TARGET, UNTRAINED = "target", "untrained"
_ONE_MODEL = "the 'untrained' baseline has a single initialisation, so random weights may explain the excess over it"
_NO_PATIENTS = (
    "patients were not given, so every scan counts as a patient of its own; if some patients have several scans, the "
    "intervals are too narrow"
)


@dataclass(frozen=True, kw_only=True)
class AttributeResult:
    """What an attack on a target proves.

    Attributes:
        decision: the verdict with all numbers that it rests on.
        caveats: what weakens the verdict, in sentences; empty if nothing.
        metrics: every metric of the attack on the target and on each baseline, with intervals.
        excesses: every metric's excess over each baseline, with interval and p-value.
    """

    decision: Verdict
    caveats: tuple[str, ...]
    metrics: tuple[MetricEstimate, ...]
    excesses: tuple[ExcessEstimate, ...]

    @property
    def verdict(self) -> str:
        """``leak``, ``no leak found`` or ``inconclusive``."""
        return self.decision.verdict

    @property
    def question(self) -> str:
        """What the verdict is about: ``training`` or, where pixels are among the baselines, ``holding``."""
        return self.decision.question

    @property
    def reason(self) -> str:
        """The verdict in a sentence that begins with the question, caveats included."""
        return self.decision.reason

    @property
    def excess(self) -> float:
        """How much stronger the attack is than on the best baseline, in the deciding metric (years: error saved)."""
        return self.decision.excess

    @property
    def interval(self) -> tuple[float, float]:
        """Interval of the excess, by default at 95%."""
        return self.decision.ci_low, self.decision.ci_high

    @property
    def p_value(self) -> float:
        """Two-sided p-value of no excess over the best baseline."""
        return self.decision.p_value


def audit_attribute(
    truth: npt.ArrayLike,
    scores: npt.ArrayLike,
    *,
    baselines: Mapping[str, npt.ArrayLike] | None = None,
    patients: npt.ArrayLike | None = None,
    attribute: str | Attribute = "attribute",
    rule: PolicyRule | None = None,
    config: AuditConfig | None = None,
) -> AttributeResult:
    """Judge what an attack on a model infers about held-out scans, held against the same attack without that model.

    The baselines say which question is asked. Without ``pixels``: what did training put in, for someone who is given
    features or answers and has no scan? With ``pixels``: what does the model add for someone who holds the scan? The
    attack should then use scan and model together, for one on features alone has less to learn from than pixels.

    The excess over the strongest baseline counts, paired by scan and attacker seed. Its interval allows for other
    patients (bootstrap and jackknife over patients), other attacker seeds and, over several initialisations of an
    untrained network, other random weights (see docs/method.md).

    Args:
        truth: (scan,) class index of each held-out scan in [0, class); years for an attribute in years.
        scores: (seed, scan, class) scores of the attack on the target with each attacker seed, higher for likelier;
            (seed, scan) predicted years. At least 2 seeds, honest intervals need 5. With a leading axis, (model, seed,
            scan, class): a target of several models, such as one per hospital; the mean over them counts.
        baselines: name -> scores of the same attack without the trained model, of the same seeds; or without the axis
            of seeds, for one that has nothing to draw. ``untrained``: on fresh weights of the same architecture (with
            the scan, where the attack has it), with a leading axis of at least 2 initialisations. ``pixels``: on the
            images alone. Any other name counts, too.
            Where ``majority`` is missing, the commonest class (the median age) of ``truth`` is guessed.
        patients: (scan,) pseudonym or number of each scan's patient; every scan is a patient of its own if None.
        attribute: name of the attribute, or its description. ``site``, ``sex``, ``age_band`` and ``age_years`` are
            known; every other name is of classes.
        rule: metric and tolerated excess; the rule of ``config.policy`` for the attribute if None, else the main
            metric and the attribute's usual threshold.
        config: confidence, bootstrap and seed; the defaults if None.

    Returns:
        The result. Without ``untrained``, or with a single initialisation, the verdict is never ``leak``, and the
        reason says why.

    Raises:
        AuditError: shapes that do not fit together, scores that are not finite, fewer than 2 seeds or patients, a truth
            that does not vary or is no class, or a rule for a metric that the attack is not measured by.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> truth = rng.integers(0, 3, 300)
        >>> def attack(strength, *models):
        ...     return strength * np.eye(3)[truth] + rng.normal(size=(*models, 5, 300, 3))
        >>> baselines = {"untrained": attack(0.5, 4)}
        >>> result = audit_attribute(truth, attack(3.0), baselines=baselines, patients=np.arange(300) // 2)
        >>> result.question, result.verdict
        ('training', 'leak')
    """
    config = config or AuditConfig()
    described = attribute_of(attribute) if isinstance(attribute, str) else attribute
    held_out = _held_out(described, truth, np.asarray(scores), patients)
    given = {MAJORITY: _majority(held_out), **(baselines or {})}
    access = JOINT if PIXELS in given else "features"
    target = _runs(TARGET, scores, held_out, access=access, seeds=None)
    others = [_runs(name, values, held_out, access=access, seeds=len(target.seeds)) for name, values in given.items()]
    cell = [target, *others]
    resampling = resample_patients(held_out.patients, replicates=config.bootstrap, seed=config.seed)
    found = estimate_cell(cell, lambda _, runs: runs[1:], resampling, confidence=config.confidence)
    missing, caveats = _caveats(cell, patients is not None)
    unseen = few_patients(held_out)
    rule = rule or config.policy.rules.get(described.name)
    rule = rule or PolicyRule(metric=described.metric, threshold=described.threshold)
    (decision,) = judge(
        found.metrics,
        found.excesses,
        {described.name: rule},
        confidence=config.confidence,
        note="; ".join(caveat for caveat in caveats if caveat != unseen),
        missing={target.attack: missing} if missing else {},
        spreads=found.spreads,
    )
    return AttributeResult(
        decision=not_cleared(decision, unseen),
        caveats=(*([missing] if missing else []), *caveats),
        metrics=tuple(found.metrics),
        excesses=tuple(found.excesses),
    )


def _held_out(
    attribute: Attribute, truth: npt.ArrayLike, scores: npt.NDArray[np.generic], patients: npt.ArrayLike | None
) -> HeldOut:
    values = np.asarray(truth, dtype=np.float64)
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise AuditError(f"truth has shape {values.shape}; give (scan,) finite class indices or years")
    numbers = np.arange(len(values))
    of_patients = numbers if patients is None else np.asarray(patients)
    if of_patients.shape != values.shape:
        raise AuditError(
            f"patients has shape {of_patients.shape}, truth {values.shape}; give one patient for each scan"
        )
    n_classes = 0 if attribute.is_regression else scores.shape[-1] if scores.ndim else 1
    return held_out_scans(
        attribute,
        class_names=tuple(map(str, range(n_classes))),
        scan_ids=numbers.astype(np.str_),
        patient_ids=of_patients.astype(np.str_),
        truth=values,
        where="truth",
    )


def _runs(name: str, scores: npt.ArrayLike, held_out: HeldOut, *, access: str, seeds: int | None) -> AttackRuns:
    """Return scores as an attack; ``seeds`` is how many a baseline must have, None for the target."""
    values = np.asarray(scores, dtype=np.float32)
    n, width = held_out.n_scans, max(len(held_out.class_names), 1)
    if held_out.attribute.is_regression and values.shape[-1:] == (n,):
        values = values[..., None]
    if values.ndim == 2 and seeds is not None:
        values = np.broadcast_to(values, (seeds, *values.shape))
    if values.ndim == 3:
        values = values[None]
    expected = "(seed, scan)" if held_out.attribute.is_regression else "(seed, scan, class)"
    if values.ndim != 4 or values.shape[2:] != (n, width) or seeds not in (None, values.shape[1]):
        wanted = "" if seeds is None else f" with {seeds} seeds as those of the target"
        raise AuditError(
            f"scores of {name!r} have shape {np.shape(scores)}; give {expected} or (model, ...) of {n} scans"
            f"{'' if width == 1 else f' and {width} classes'}{wanted}"
        )
    if not np.isfinite(values).all():
        raise AuditError(f"scores of {name!r} hold values that are not finite; look for a diverged attack")
    without_model = name in (PIXELS, MAJORITY)
    return AttackRuns(
        attack=AttackKey(
            target=name,
            attribute=held_out.attribute.name,
            access=NO_ACCESS if without_model else access,
            fraction=1.0,
        ),
        role="target" if seeds is None else "baseline",
        models=tuple(f"model-{i}" for i in range(len(values))),
        seeds=tuple(range(values.shape[1])),
        held_out=held_out,
        scores=values,
    )


def _majority(held_out: HeldOut) -> npt.NDArray[np.float64]:
    """Return (scan, class) scores of whoever guesses the commonest class, or the (scan,) median of the years."""
    if held_out.attribute.is_regression:
        return np.full(held_out.n_scans, np.median(held_out.truth))
    counts = np.bincount(held_out.truth.astype(np.int64), minlength=len(held_out.class_names))
    return np.tile(np.eye(len(counts))[counts.argmax()], (held_out.n_scans, 1))


def _caveats(cell: list[AttackRuns], patients_given: bool) -> tuple[str, list[str]]:
    """Return what keeps the verdict from being ``leak`` (empty: nothing), and what else weakens it."""
    given = {runs.attack.target: runs for runs in cell}
    missing = "" if UNTRAINED in given else NO_TWIN
    if UNTRAINED in given and len(given[UNTRAINED].models) < 2:
        missing = _ONE_MODEL
    found = few_seeds(len(cell[0].seeds)), few_patients(cell[0].held_out), "" if patients_given else _NO_PATIENTS
    caveats = [text for text in found if text]
    return missing, caveats
