"""The audit of attribute attacks: score tables in, numbers with intervals and verdicts out."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from flprivacy.auditing.baselines import NO_TWIN, baselines_of
from flprivacy.auditing.caveats import few_patients
from flprivacy.auditing.config import AuditConfig
from flprivacy.auditing.estimates import CellEstimates, estimate_cell
from flprivacy.auditing.plots import confusions, curves_with_bands, scatters
from flprivacy.auditing.runs import AttackRuns, collect_runs
from flprivacy.auditing.uncertainty import resample_patients
from flprivacy.auditing.verdicts import few_seeds, judge
from flprivacy.core.audit import (
    INCONCLUSIVE,
    NO_LEAK,
    AgeScatter,
    ConfusionMatrix,
    Curve,
    ExcessEstimate,
    MetricEstimate,
    Verdict,
)
from flprivacy.core.errors import AuditError
from flprivacy.core.progress import progress
from flprivacy.core.scores import ScoreTable
from flprivacy.core.target_source import UNKNOWN

if TYPE_CHECKING:
    import pandas as pd

LOGGER = logging.getLogger(__name__)


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


def audit_attributes(tables: Sequence[ScoreTable], curves: "pd.DataFrame", *, config: AuditConfig) -> AttributeAudit:
    """Judge every target by the attacks on it, held against the baselines.

    The same functions as in :func:`flprivacy.auditing.arrays.audit_attribute`, for whole studies: every attribute,
    access, exposed fraction and target.

    Args:
        tables: score tables of all targets and baselines, all from one cohort.
        curves: per-epoch curves of the attacks, columns ``flprivacy.core.scores.CURVE_COLUMNS``.
        config: confidence, bootstrap and policy.

    Raises:
        AuditError: the tables contradict each other, lack a baseline, a seed or a model, hold an attribute that does
            not vary, or the policy asks for what was not audited.
    """
    found = collect_runs(tables)
    attacks = [runs for of_attribute in found.values() for runs in of_attribute]
    note = few_seeds(min(len(runs.seeds) for runs in attacks))
    if note:
        LOGGER.warning("%s; add seeds to the attack", note)
    cells = _estimate_cells(found, config)
    metrics = tuple(estimate for cell in cells for estimate in cell.metrics)
    excesses = tuple(estimate for cell in cells for estimate in cell.excesses)
    missing = {runs.attack: NO_TWIN for runs in attacks if runs.architecture == UNKNOWN}
    rules, confidence = config.policy.rules, config.confidence
    verdicts = judge(metrics, excesses, rules, confidence=confidence, note=note, missing=missing)
    doubts = {table.target: table.doubt for table in tables}
    unseen = {name: few_patients(of_attribute[0].held_out) for name, of_attribute in found.items()}
    verdicts = [_with_caveat(verdict, unseen[verdict.attack.attribute]) for verdict in verdicts]
    return AttributeAudit(
        metrics=metrics,
        excesses=excesses,
        comparisons=tuple(estimate for cell in cells for estimate in cell.comparisons),
        verdicts=tuple(
            _doubted(_with_caveat(verdict, missing.get(verdict.attack, "")), doubts[verdict.attack.target])
            for verdict in verdicts
        ),
        confusions=tuple(confusions(attacks)),
        scatters=tuple(scatters(attacks)),
        curves=tuple(curves_with_bands(curves, confidence=config.confidence)),
        left_out=_left_out(tables),
    )


def _with_caveat(verdict: Verdict, caveat: str) -> Verdict:
    said = not caveat or caveat in verdict.reason
    return verdict if said else replace(verdict, reason=f"{verdict.reason}; {caveat}")


def _doubted(verdict: Verdict, doubt: str) -> Verdict:
    """Return a verdict that does not clear a target of which it is in doubt whether it was seen as it works."""
    if not doubt or verdict.verdict != NO_LEAK:
        return verdict
    return replace(verdict, verdict=INCONCLUSIVE, reason=f"{doubt}; if it saw what it was trained on: {verdict.reason}")


def _estimate_cells(found: dict[str, list[AttackRuns]], config: AuditConfig) -> list[CellEstimates]:
    cells: list[CellEstimates] = []
    with progress("intervals", sum(map(len, found.values()))) as counter:
        for of_attribute in found.values():
            patients = of_attribute[0].held_out.patients
            resampling = resample_patients(patients, replicates=config.bootstrap, seed=config.seed)
            for fraction in sorted({runs.attack.fraction for runs in of_attribute}):
                # One fraction at a time, for the replicates of all attacks would not fit in memory.
                cell = [runs for runs in of_attribute if runs.attack.fraction == fraction]
                cells.append(estimate_cell(cell, baselines_of, resampling, confidence=config.confidence))
                counter.advance(len(cell))
    return cells


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
