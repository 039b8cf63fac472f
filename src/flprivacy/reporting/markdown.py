"""The verdicts in short: a page of Markdown for Kubeflow's and MLflow's web pages, and numbers for Kubeflow's alone."""

import re
from collections.abc import Iterable

from flprivacy.core.attributes import HELD_OUT, MEMBERS, SITE
from flprivacy.core.audit import Audit, Verdict
from flprivacy.core.change import AuditChange
from flprivacy.core.membership import MembershipFinding
from flprivacy.reporting import failures, membership, sentences, words
from flprivacy.reporting.findings import decided, targets

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|#])")
_HEADINGS = ("Target", "Attack", "Strength", "Best baseline", "Excess", "Verdict")
_LEVELS = {
    "scan": "which scans it was trained on",
    "patient": "which patients it was trained on",
    "site": "which hospitals took part",
}


def verdicts_page(audit: Audit, change: AuditChange | None = None) -> str:
    """Return the audit's first line, a line for each target, and a table of all verdicts with intervals.

    Nothing in the audit is taken for markup.

    Args:
        audit: what was found.
        change: what changed since the last audit; None if that was not asked.
    """
    lines = [f"**{_plain(sentences.overall(audit))}**", ""]
    if change is not None:
        lines += [f"Since the last audit: **{_plain(change.verdict)}** ({_plain(change.reason)})", ""]
    lines += [f"- {_plain(line)}" for line in failures.lines(audit)]
    lines += [f"- {_plain(found.advice)}" for found in sentences.headlines(audit)]
    rows = [
        *(_of_members(one) for one in audit.membership if one.attacks or one.sites is not None),
        *(_of_attack(verdict) for target in targets(audit) for verdict in decided(audit, target.name)),
    ]
    if rows:
        interval = words.interval_name(audit)
        headings = [f"{name} [{interval}]" if name == "Excess" else name for name in _HEADINGS]
        lines += ["", _row(headings), _row(["---"] * len(headings)), *rows]
    return "\n".join(lines) + "\n"


def _of_attack(verdict: Verdict) -> str:
    metric = verdict.metric
    bounds = words.interval(verdict.ci_low, verdict.ci_high, metric)
    cells = [
        verdict.attack.target,
        words.attack_on(verdict.attack),
        words.number(verdict.value, metric),
        f"{words.shorten(verdict.baseline)} {words.number(verdict.baseline_value, metric)}",
        f"{words.signed(verdict.excess, metric)} {bounds}",
        f"{words.GLYPHS.get(verdict.verdict, '')} {verdict.verdict}".strip(),
    ]
    return _row(map(_plain, cells))


def _of_members(finding: MembershipFinding) -> str:
    best = max(finding.attacks, key=lambda attack: attack.auc.value, default=None)
    auc = f"AUC {membership.area(best.auc)}, {best.attack}" if best is not None else ""
    if finding.sites is not None:
        auc = f"AUC {membership.area(finding.sites.auc)}, {finding.sites.references} site references"
    verdict = f"{words.GLYPHS.get(finding.verdict, '')} {finding.verdict}".strip()
    return _row(map(_plain, (finding.target, _LEVELS.get(finding.level, finding.level), auc, "0.5", "", verdict)))


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _plain(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def verdict_metrics(audit: Audit) -> dict[str, float]:
    """Return each target's utility, and strength and excess of every attack at the deciding fraction, by name."""
    metrics = {f"{t.name}.{name}": value for t in audit.targets for name, value in t.metrics().items()}
    for v in audit.verdicts:
        stem = f"{v.attack.target}.{v.attack.attribute}.{v.attack.access}{'.members' * (v.attack.scans == MEMBERS)}"
        metrics[f"{stem}.{v.metric}"] = v.value
        metrics[f"{stem}.excess"] = v.excess
    return metrics


def strongest_confusion(audit: Audit) -> tuple[list[str], list[list[int]]] | None:
    """Return (site names, rounded counts [truth][prediction]) of the strongest site attack; None without one."""
    sites = [v for v in audit.verdicts if (v.attack.attribute, v.attack.scans) == (SITE.name, HELD_OUT)]
    best = max(sites, key=lambda v: v.value, default=None)
    for matrix in audit.confusions:
        if best is not None and matrix.attack == best.attack:
            return list(matrix.class_names), [[round(count) for count in row] for row in matrix.counts]
    return None
