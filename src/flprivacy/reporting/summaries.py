"""What the KFP UI shows of an audit: a few numbers and one confusion matrix."""

from flprivacy.core.attributes import HELD_OUT, MEMBERS, SITE
from flprivacy.core.audit import Audit


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
