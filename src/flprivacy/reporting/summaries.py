"""What the KFP UI shows of an audit: a few numbers and one confusion matrix."""

from flprivacy.core.audit import Audit


def verdict_metrics(audit: Audit) -> dict[str, float]:
    """Return strength and excess of every attack at the deciding exposed fraction, by a readable name."""
    metrics: dict[str, float] = {}
    for v in audit.verdicts:
        stem = f"{v.target}.{v.attribute}.{v.access}"
        metrics[f"{stem}.{v.metric}"] = v.value
        metrics[f"{stem}.excess"] = v.excess
    return metrics


def strongest_confusion(audit: Audit) -> tuple[list[str], list[list[int]]] | None:
    """Return (site names, rounded counts [truth][prediction]) of the strongest site attack; None without one."""
    sites = [v for v in audit.verdicts if v.attribute == "site"]
    if not sites:
        return None
    best = max(sites, key=lambda v: v.value)
    for matrix in audit.confusions:
        same = (matrix.target, matrix.attribute, matrix.access) == (best.target, best.attribute, best.access)
        if same and matrix.fraction == best.fraction:
            return list(matrix.class_names), [[round(count) for count in row] for row in matrix.counts]
    return None
