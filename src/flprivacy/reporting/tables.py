"""The report's tables as plain records, so that the page's templates only lay them out."""

from collections.abc import Iterable
from dataclasses import dataclass

from flprivacy.core.attributes import NO_ACCESS, SITE, AttackKey
from flprivacy.core.audit import Audit, MetricEstimate, Verdict
from flprivacy.core.target import PrivacyStatement
from flprivacy.reporting.findings import (
    accesses,
    attacks,
    attributes,
    baselines,
    decisive_fraction,
    decisive_metric,
    estimate,
    order,
    targets,
    verdicts,
)


@dataclass(frozen=True, kw_only=True)
class AttackTable:
    """One attack, on no target in particular: its verdicts, target by target."""

    attack: AttackKey
    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True, kw_only=True)
class GlanceRow:
    """One target and way of access: its verdict for each attribute, None where there is none."""

    target: str
    access: str
    verdicts: tuple[Verdict | None, ...]


@dataclass(frozen=True, kw_only=True)
class BaselineRow:
    """One baseline: for each attribute, (way of access, strength) pairs at the deciding fraction."""

    name: str
    strengths: tuple[tuple[MetricEstimate, ...], ...]


@dataclass(frozen=True, kw_only=True)
class GuaranteeRow:
    """One private target: what it guarantees.

    Attributes:
        target: its name.
        privacy: the statement of its training.
        noise: noise over clip norm, as a number or a range.
        clients: budgets of its sites or models, as a number or a range; empty where there is only one.
    """

    target: str
    privacy: PrivacyStatement
    noise: str
    clients: str


@dataclass(frozen=True, kw_only=True)
class SpreadRow:
    """How one attack fares over a target's models."""

    attack: AttackKey
    metric: str
    low: float
    low_model: str
    mean: float
    high: float
    high_model: str


@dataclass(frozen=True, kw_only=True)
class ModelsTable:
    """The models of one target: the spread of every attack, and every number behind it.

    Attributes:
        target: its name.
        spreads: one row an attack.
        models: names of the models.
        values: (model, attack) strengths; None where a model was not attacked.
    """

    target: str
    spreads: tuple[SpreadRow, ...]
    models: tuple[str, ...]
    values: tuple[tuple[float | None, ...], ...]


def attack_tables(audit: Audit) -> tuple[AttackTable, ...]:
    """Return the verdicts, attack by attack."""
    rows = verdicts(audit)
    return tuple(AttackTable(attack=a, verdicts=tuple(v for v in rows if v.attack.on("") == a)) for a in attacks(audit))


def judged_attributes(audit: Audit) -> tuple[str, ...]:
    """Return the attributes that the policy decided about."""
    judged = {v.attack.attribute for v in audit.verdicts}
    return tuple(a for a in attributes(audit) if a in judged)


def glance(audit: Audit) -> tuple[GlanceRow, ...]:
    """Return the verdicts as a matrix: a row per target and access, a column per judged attribute.

    Where an attribute was judged at several exposed fractions, the largest counts.
    """
    columns = judged_attributes(audit)
    by_fraction = sorted(audit.verdicts, key=lambda v: v.attack.fraction)
    found = {(v.attack.target, v.attack.access, v.attack.attribute): v for v in by_fraction}
    ways = dict.fromkeys(way for attribute in columns for way in accesses(audit, attribute))
    rows = []
    for target in targets(audit):
        for way in ways:
            cells = tuple(found.get((target.name, way, attribute)) for attribute in columns)
            if any(cells):
                rows.append(GlanceRow(target=target.name, access=way, verdicts=cells))
    return tuple(rows)


def attacked_attributes(audit: Audit) -> tuple[str, ...]:
    """Return the attributes that metrics exist for."""
    measured = {m.attack.attribute for m in audit.metrics}
    return tuple(a for a in attributes(audit) if a in measured)


def baseline_rows(audit: Audit) -> tuple[BaselineRow, ...]:
    """Return the strength of every baseline, for each attacked attribute, at the deciding fraction and metric."""
    rows = []
    for baseline in baselines(audit):
        strengths = tuple(_strengths(audit, baseline.name, attribute) for attribute in attacked_attributes(audit))
        rows.append(BaselineRow(name=baseline.name, strengths=strengths))
    return tuple(rows)


def _strengths(audit: Audit, name: str, attribute: str) -> tuple[MetricEstimate, ...]:
    wanted = (name, attribute, decisive_fraction(audit, attribute))
    metric, ways = decisive_metric(audit, attribute), (*accesses(audit, attribute), NO_ACCESS)
    found = [
        m
        for m in audit.metrics
        if (m.attack.target, m.attack.attribute, m.attack.fraction) == wanted and m.metric == metric
    ]
    return tuple(sorted(found, key=lambda m: ways.index(m.attack.access)))


def guarantee_rows(audit: Audit) -> tuple[GuaranteeRow, ...]:
    """Return what each private target guarantees, in the audit's order."""
    return tuple(
        GuaranteeRow(
            target=summary.name,
            privacy=summary.privacy,
            noise=_range(summary.privacy.noise_multipliers.values()),
            clients=_range(summary.privacy.client_epsilons.values()),
        )
        for summary in targets(audit)
        if summary.privacy is not None
    )


def _range(values: Iterable[float]) -> str:
    """Return numbers as one number where they round alike, else as lowest and highest."""
    shown = list(dict.fromkeys(f"{value:.3g}" for value in sorted(values)))
    return shown[0] if len(shown) == 1 else f"{shown[0]} to {shown[-1]}" if shown else ""


def models_tables(audit: Audit) -> tuple[ModelsTable, ...]:
    """Return the models of every target that holds several, targets before baselines."""
    tables = (_models_table(audit, name) for name in order(audit))
    return tuple(table for table in tables if table is not None)


def _models_table(audit: Audit, target: str) -> ModelsTable | None:
    estimates = [e for e in _decisive_estimates(audit, target) if len(e.per_model) > 1]
    if not estimates:
        return None
    models = tuple(dict.fromkeys(name for e in estimates for name in e.per_model))
    values = tuple(tuple(e.per_model.get(model) for e in estimates) for model in models)
    return ModelsTable(target=target, spreads=tuple(map(_spread, estimates)), models=models, values=values)


def _decisive_estimates(audit: Audit, target: str) -> Iterable[MetricEstimate]:
    for attribute in attributes(audit):
        fraction = decisive_fraction(audit, attribute)
        for access in accesses(audit, attribute):
            if fraction is not None:
                attack = AttackKey(target=target, attribute=attribute, access=access, fraction=fraction)
                found = estimate(audit, attack, decisive_metric(audit, attribute))
                if found is not None:
                    yield found


def _spread(measured: MetricEstimate) -> SpreadRow:
    low = min(measured.per_model, key=lambda name: measured.per_model[name])
    high = max(measured.per_model, key=lambda name: measured.per_model[name])
    return SpreadRow(
        attack=measured.attack,
        metric=measured.metric,
        low=measured.per_model[low],
        low_model=low,
        mean=measured.value,
        high=measured.per_model[high],
        high_model=high,
    )


def site_names(audit: Audit) -> dict[str, str]:
    """Return model name -> hospital, for siloed models (``site-03`` is the fourth site) whose hospital is known."""
    classes = next((c.class_names for c in audit.confusions if c.attack.attribute == SITE.name), ())
    names = {f"site-{i:02d}": name for i, name in enumerate(classes)}
    return {model: name for model, name in names.items() if model != name}
