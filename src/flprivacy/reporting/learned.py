"""What training put into a model's answers beyond fresh weights, where the scan itself still tells more.

Such a target is no leak for someone who holds the scans, and one for someone who is handed features or answers alone.
"""

from flprivacy.core.audit import LEAK, Audit, ExcessEstimate, Verdict
from flprivacy.reporting import words
from flprivacy.reporting.findings import decided, targets

WITHOUT_MODEL = ("pixels", "majority")


def learned_lines(audit: Audit) -> tuple[str, ...]:
    """Return a sentence a target whose attack clearly beats fresh weights but not an attacker without any model."""
    return tuple(line for target in targets(audit) if (line := _line(audit, target.name)))


def _line(audit: Audit, target: str) -> str:
    parts = []
    for verdict in decided(audit, target):
        least = min(_over_models(audit, verdict), key=lambda e: e.value, default=None)
        if verdict.verdict != LEAK and least is not None and least.ci_low > verdict.threshold:
            parts.append(_part(verdict, least))
    if not parts:
        return ""
    return (
        f"Training put into {target} what fresh weights do not tell: {words.listed(parts)}. The scans' own pixels tell "
        "as much or more, so this matters where features or answers are shared without the scans."
    )


def _over_models(audit: Audit, verdict: Verdict) -> list[ExcessEstimate]:
    """Return the excess over every baseline that is a model, such as fresh weights."""
    return [
        e
        for e in audit.excesses
        if e.baseline not in WITHOUT_MODEL
        and (e.target, e.attribute, e.access) == (verdict.target, verdict.attribute, verdict.access)
        and (e.fraction, e.metric) == (verdict.fraction, verdict.metric)
    ]


def _part(verdict: Verdict, excess: ExcessEstimate) -> str:
    bounds = words.interval(excess.ci_low, excess.ci_high, excess.metric)
    amount = f"{words.signed(excess.value, excess.metric)}{words.unit(excess.metric)} {bounds}"
    return f"{words.attribute_name(verdict.attribute)} from {verdict.access} {amount}"
