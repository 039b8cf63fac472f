"""The audit of attribute attacks: score tables in, numbers with intervals and verdicts out."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from flprivacy.auditing.associations import associations
from flprivacy.auditing.baselines import NO_TWIN, baselines_of
from flprivacy.auditing.config import AuditConfig
from flprivacy.auditing.estimates import CellEstimates, estimate_cell
from flprivacy.auditing.plots import confusions, curves_with_bands, scatters
from flprivacy.auditing.runs import AttackRuns, HeldOut, collect_runs
from flprivacy.auditing.uncertainty import Resampling, resample_patients
from flprivacy.auditing.verdicts import few_seeds, judge
from flprivacy.core.attributes import MEMBERS
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
from flprivacy.core.vocabulary import MEMORISED

if TYPE_CHECKING:
    import pandas as pd

LOGGER = logging.getLogger(__name__)
_FEW_PATIENTS = 60  # of fewer, an error that befalls one patient in 20 is missing from more than 5% of samples


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
    associations: dict[str, dict[str, float]]


def audit_attributes(
    tables: Sequence[ScoreTable],
    curves: "pd.DataFrame",
    *,
    config: AuditConfig,
    lacking: Mapping[str, str] | None = None,
) -> AttributeAudit:
    """Judge every target by the attacks on it, held against the baselines.

    The same functions as in :func:`flprivacy.auditing.arrays.audit_attribute`, for whole studies: every attribute,
    access, exposed fraction and target.

    Args:
        tables: score tables of all targets and baselines, all from one cohort.
        curves: per-epoch curves of the attacks, columns ``flprivacy.core.scores.CURVE_COLUMNS``.
        config: confidence, bootstrap and policy.
        lacking: target -> which baseline of it failed, in words; it is then never called a leak, and the reason says
            so.

    Raises:
        AuditError: the tables contradict each other, lack a baseline, a seed or a model, hold an attribute that does
            not vary, or the policy asks for what was not audited.
    """
    found = collect_runs(tables)
    attacks = [runs for of_attribute in found.values() for runs in of_attribute]
    note = few_seeds(min(len(runs.seeds) for runs in attacks))
    if note:
        LOGGER.warning("%s; add seeds to the attack", note)
    lacking = lacking or {}
    cells = _estimate_cells(found, collect_runs(tables, scans=MEMBERS), config, lacking)
    metrics = tuple(estimate for cell in cells for estimate in cell.metrics)
    excesses = tuple(estimate for cell in cells for estimate in cell.excesses)
    absent = {runs.attack.target: NO_TWIN for runs in attacks if runs.architecture == UNKNOWN} | dict(lacking)
    missing = {e.attack: absent[e.attack.target] for e in excesses if e.attack.target in absent}
    rules, confidence = config.policy.rules, config.confidence
    spreads = {excess: spread for cell in cells for excess, spread in cell.spreads.items()}
    verdicts = judge(metrics, excesses, rules, confidence=confidence, note=note, missing=missing, spreads=spreads)
    doubts = {table.target: table.doubt for table in tables}
    unseen = {name: few_patients(of_attribute[0].held_out) for name, of_attribute in found.items()}
    verdicts = [not_cleared(verdict, unseen[verdict.attack.attribute]) for verdict in verdicts]
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
        associations=associations([of_attribute[0].held_out for of_attribute in found.values()]),
    )


def _with_caveat(verdict: Verdict, caveat: str) -> Verdict:
    said = not caveat or caveat in verdict.reason
    return verdict if said else replace(verdict, reason=f"{verdict.reason}; {caveat}")


def _doubted(verdict: Verdict, doubt: str) -> Verdict:
    """Return a verdict that does not clear a target of which it is in doubt whether it was seen as it works."""
    if not doubt or verdict.verdict != NO_LEAK:
        return verdict
    return replace(verdict, verdict=INCONCLUSIVE, reason=f"{doubt}; if it saw what it was trained on: {verdict.reason}")


def _estimate_cells(
    found: dict[str, list[AttackRuns]],
    members: dict[str, list[AttackRuns]],
    config: AuditConfig,
    lacking: Mapping[str, str],
) -> list[CellEstimates]:
    cells: list[CellEstimates] = []
    with progress("intervals", sum(map(len, found.values()))) as counter:
        for attribute, of_attribute in found.items():
            rule = config.policy.rules.get(attribute)
            of_members = members.get(attribute, []) if rule is not None and MEMORISED in rule.asked() else []
            resampling = _resampled(of_attribute, config, 0)
            of_training = _resampled(of_members, config, 1) if of_members else None
            for fraction in sorted({runs.attack.fraction for runs in of_attribute}):
                # One fraction at a time, for the replicates of all attacks would not fit in memory.
                cell = [runs for runs in of_attribute if runs.attack.fraction == fraction]
                found_here = estimate_cell(
                    cell,
                    lambda target, others: baselines_of(target, others, lacking=target.attack.target in lacking),
                    resampling,
                    confidence=config.confidence,
                    members=[runs for runs in of_members if runs.attack.fraction == fraction],
                    of_members=of_training,
                )
                cells.append(found_here)
                counter.advance(len(cell))
    return cells


def _resampled(runs: Sequence[AttackRuns], config: AuditConfig, stream: int) -> Resampling:
    return resample_patients(runs[0].held_out.patients, replicates=config.bootstrap, seed=config.seed, stream=stream)


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


def few_patients(held_out: HeldOut) -> str:
    """Return the caveat that errors in years which befall few patients may be missing from the sample, or nothing.

    A mean error may rest on a handful of patients whose age is missed by decades. Where by chance none of them is held
    out, nothing in the sample shows that there are any: of 40 patients one in 20 is missing in 13% of samples. The
    interval of a single attack's error allows for that, by how large an error can be at all; that of a difference of
    two attacks would be too wide to tell anything.
    """
    n = held_out.n_patients
    if not held_out.attribute.is_regression or n >= _FEW_PATIENTS:
        return ""
    return (
        f"of {n} held-out patients, gross errors that befall one in {round(n / 3)} or fewer may be missing, and the "
        f"excess does not allow for them; hold out {_FEW_PATIENTS} or more"
    )


def not_cleared(verdict: Verdict, caveat: str) -> Verdict:
    """Return a verdict with a caveat, if there is one; what the interval does not know clears no target."""
    if not caveat:
        return verdict
    if verdict.verdict == NO_LEAK:
        return replace(verdict, verdict=INCONCLUSIVE, reason=f"{caveat}; of those held out: {verdict.reason}")
    return replace(verdict, reason=f"{verdict.reason}; {caveat}")
