"""The whole audit: from score tables to verdicts."""

import logging
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from flprivacy.auditing.attributes import AttributeAudit, audit_attributes
from flprivacy.auditing.config import AuditConfig, Policy, PolicyRule
from flprivacy.core.audit import Audit
from flprivacy.core.errors import AuditError
from flprivacy.core.scores import ScoreTable
from tests.auditing.score_tables import People, change, make_curves, make_study

CONFIG = AuditConfig(bootstrap=100)


@pytest.fixture(scope="module")
def study() -> list[ScoreTable]:
    return make_study(people=People(n=150))


@pytest.fixture(scope="module")
def audit(study: list[ScoreTable]) -> AttributeAudit:
    return audit_attributes(study, make_curves(), config=CONFIG)


def test_it_fills_the_fields_of_the_audit(audit: AttributeAudit) -> None:
    types = {f.name: f.type for f in fields(Audit)}
    assert {f.name: f.type for f in fields(AttributeAudit)}.items() <= types.items()
    assert audit.left_out == {"site": 0, "sex": 6, "age_band": 6, "age_years": 6}
    assert not any("attacker seeds" in v.reason for v in audit.verdicts)


def test_every_attack_has_every_metric(audit: AttributeAudit) -> None:
    attacks = 2 * (2 + 2 + 2 + 1 + 1)  # fractions x (accesses of three models, and two attackers without)
    of_class = [m for m in audit.metrics if m.of_class]
    assert len(audit.metrics) - len(of_class) == attacks * (6 + 5 + 5 + 1)
    assert {(m.metric, m.attack.attribute) for m in of_class} == {("auc_class", "site")}
    assert len(audit.confusions) == attacks * 3
    assert len(audit.scatters) == attacks
    assert len(audit.curves) == 1
    for m in audit.metrics:
        assert m.ci_low <= m.value <= m.ci_high
        assert (m.n_seeds, m.n_scans) == (5, 150 if m.attack.attribute == "site" else 144)
        assert set(m.per_model) == (set() if m.n_models == 1 else {f"m-{i}" for i in range(m.n_models)})
        if m.per_model:
            assert np.mean(list(m.per_model.values())) == pytest.approx(m.value)


def test_every_target_is_held_against_every_baseline(audit: AttributeAudit) -> None:
    attacks = 2 * 2 * 2 * 2  # targets, accesses, fractions, baselines: untrained and majority
    assert len(audit.excesses) == attacks * (6 + 5 + 5 + 1 + 1)  # metrics, and the site that stands out most
    assert {e.attack.target for e in audit.excesses} == {"central", "siloed"}
    best = [e for e in audit.excesses if e.best_baseline]
    assert len(best) * 2 == len(audit.excesses)


def test_verdicts_are_on_the_largest_fraction(audit: AttributeAudit) -> None:
    assert [(v.attack.target, v.attack.attribute, v.attack.access) for v in audit.verdicts] == [
        (target, attribute, access)
        for attribute in ("site", "sex", "age_band", "age_years")
        for target in ("central", "siloed")
        for access in ("features", "outputs")
    ]
    assert {v.attack.fraction for v in audit.verdicts} == {0.25}
    assert {v.verdict for v in audit.verdicts if v.attack.target == "central"} == {"leak"}
    by_key = {
        (m.attack.target, m.attack.access, m.attack.attribute, m.attack.fraction, m.metric): m for m in audit.metrics
    }
    for v in audit.verdicts:
        assert (
            v.value == by_key[v.attack.target, v.attack.access, v.attack.attribute, v.attack.fraction, v.metric].value
        )


def test_it_survives_json(audit: AttributeAudit, tmp_path: Path) -> None:
    found = {f.name: getattr(audit, f.name) for f in fields(audit) if f.name != "notes"}
    whole = Audit(name="n", cohort_name="c", cohort_digest="d", cohort={}, config={}, targets=(), **found)
    whole.write(tmp_path / "audit.json")
    assert Audit.read(tmp_path / "audit.json") == whole


def test_the_same_tables_give_the_same_audit_in_any_order(study: list[ScoreTable], audit: AttributeAudit) -> None:
    shuffled = [replace(t, blocks=t.blocks[::-1]) for t in study]
    assert audit_attributes(shuffled, make_curves(), config=CONFIG) == audit


def test_the_seed_of_the_bootstrap_matters_little(study: list[ScoreTable], audit: AttributeAudit) -> None:
    other = audit_attributes(study, make_curves(), config=replace(CONFIG, seed=1, bootstrap=400))
    for one, two in zip(audit.excesses, other.excesses, strict=True):
        assert one.value == two.value
        assert two.ci_high - two.ci_low == pytest.approx(one.ci_high - one.ci_low, rel=0.2)
    assert other.excesses != audit.excesses


def test_few_seeds_are_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="flprivacy"):
        found = audit_attributes(make_study(seeds=(0, 1, 2)), make_curves(), config=CONFIG)
    note = "only 3 attacker seeds, fewer than 5, so the spread over attackers is poorly known and intervals are wide"
    assert f"{note}; add seeds to the attack" in caplog.text
    assert found.verdicts
    assert all(note in v.reason for v in found.verdicts)


def test_of_few_patients_it_is_said_that_gross_errors_may_be_missing(audit: AttributeAudit) -> None:
    few = audit_attributes(make_study(people=People(n=40, unknown=0)), make_curves(), config=CONFIG)
    for found, told in ((few, True), (audit, False)):
        reasons = {v.attack.attribute: v.reason for v in found.verdicts}
        assert ("gross errors that befall one in 9 or fewer may be missing" in reasons["age_years"]) == told
        assert "gross errors" not in reasons["age_band"] + reasons["site"]


def test_a_handful_of_patients_settles_nothing() -> None:
    found = audit_attributes(make_study(people=People(n=9, unknown=0)), make_curves(), config=CONFIG)
    assert {v.verdict for v in found.verdicts if v.attack.attribute != "age_years"} == {"inconclusive"}


def test_a_policy_for_attributes_that_were_not_attacked_is_no_error(study: list[ScoreTable]) -> None:
    sites = study
    for table in study:
        sites = change(sites, table.target, lambda b: b if b.attack.attribute == "site" else None)
    assert {v.attack.attribute for v in audit_attributes(sites, make_curves(), config=CONFIG).verdicts} == {"site"}


def test_a_policy_fraction_that_was_not_audited(study: list[ScoreTable]) -> None:
    config = replace(CONFIG, policy=Policy(rules={"site": PolicyRule(fraction=0.5)}))
    with pytest.raises(AuditError, match="was not audited"):
        audit_attributes(study, make_curves(), config=config)


def test_missing_baseline(study: list[ScoreTable]) -> None:
    with pytest.raises(AuditError, match="no baseline 'majority'"):
        audit_attributes([t for t in study if t.target != "majority"], make_curves(), config=CONFIG)


def test_a_baseline_that_failed_keeps_its_targets_from_being_called_a_leak(study: list[ScoreTable]) -> None:
    without = [t for t in study if t.target != "untrained"]
    failed = "baseline 'untrained', which could explain it, failed: its features are constant"
    found = audit_attributes(without, make_curves(), config=CONFIG, lacking={"central": failed, "siloed": failed})
    assert "leak" not in {v.verdict for v in found.verdicts}
    assert {v.baseline for v in found.verdicts} == {"majority"}
    would_be = [v for v in found.verdicts if v.ci_low > v.threshold]
    assert would_be
    assert all(v.reason.count("its features are constant") == 1 for v in would_be if v.looks[0].verdict == v.verdict)
    with pytest.raises(AuditError, match="no baseline with fresh weights"):
        audit_attributes(without, make_curves(), config=CONFIG, lacking={"central": failed})


def test_contradicting_counts_of_left_out_scans(study: list[ScoreTable]) -> None:
    tables = [replace(study[0], left_out={"sex": 5}), *study[1:]]
    with pytest.raises(AuditError, match="6 held-out scans left out of sex, 5 elsewhere"):
        audit_attributes(tables, make_curves(), config=CONFIG)


def test_broken_curves(study: list[ScoreTable]) -> None:
    with pytest.raises(AuditError, match="curves: column"):
        audit_attributes(study, pd.DataFrame(), config=CONFIG)
