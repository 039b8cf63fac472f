"""Verdicts of an audit together: any false leak in at most 5% of audits, none cleared by the best-looking baseline.

Seeds are fixed; nothing here was tuned to them. tests/benchmarks/bench_auditing_coverage.py counts over more audits.
"""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from flprivacy.auditing import multiplicity
from flprivacy.auditing.arrays import audit_attribute
from flprivacy.auditing.config import AuditConfig, Policy, PolicyRule
from flprivacy.auditing.estimates import estimate_excesses, estimate_metrics
from flprivacy.auditing.measures import Measured, measure
from flprivacy.auditing.multiplicity import holm
from flprivacy.auditing.runs import AttackRuns
from flprivacy.auditing.uncertainty import Composed, Resampling, resample_patients
from flprivacy.auditing.verdicts import judge
from flprivacy.core.audit import Audit, ExcessEstimate, MetricEstimate, Verdict
from flprivacy.core.errors import AuditError, ConfigError
from flprivacy.core.parsing import from_mapping, to_mapping
from flprivacy.reporting.advice import family
from tests.auditing.simulation import Attacker, Draw
from tests.reporting.example_audit import example_audit

AUDITS, TARGETS, ATTRIBUTES, REPLICATES = 200, 8, 5, 100
SIGNAL = Attacker(strength=1.5)
RULE = PolicyRule(threshold=0.0)
LOOKED_AT = ("f1_weighted", "auc_ovr")


def allowed(rate: float, trials: int) -> int:
    """Return how many false alarms of ``trials`` are still compatible with a rate, but for 1 in 1,000."""
    return int(stats.binom.ppf(0.999, trials, rate))


def _measured(runs: AttackRuns, resampling: Resampling) -> Measured:
    """Measure an attack by what verdicts look at: estimates of the other metrics would take most of the time."""
    found = measure(runs, resampling)
    return replace(found, values={name: found.values[name] for name in LOOKED_AT})


def harmless_attribute(
    rng: np.random.Generator, baselines: int = 2
) -> tuple[list[MetricEstimate], dict[ExcessEstimate, Composed]]:
    """Return eight attacks on targets that give away what equally good baselines do, on patients of their own."""
    draw = Draw(rng, attribute="sex", frequencies=[0.6, 0.4], patients=60)
    held_out = draw.held_out()
    resampling = resample_patients(held_out.patients, replicates=REPLICATES, seed=0)
    names = [f"pixels-{i}" for i in range(baselines)]
    others = [_measured(draw.runs(held_out, name, draw.scores(SIGNAL)), resampling) for name in names]
    metrics = [m for one in others for m in estimate_metrics(one, confidence=0.95)]
    excesses: dict[ExcessEstimate, Composed] = {}
    for i in range(TARGETS):
        runs = draw.runs(held_out, "target", draw.scores(SIGNAL))
        target = _measured(replace(runs, attack=runs.attack.on(f"target-{i}")), resampling)
        metrics += estimate_metrics(target, confidence=0.95)
        excesses |= estimate_excesses(target, others, confidence=0.95)
    return metrics, excesses


def harmless_audit(seed: int) -> list[Verdict]:
    """Return 40 verdicts, about five attributes of eight targets."""
    rng = np.random.default_rng([2026, seed])
    metrics, spreads, rules = [], {}, {}
    for i in range(ATTRIBUTES):
        found = harmless_attribute(rng, baselines=1)  # a single one guards least
        rules[f"attribute-{i}"] = RULE
        metrics += [replace(m, attack=replace(m.attack, attribute=f"attribute-{i}")) for m in found[0]]
        spreads |= {replace(e, attack=replace(e.attack, attribute=f"attribute-{i}")): s for e, s in found[1].items()}
    return judge(metrics, list(spreads), rules, spreads=spreads)


def false_leaks(audits: int) -> tuple[int, int]:
    """Return in how many of so many harmless audits any verdict is a leak, and would be without correction."""
    drawn = [harmless_audit(seed) for seed in range(audits)]
    assert {len(verdicts) for verdicts in drawn} == {TARGETS * ATTRIBUTES}
    uncorrected = sum(any(look.p_leak < 0.05 for v in verdicts for look in v.looks) for verdicts in drawn)
    return sum(any(v.verdict == "leak" for v in verdicts) for verdicts in drawn), uncorrected


def test_an_audit_of_40_harmless_verdicts_has_any_leak_in_at_most_5_percent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multiplicity, "_DRAWS", 2_000)  # adjusted p-values hold whatever their number; 10,000 take long
    any_leak, uncorrected = false_leaks(AUDITS)
    print(f"any leak in {any_leak} of {AUDITS} audits; uncorrected in {uncorrected}")
    assert any_leak <= allowed(0.05, AUDITS)
    assert uncorrected > 4 * allowed(0.05, AUDITS), "the test would see a missing correction"


def test_the_best_looking_of_five_equal_baselines_clears_no_more_than_one_would() -> None:
    """Harmful by exactly the threshold over all five: each verdict may clear that in 2.5%."""
    trials = cleared = by_the_best = 0
    for seed in range(120):
        metrics, excesses = harmless_attribute(np.random.default_rng([7, seed]), baselines=5)
        shifted = [replace(e, value=e.value + 0.1, ci_low=e.ci_low + 0.1, ci_high=e.ci_high + 0.1) for e in excesses]
        rules = {"sex": PolicyRule(threshold=0.1, also={})}
        verdicts = judge(metrics, shifted, rules)
        trials += len(verdicts)
        cleared += sum(v.verdict == "no leak found" for v in verdicts)
        by_the_best += sum(v.ci_high < 0.1 for v in verdicts)
    print(f"cleared {cleared} of {trials}; over the best-looking baseline alone {by_the_best}")
    assert cleared <= 0.025 * trials
    assert by_the_best > 0.04 * trials, "the test would see that the best-looking one is not enough"


def test_holms_arithmetic() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


def test_what_may_be_chance_among_many_is_no_leak_and_says_so() -> None:
    metrics, excesses = harmless_attribute(np.random.default_rng(3))
    raised = [replace(e, value=e.value + 2.2 * e.standard_error, ci_low=0.001) for e in excesses]
    found = judge(metrics, raised, {"sex": RULE})
    assert {v.verdict for v in found} == {"inconclusive"}
    assert all("among the many tests of this audit chance may do that" in v.reason for v in found)


def test_an_excess_without_standard_error_is_refused() -> None:
    metrics, excesses = harmless_attribute(np.random.default_rng(4))
    with pytest.raises(AuditError, match="has no standard error; audit again"):
        judge(metrics, [replace(e, standard_error=None) for e in excesses], {"sex": RULE})


def rare_class(rng: np.random.Generator, caught: float) -> dict[str, np.ndarray]:
    """Return truth and scores for a class of 5%, whose top 5% of scans by score hold a share ``caught`` of it."""
    n, seeds = 1200, 5
    truth = (np.arange(n) < 0.05 * n).astype(float)
    flagged = np.zeros(n, dtype=bool)
    flagged[: int(caught * 0.05 * n)] = True
    flagged[n - int((1 - caught) * 0.05 * n) :] = True
    suspicion = rng.uniform(0.0, 0.4, (seeds, n)) * 0.1 + 0.3 * flagged + rng.uniform(0.0, 0.05, n)
    noise = rng.uniform(0.0, 0.4, (seeds, n))
    return {
        "truth": truth,
        "target": np.stack([1.0 - suspicion, suspicion], axis=-1),
        "pixels": np.stack([1.0 - noise, noise], axis=-1),
        "untrained": np.stack([np.stack([1 - s, s], axis=-1) for s in rng.uniform(0, 0.4, (5, seeds, n))]),
    }


@pytest.mark.parametrize("seed", [11, 12, 13])
def test_a_rare_class_is_called_although_weighted_f1_cannot_see_it(seed: int) -> None:
    made = rare_class(np.random.default_rng(seed), caught=1 / 3)
    top = np.argsort(-made["target"][0, :, 1])[:60]
    assert made["truth"][top].mean() == pytest.approx(1 / 3, abs=0.02)
    baselines = {name: made[name] for name in ("pixels", "untrained")}
    found = audit_attribute(made["truth"], made["target"], baselines=baselines, config=AuditConfig(bootstrap=200))
    main, area = found.decision.looks
    assert (main.metric, main.verdict) == ("f1_weighted", "no leak found")
    assert (area.metric, area.verdict) == ("auc_ovr", "leak")
    assert found.verdict == "leak"
    assert "macro AUC: lower end" in found.reason
    harmless = audit_attribute(made["truth"], made["pixels"], baselines=baselines, config=AuditConfig(bootstrap=200))
    assert harmless.verdict != "leak"


def test_one_hospital_that_stands_out_is_called_by_its_name() -> None:
    rng = np.random.default_rng(21)
    truth = rng.permutation(np.repeat(np.arange(12), 40)).astype(float)
    scores = {name: rng.normal(size=(5, 5, len(truth), 12)) for name in ("target", "pixels", "untrained")}
    scores["target"][..., 7] += 1.6 * (truth == 7)
    found = audit_attribute(
        truth,
        scores["target"][0],
        baselines={"pixels": scores["pixels"][0], "untrained": scores["untrained"]},
        attribute="site",
        rule=PolicyRule(threshold=0.05),
        config=AuditConfig(bootstrap=200),
    )
    looks = {look.metric: look for look in found.decision.looks}
    assert looks["auc_class"].of_class == "7"
    assert (looks["auc_class"].verdict, found.verdict) == ("leak", "leak")
    assert looks["f1_weighted"].verdict != "leak"
    assert {m.of_class for m in found.metrics if m.metric == "auc_class"} == {"7"}
    only = audit_attribute(
        truth,
        scores["target"][0],
        baselines={"pixels": scores["pixels"][0], "untrained": scores["untrained"]},
        attribute="site",
        rule=PolicyRule(threshold=0.05, also={}, one_class=False),
        config=AuditConfig(bootstrap=200),
    )
    assert [look.metric for look in only.decision.looks] == ["f1_weighted"]


def test_an_audit_filed_before_verdicts_were_held_together_is_read_and_says_so(tmp_path: Path) -> None:
    old = to_mapping(example_audit(n_sites=3, attributes=("site",)))
    for record in old["metrics"]:
        del record["of_class"]
    for record in (*old["excesses"], *old["comparisons"]):
        for name in ("as_good", "standard_error", "degrees", "of_class", "strongest_of"):
            del record[name]
    for record in old["verdicts"]:
        del record["looks"]
    (tmp_path / "audit.json").write_text(json.dumps(old))
    audit = Audit.read(tmp_path / "audit.json")
    assert audit.verdicts[0].looks == ()
    assert "stand alone and are not corrected" in family(audit)


def test_a_policy_written_before_verdicts_looked_at_rare_classes_is_read_and_looks_at_them() -> None:
    old = {"rules": {"sex": {"metric": "f1_weighted", "threshold": 0.05, "fraction": None}}}
    policy = from_mapping(Policy, old)
    metrics, excesses = harmless_attribute(np.random.default_rng(8))
    looks = judge(metrics, list(excesses), policy.rules)[0].looks
    assert [(look.metric, look.threshold) for look in looks] == [(name, 0.05) for name in LOOKED_AT]


@pytest.mark.parametrize(
    ("also", "message"),
    [({"auc": 0.1}, "also is 'auc'"), ({"auc_ovr": -0.1}, "must not be negative"), ({"mae_years": 1.0}, "choose from")],
)
def test_what_a_rule_cannot_look_at_is_named(also: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Policy(rules={"sex": PolicyRule(also=also)})
