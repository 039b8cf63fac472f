"""The audit of attribute attacks: score tables in, numbers with intervals and verdicts out."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from flprivacy.auditing.baselines import baselines_of
from flprivacy.auditing.bootstrap import Resampling, resample_patients
from flprivacy.auditing.comparisons import compare_targets
from flprivacy.auditing.config import AuditConfig
from flprivacy.auditing.confusions import confusions
from flprivacy.auditing.curves import curves_with_bands
from flprivacy.auditing.estimates import estimate_metrics
from flprivacy.auditing.excess import estimate_excesses
from flprivacy.auditing.measures import measure
from flprivacy.auditing.runs import AttackRuns, collect_runs
from flprivacy.auditing.scatters import scatters
from flprivacy.auditing.verdicts import judge
from flprivacy.core.audit import AgeScatter, ConfusionMatrix, Curve, ExcessEstimate, MetricEstimate, Verdict
from flprivacy.core.errors import AuditError
from flprivacy.core.progress import progress
from flprivacy.core.scores import ScoreTable

LOGGER = logging.getLogger(__name__)
HONEST_SEEDS = 5

# Metrics, excesses over baselines, comparisons of targets.
_Estimates = tuple[list[MetricEstimate], list[ExcessEstimate], list[ExcessEstimate]]


@dataclass(frozen=True, kw_only=True)
class AttributeAudit:
    """What an audit of attribute attacks found: the fields of :class:`flprivacy.core.audit.Audit` of the same names.

    Caveats in plain words are part of the reasons of the verdicts that they bear on.
    """

    metrics: tuple[MetricEstimate, ...]
    excesses: tuple[ExcessEstimate, ...]
    comparisons: tuple[ExcessEstimate, ...]
    verdicts: tuple[Verdict, ...]
    confusions: tuple[ConfusionMatrix, ...]
    scatters: tuple[AgeScatter, ...]
    curves: tuple[Curve, ...]
    left_out: dict[str, int]


def audit_attributes(tables: Sequence[ScoreTable], curves: pd.DataFrame, *, config: AuditConfig) -> AttributeAudit:
    """Judge every target by the attacks on it, held against the baselines.

    Args:
        tables: score tables of all targets and baselines, all from one cohort.
        curves: per-epoch curves of the attacks, columns ``flprivacy.auditing.curves.CURVE_COLUMNS``.
        config: confidence, bootstrap and policy.

    Raises:
        AuditError: the tables contradict each other, lack a baseline, a seed or a model, hold an attribute that does
            not vary, or the policy asks for what was not audited.
    """
    found = collect_runs(tables)
    attacks = [runs for of_attribute in found.values() for runs in of_attribute]
    note = _few_seeds(attacks)
    metrics, excesses, comparisons = _estimates(found, config)
    return AttributeAudit(
        metrics=tuple(metrics),
        excesses=tuple(excesses),
        comparisons=tuple(comparisons),
        verdicts=tuple(judge(metrics, excesses, config.policy, note=note)),
        confusions=tuple(confusions(attacks)),
        scatters=tuple(scatters(attacks)),
        curves=tuple(curves_with_bands(curves, confidence=config.confidence)),
        left_out=_left_out(tables),
    )


def _few_seeds(attacks: Sequence[AttackRuns]) -> str:
    """Return the caveat on few attacker seeds, and log it; empty where there are enough."""
    fewest = min((len(runs.seeds) for runs in attacks), default=HONEST_SEEDS)
    if fewest >= HONEST_SEEDS:
        return ""
    note = f"only {fewest} attacker seeds, fewer than {HONEST_SEEDS}, so the spread over attackers is poorly known"
    LOGGER.warning("%s; the intervals allow for it by being wide; add seeds to the attack", note)
    return note


def _estimates(found: dict[str, list[AttackRuns]], config: AuditConfig) -> _Estimates:
    metrics: list[MetricEstimate] = []
    excesses: list[ExcessEstimate] = []
    comparisons: list[ExcessEstimate] = []
    with progress("intervals", sum(map(len, found.values()))) as counter:
        for of_attribute in found.values():
            held_out = of_attribute[0].held_out
            resampling = resample_patients(held_out.patients, replicates=config.bootstrap, seed=config.seed)
            for fraction in sorted({runs.fraction for runs in of_attribute}):
                # One fraction at a time, for the replicates of all attacks would not fit in memory.
                cell = [runs for runs in of_attribute if runs.fraction == fraction]
                more, over, among = _cell(cell, resampling, config.confidence)
                metrics += more
                excesses += over
                comparisons += among
                counter.advance(len(cell))
    return metrics, excesses, comparisons


def _cell(cell: Sequence[AttackRuns], resampling: Resampling, confidence: float) -> _Estimates:
    """Estimate all attacks on one attribute at one fraction."""
    held_against = {i: baselines_of(runs, cell) for i, runs in enumerate(cell) if runs.role == "target"}
    measured = [measure(runs, resampling) for runs in cell]
    metrics = [estimate for one in measured for estimate in estimate_metrics(one, confidence=confidence)]
    by_runs = {id(one.runs): one for one in measured}
    excesses = [
        estimate
        for i, baselines in held_against.items()
        for estimate in estimate_excesses(measured[i], [by_runs[id(runs)] for runs in baselines], confidence=confidence)
    ]
    return metrics, excesses, compare_targets(measured, confidence=confidence)


def _left_out(tables: Sequence[ScoreTable]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for table in tables:
        for attribute, count in table.left_out.items():
            if counts.setdefault(attribute, count) != count:
                raise AuditError(
                    f"{table.target}: {count} held-out scans left out of {attribute}, {counts[attribute]} elsewhere; "
                    "run all attacks and baselines again on the same cohort"
                )
    return counts
