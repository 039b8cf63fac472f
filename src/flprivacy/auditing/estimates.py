"""How strong attacks are: every metric with its interval, and its difference from baselines and other targets."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from flprivacy.auditing.intervals import metric_interval
from flprivacy.auditing.measures import Measured, measure, on_members_beyond
from flprivacy.auditing.runs import AttackRuns
from flprivacy.auditing.uncertainty import (
    Component,
    Composed,
    Resampling,
    uncertainty,
)
from flprivacy.core.attributes import HELD_OUT, NO_ACCESS, ONE_CLASS, metric_of
from flprivacy.core.audit import ExcessEstimate, MetricEstimate
from flprivacy.core.errors import AuditError


def estimate_metrics(measured: Measured, *, confidence: float) -> list[MetricEstimate]:
    """Return every metric of an attack: mean over models and attacker seeds, with its interval.

    The interval covers the mean that the same attack would reach over all patients like the held-out ones and over all
    attacker seeds; for a baseline of fresh weights, over all initialisations too. It is conditional on
    the trained target: a model trained again may give away more or less, and no number here speaks of that.
    """
    return [_estimate(measured, metric, confidence) for metric in measured.values if metric not in measured.classes]


def _estimate(measured: Measured, metric: str, confidence: float) -> MetricEstimate:
    runs, held_out, by_seed = measured.runs, measured.runs.held_out, measured.by_seed(metric)
    spread = uncertainty(
        by_seed.mean(axis=1),
        [by_seed],
        measured.resampling,
        known=measured.initialisations(metric, 1.0 / len(runs.models)),
        floor=measured.least_variance(metric) if metric_of(metric).unit else 0.0,
        patients=measured.effective_patients(metric),
    )
    value = measured.point(metric)
    low, high = metric_interval(
        value,
        spread,
        metric=metric,
        held_out=held_out,
        confidence=confidence,
        largest_error=measured.largest_error if metric_of(metric).unit else 0.0,
    )
    by_model = measured.values[metric][0].mean(axis=1)
    several = len(runs.models) > 1
    return MetricEstimate(
        attack=runs.attack,
        role=runs.role,
        metric=metric.partition("/")[0],
        of_class=metric.partition("/")[2],
        value=value,
        ci_low=low,
        ci_high=high,
        n_scans=held_out.n_scans,
        n_patients=held_out.n_patients,
        n_seeds=len(runs.seeds),
        n_models=len(runs.models),
        per_model={name: float(v) for name, v in zip(runs.models, by_model, strict=True)} if several else {},
    )


def estimate_excesses(
    target: Measured, baselines: Sequence[Measured], *, confidence: float
) -> dict[ExcessEstimate, Composed]:
    """Return every metric's excess over every baseline, and that of the class that stands out most, if any is asked;
    each with what its uncertainty is made of.

    The two attacks are paired: same held-out scans under the same resampling weights, same attacker seeds. Over a
    baseline of R fresh initialisations, the interval allows for random weights on both sides, 1/m + 1/R times the
    variance between initialisations for a target of m models: a target that is no more than another draw of
    fresh weights is called a leak no more often than the interval promises.
    """
    plain = [metric for metric in target.values if metric not in target.classes]
    found = [pair for metric in plain for pair in _over_baselines(target, baselines, metric, confidence)]
    if target.classes:
        several = 1.0 - (1.0 - confidence) / len(target.classes)
        of_classes = [_over_baselines(target, baselines, metric, several) for metric in target.classes]
        clearest = max(of_classes, key=lambda over: min(e.ci_low for e, _ in over))
        found += [
            (replace(e, strongest_of=len(of_classes), p_value=min(1.0, len(of_classes) * e.p_value)), spread)
            for e, spread in clearest
        ]
    return dict(found)


def _over_baselines(
    target: Measured, baselines: Sequence[Measured], metric: str, confidence: float
) -> list[tuple[ExcessEstimate, Composed]]:
    """Return the excess over every baseline: the strongest is marked, and those not clearly weaker than it."""
    sign = metric_of(metric).sign
    best = max(baselines, key=lambda baseline: sign * baseline.point(metric))
    found = []
    for baseline in baselines:
        excess, spread = _paired(target, baseline, metric, confidence)
        as_good = baseline is best or paired_difference(best, baseline, metric, confidence).ci_low <= 0.0
        found.append((replace(excess, best_baseline=baseline is best, as_good=as_good), spread))
    return found


def paired_difference(target: Measured, baseline: Measured, metric: str, confidence: float) -> ExcessEstimate:
    """Return how much stronger the attack on ``target`` is, with interval and p-value; no baseline is marked best."""
    return _paired(target, baseline, metric, confidence)[0]


def _paired(target: Measured, baseline: Measured, metric: str, confidence: float) -> tuple[ExcessEstimate, Composed]:
    own, theirs = 1.0 / len(target.runs.models), 1.0 / len(baseline.runs.models)
    drawn = target.initialisations(metric, own)  # none, unless two baselines are compared
    drawn += baseline.initialisations(metric, own + theirs if target.runs.role == "target" else theirs)
    value, spread = difference(target, baseline, metric, drawn)
    highest = target.largest_difference(metric)
    low, high = spread.interval(value, confidence, low=-highest, high=highest)
    excess = ExcessEstimate(
        attack=target.runs.attack,
        baseline=baseline.runs.attack.target,
        metric=metric.partition("/")[0],
        of_class=metric.partition("/")[2],
        standard_error=spread.standard_error,
        degrees=spread.degrees,
        value=value,
        ci_low=low,
        ci_high=high,
        p_value=spread.p_value(value),
        best_baseline=False,
        patients_share=_share(spread, spread.patients),
        seeds_share=_share(spread, *spread.drawn[: len(spread.drawn) - len(drawn)]),
    )
    return excess, spread


def _share(spread: Composed, *components: Component) -> float:
    return sum(one.variance for one in components) / spread.variance if spread.variance > 0.0 else 0.0


def difference(
    one: Measured,
    other: Measured,
    metric: str,
    known: Sequence[Component] = (),
    *,
    floor: float | None = None,
) -> tuple[float, Composed]:
    """Return how much stronger attack ``one`` is and the uncertainty of that, paired by scan, and by seed if equal."""
    ours, theirs = (metric_of(metric).sign * attack.by_seed(metric) for attack in (one, other))
    paired = one.runs.seeds == other.runs.seeds  # else the seeds of the two are independent draws
    draws = (ours - theirs,) if paired else (ours, -theirs)
    estimate = np.sum([values.mean(axis=1) for values in draws], axis=0)
    spread = uncertainty(
        estimate,
        draws,
        one.resampling,
        known=known,
        floor=one.least_variance(metric) if floor is None else floor,
        patients=one.effective_patients(metric) if metric in one.classes else None,
    )
    return float(estimate[0]), spread


def compare_targets(measured: Sequence[Measured], *, confidence: float) -> list[ExcessEstimate]:
    """Return how much stronger the attack on each target is than the same attack on each other one.

    Paired by held-out scan and attacker seed. The intervals hold for the models as they are: they say nothing of
    how far the same recipe, trained again, would move. Every pair appears once, in the attribute's main metric, the
    stronger target first and the other in the place of the baseline. Baselines are passed over.
    """
    found = []
    for one, other in combinations([one for one in measured if one.runs.role == "target"], 2):
        if one.runs.attack.access == other.runs.attack.access and one.runs.seeds == other.runs.seeds:
            metric = one.runs.held_out.attribute.metric
            difference = paired_difference(one, other, metric, confidence)
            found.append(difference if difference.value >= 0.0 else paired_difference(other, one, metric, confidence))
    return found


@dataclass(frozen=True, kw_only=True)
class CellEstimates:
    """All numbers of the attacks on one attribute at one exposed fraction; ``spreads`` are the excesses'."""

    metrics: list[MetricEstimate]
    excesses: list[ExcessEstimate]
    spreads: dict[ExcessEstimate, Composed]
    comparisons: list[ExcessEstimate]


def estimate_cell(
    cell: Sequence[AttackRuns],
    baselines_of: Callable[[AttackRuns, Sequence[AttackRuns]], Sequence[AttackRuns]],
    resampling: Resampling,
    *,
    confidence: float,
    members: Sequence[AttackRuns] = (),
    of_members: Resampling | None = None,
) -> CellEstimates:
    """Measure attacks on the same held-out scans, and hold targets against baselines and against each other.

    What a target remembers of its own training patients is how much stronger an attack is on ``members`` than on
    held-out scans, less the same difference of the baseline: which scans are easy, and what every scan of a hospital
    has in common, cancels. Members and held-out scans are of different patients, so the two are resampled apart.

    Args:
        cell: attacks on one attribute at one exposed fraction.
        baselines_of: returns a target's baselines among attacks.
        resampling: of the held-out scans.
        confidence: coverage of every interval.
        members: the same attacks scored on training scans that no attacker holds; those that were.
        of_members: their resampling.

    Raises:
        AuditError: an attack on members of which there is none on held-out scans, with other models or seeds.
    """
    held_out = [measure(runs, resampling) for runs in cell]
    of_training = [measure(runs, of_members) for runs in members] if of_members is not None else []
    gaps = [on_members_beyond(one, _on_held_out(one, held_out)) for one in of_training]
    spreads: dict[ExcessEstimate, Composed] = {}
    for measured in (held_out, gaps):
        by_runs = {id(one.runs): one for one in measured}
        for one in measured:
            if one.runs.role == "target":
                baselines = baselines_of(one.runs, [other.runs for other in measured])
                spreads |= estimate_excesses(one, [by_runs[id(b)] for b in baselines], confidence=confidence)
    attacks = [*held_out, *of_training]
    found = [metric for one in attacks for metric in estimate_metrics(one, confidence=confidence)]
    excesses = list(spreads)
    return CellEstimates(
        metrics=found + _of_classes(attacks, excesses, confidence),
        excesses=excesses,
        spreads=spreads,
        comparisons=compare_targets(held_out, confidence=confidence),
    )


def _on_held_out(one: Measured, held_out: Sequence[Measured]) -> Measured:
    runs = one.runs
    for other in held_out:
        alike = (other.runs.models, other.runs.seeds) == (runs.models, runs.seeds)
        if alike and other.runs.attack == replace(runs.attack, scans=HELD_OUT):
            return other
    raise AuditError(f"{runs.attack}: no scores of the same models and seeds on held-out scans; run the attack again")


def _of_classes(
    measured: Sequence[Measured], excesses: Sequence[ExcessEstimate], confidence: float
) -> list[MetricEstimate]:
    """Return the areas of single classes that excesses are about, of the targets and of their baselines."""
    about = {
        (f"{ONE_CLASS}/{e.of_class}", replace(e.attack, target=name, access=access))
        for e in excesses
        for name in (e.attack.target, e.baseline)
        for access in (e.attack.access, NO_ACCESS)
    }
    return [
        _estimate(one, metric, confidence)
        for one in measured
        for metric in one.classes
        if (metric, one.runs.attack) in about
    ]
