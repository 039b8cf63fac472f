"""A realistic audit made in memory: numbers of plausible size, consistent between its parts."""

from dataclasses import dataclass, replace

import numpy as np

from flprivacy.core.attributes import AttackKey
from flprivacy.core.audit import (
    INCONCLUSIVE,
    LEAK,
    NO_LEAK,
    AgeScatter,
    Audit,
    ConfusionMatrix,
    Curve,
    ExcessEstimate,
    MetricEstimate,
    TargetSummary,
    Verdict,
)
from flprivacy.core.target import Utility

SITES_TRAIN = (4167, 304, 60, 234, 74, 250, 61, 90, 319, 764, 174, 1110, 272, 51, 237, 433, 91, 169, 807, 203, 1366)
EPOCHS = tuple(range(21))
CLASSIFICATION = ("f1_weighted", "f1_macro", "balanced_accuracy", "accuracy", "top3_accuracy")
THRESHOLDS = {"site": 0.02, "sex": 0.02, "age_band": 0.02, "age_years": 0.5}


@dataclass(frozen=True)
class Member:
    """One target or baseline: how strong attacks on it get (site, sex, age band in F1; age in years of error)."""

    name: str
    role: str
    topology: str | None
    models: tuple[str, ...]
    strength: dict[str, float]
    auc: float | None = None


def _strengths(site: float, sex: float, age_band: float, age_years: float) -> dict[str, float]:
    return {"site": site, "sex": sex, "age_band": age_band, "age_years": age_years}


def members(n_sites: int) -> tuple[Member, ...]:
    """Return the targets and baselines, targets in the order of the study's file."""
    silos = tuple(f"site-{i:02d}" for i in range(n_sites))
    inits = tuple(f"init-{i}" for i in range(5))
    return (
        Member("untrained", "baseline", "untrained", inits, _strengths(0.262, 0.605, 0.322, 11.9)),
        Member("siloed", "target", "siloed", silos, _strengths(0.334, 0.638, 0.352, 11.2), 0.781),
        Member(
            "central",
            "target",
            "central",
            ("model",),
            _strengths(0.512, 0.684, 0.391, 10.0),
            0.912,
        ),
        Member(
            "federated",
            "target",
            "federated",
            ("model",),
            _strengths(0.297, 0.633, 0.341, 11.1),
            0.894,
        ),
        Member("pixels", "baseline", None, ("model",), _strengths(0.304, 0.641, 0.336, 11.5)),
        Member("majority", "baseline", None, ("model",), _strengths(0.204, 0.352, 0.181, 13.4)),
    )


def example_audit(
    *,
    n_sites: int = 21,
    keep: tuple[str, ...] | None = None,
    attributes: tuple[str, ...] = ("site", "sex", "age_band", "age_years"),
    accesses: tuple[str, ...] = ("features", "outputs"),
    fractions: tuple[float, ...] = (0.1, 0.25),
    rename: dict[str, str] | None = None,
    partial: str | None = None,
    remembers: str = "",
) -> Audit:
    """Return an audit of central, siloed and federated training with their baselines.

    Args:
        n_sites: hospitals.
        keep: names of targets and baselines to keep; all if None.
        attributes: attacked attributes.
        accesses: ways of access.
        fractions: exposed fractions; the largest decides.
        rename: old name -> new name of targets.
        partial: target of which some tensors were not loaded.
        remembers: target of whose training patients attacks tell more than of others. Then all three questions are
            asked as they are now; else every baseline is held against every attack, so that all verdicts occur.
    """
    rng = np.random.default_rng([7, n_sites])
    cast = [m for m in members(n_sites) if keep is None or m.name in keep]
    metrics, curves, confusions, scatters = [], [], [], []
    for member in cast:
        for attribute in attributes:
            for access in ("none",) if member.topology is None else accesses:
                for fraction in fractions:
                    level = _level(member, attribute, access, fraction, max(fractions))
                    metrics += _metrics(rng, member, attribute, access, fraction, level)
                    if member.name != "majority":
                        curves.append(_curve(rng, member, attribute, access, fraction, level))
                    if attribute == "age_years":
                        scatters.append(_scatter(rng, member, access, fraction, level))
                    else:
                        confusions.append(_confusion(rng, member, attribute, access, fraction, level, n_sites))
    if remembers:
        metrics += _on_members(metrics, remembers)
    excesses = _excesses(metrics, ("features", "outputs") if remembers else ())
    verdicts = _verdicts(metrics, excesses, max(fractions))
    audit = Audit(
        name="demo",
        cohort_name="phantom-demo",
        cohort_digest="9f3c1d7ab2" * 6 + "77aa",
        cohort={"scans": 1600, "patients": 1212, "sites": n_sites, "shape": [16, 64, 64], "window_hu": [-1000, 400]},
        config=_config(attributes, accesses, fractions),
        targets=tuple(_summary(m, n_sites, partial) for m in cast),
        metrics=tuple(metrics),
        excesses=tuple(excesses),
        verdicts=tuple(verdicts),
        confusions=tuple(confusions),
        scatters=tuple(scatters),
        curves=tuple(curves),
        left_out={"sex": 11, "age_band": 14, "age_years": 14} if "sex" in attributes else {},
        provenance=_provenance(cast),
    )
    return renamed(audit, rename or {})


def renamed(audit: Audit, names: dict[str, str]) -> Audit:
    """Return the audit with targets renamed everywhere."""

    def new(record):
        values = {f: names[getattr(record, f)] for f in ("name", "baseline") if getattr(record, f, None) in names}
        if hasattr(record, "attack"):
            values["attack"] = record.attack.on(names.get(record.attack.target, record.attack.target))
        return replace(record, **values)

    parts = ("targets", "metrics", "excesses", "verdicts", "confusions", "scatters", "curves")
    return replace(audit, **{part: tuple(map(new, getattr(audit, part))) for part in parts})


def _level(member: Member, attribute: str, access: str, fraction: float, largest: float) -> float:
    base = member.strength[attribute]
    if member.name == "majority":
        return base
    floor = _strengths(0.204, 0.5, 0.25, 13.0)[attribute]
    share = (0.55 if access == "outputs" else 1.0) * (fraction / largest) ** 0.25
    return floor + (base - floor) * share


def _metrics(rng, member, attribute, access, fraction, level):
    names = ("mae_years",) if attribute == "age_years" else CLASSIFICATION
    factors = {"f1_macro": 0.72, "balanced_accuracy": 0.78, "accuracy": 1.05, "top3_accuracy": 1.35}
    found = []
    for name in names:
        if name == "top3_accuracy" and attribute != "site":
            continue
        value = float(min(level * factors.get(name, 1.0), 0.99)) if name != "mae_years" else float(level)
        half = 0.35 if name == "mae_years" else 0.021
        per_model = {}
        if len(member.models) > 1:
            draws = rng.normal(0, 0.03 * value, len(member.models))
            per_model = dict(zip(member.models, (value + draws - draws.mean()).tolist(), strict=True))
        found.append(
            MetricEstimate(
                attack=AttackKey(target=member.name, attribute=attribute, access=access, fraction=fraction),
                role=member.role,
                metric=name, value=value, ci_low=value - half, ci_high=value + half, n_scans=412, n_patients=303,
                n_seeds=5, n_models=len(member.models), per_model=per_model,
            )
        )  # fmt: skip
    return found


def _on_members(metrics, remembers):
    """Return how strong the attacks are on training scans that no attacker holds."""
    found = []
    for m in metrics:
        more = {"f1_weighted": 0.3, "mae_years": -3.0}.get(m.metric, 0.0) * (m.attack.target == remembers)
        key = replace(m.attack, scans="members")
        found.append(replace(m, attack=key, value=m.value + more, ci_low=m.ci_low + more, ci_high=m.ci_high + more))
    return found


def _curve(rng, member, attribute, access, fraction, level):
    start = _strengths(0.04, 0.42, 0.16, 16.0)[attribute]
    steps = np.arange(len(EPOCHS))
    mean = level + (start - level) * np.exp(-steps / 4.0) + rng.normal(0, abs(level - start) * 0.012, len(EPOCHS))
    mean[-1] = level
    half = abs(level - start) * (0.05 + 0.06 * np.exp(-steps / 6.0))
    return Curve(
        attack=AttackKey(target=member.name, attribute=attribute, access=access, fraction=fraction),
        metric="mae_years" if attribute == "age_years" else "f1_weighted", epochs=EPOCHS,
        mean=tuple(mean.tolist()), low=tuple((mean - half).tolist()), high=tuple((mean + half).tolist()),
    )  # fmt: skip


def _confusion(rng, member, attribute, access, fraction, level, n_sites):
    if attribute == "site":
        sizes = np.maximum(1, np.round(np.array(SITES_TRAIN[:n_sites]) * 412 / sum(SITES_TRAIN[:n_sites])))
        names = tuple(f"site-{i:02d}" for i in range(n_sites))
    elif attribute == "sex":
        sizes, names = np.array([188, 213]), ("F", "M")
    else:
        sizes, names = np.array([71, 120, 149, 58]), ("under 45", "45-60", "60-75", "75 and over")
    n = len(sizes)
    pull = sizes / sizes.sum()
    counts = np.empty((n, n))
    for i in range(n):
        shares = (1 - level) * pull + 0.02 * rng.random(n)
        shares[i] += level * (0.6 + 0.4 * (sizes[i] / sizes.max()) ** 0.5)
        counts[i] = sizes[i] * shares / shares.sum()
    if member.name == "majority":
        counts = np.zeros((n, n))
        counts[:, int(np.argmax(sizes))] = sizes
    counts = np.round(counts * 5) / 5
    return ConfusionMatrix(
        attack=AttackKey(target=member.name, attribute=attribute, access=access, fraction=fraction), class_names=names,
        counts=tuple(tuple(row) for row in counts.tolist()),
    )  # fmt: skip


def _scatter(rng, member, access, fraction, level):
    truth = np.random.default_rng(3).normal(59, 15, 398).clip(19, 94)
    pull = 0.0 if member.name == "majority" else 0.75 - (level - 9.5) * 0.14
    predicted = 59 + pull * (truth - 59) + rng.normal(0, 7.5 * (member.name != "majority"), 398)
    return AgeScatter(
        attack=AttackKey(target=member.name, attribute="age_years", access=access, fraction=fraction),
        truth_years=tuple(truth.tolist()), predicted_years=tuple(predicted.tolist()),
    )  # fmt: skip


def _excesses(metrics, without_pixels=()):
    by_key = {(m.attack, m.metric): m for m in metrics}
    found = []
    for m in metrics:
        if m.role == "baseline":
            continue
        rows = []
        for name in ("untrained", "pixels", "majority"):
            if name == "pixels" and m.attack.access in without_pixels:
                continue
            access = m.attack.access if name == "untrained" else "none"
            b = by_key.get((replace(m.attack, target=name, access=access), m.metric))
            if b is not None:
                beyond = [one.value - _held_out(one, by_key) for one in (m, b)]
                rows.append((b, (beyond[1] - beyond[0]) if m.metric == "mae_years" else (beyond[0] - beyond[1])))
        best = min(range(len(rows)), key=lambda i: rows[i][1], default=0)
        for i, (b, value) in enumerate(rows):
            half = 0.34 if m.metric == "mae_years" else 0.024
            found.append(
                ExcessEstimate(
                    attack=m.attack, baseline=b.attack.target,
                    metric=m.metric, value=value, ci_low=value - half, ci_high=value + half,
                    p_value=float(np.exp(-max(value, 0) / half * 3)), best_baseline=i == best,
                )
            )  # fmt: skip
    return found


def _held_out(metric, by_key):
    """Return what is subtracted from a metric on members: the same on held-out scans."""
    if metric.attack.scans == "held-out":
        return 0.0
    return by_key[replace(metric.attack, scans="held-out"), metric.metric].value


def _verdicts(metrics, excesses, fraction):
    by_key = {(m.attack, m.metric): m for m in metrics}
    found = []
    for e in excesses:
        metric = "mae_years" if e.attack.attribute == "age_years" else "f1_weighted"
        if not e.best_baseline or e.metric != metric or e.attack.fraction != fraction:
            continue
        m = by_key[e.attack, e.metric]
        access = e.attack.access if e.baseline == "untrained" else "none"
        b = by_key[replace(e.attack, target=e.baseline, access=access), e.metric]
        threshold = THRESHOLDS[e.attack.attribute]
        word = LEAK if e.ci_low > threshold else NO_LEAK if e.ci_high < threshold else INCONCLUSIVE
        found.append(
            Verdict(
                attack=e.attack, metric=e.metric,
                value=m.value, value_ci_low=m.ci_low, value_ci_high=m.ci_high, baseline=e.baseline,
                baseline_value=b.value, excess=e.value, ci_low=e.ci_low, ci_high=e.ci_high, p_value=e.p_value,
                threshold=threshold, verdict=word, question=e.attack.question,
                reason=f"interval against the tolerated {threshold}",
            )
        )  # fmt: skip
    return found


def _summary(member: Member, n_sites: int, partial: str | None) -> TargetSummary:
    utility = None
    if member.auc is not None:
        utility = Utility(accuracy=member.auc - 0.13, f1_macro=member.auc - 0.16, auc_ovr=member.auc, n_scans=412)
    has_model = member.topology is not None
    return TargetSummary(
        name=member.name, role=member.role, topology=member.topology,
        architecture="cnn3d_small" if has_model else None, digest=f"{member.name}-digest" if has_model else "",
        partition="natural" if member.topology == "federated" else None,
        n_models=len(member.models) if has_model else 0,
        n_train=1188 if member.role == "target" else 0, utility=utility,
        tensors_matched=31 if member.name == partial else 42 * has_model, tensors_total=42 * has_model,
        notes={"protocol": "standard"} if has_model else {},
    )  # fmt: skip


def _config(attributes, accesses, fractions):
    rules = {
        a: {"metric": "mae_years" if a == "age_years" else "f1_weighted", "threshold": THRESHOLDS[a]}
        for a in attributes
    }
    return {
        "name": "demo",
        "protocol": "standard",
        "attack": {"accesses": list(accesses), "fractions": list(fractions), "seeds": [0, 1, 2, 3, 4], "epochs": 20},
        "audit": {"confidence": 0.95, "bootstrap": 1000, "seed": 0, "policy": {"rules": rules}},
    }


def _provenance(cast):
    return {
        "command": "flprivacy audit --preset demo --out runs/demo",
        "started": "2025-03-04T09:12:44Z",
        "versions": {"flprivacy": "0.1.0", "keras": "3.15.0", "numpy": "2.4.1", "python": "3.11.7"},
        "digests": {"cohort": "9f3c1d7ab2" * 6 + "77aa", **{m.name: "ab12cd34" * 8 for m in cast if m.topology}},
        "git": {"commit": "0123456789abcdef0123456789abcdef01234567", "dirty": False},
    }
