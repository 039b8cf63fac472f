"""The section "Since the last audit": the gravest first, with its evidence, nothing where nothing was compared."""

from dataclasses import replace

import pytest
from report_page import undrawn
from rich.console import Console

from flprivacy.core.attributes import AttackKey
from flprivacy.core.audit import Audit
from flprivacy.core.change import (
    BETTER,
    FIRST_AUDIT,
    NO_CHANGE,
    NOT_COMPARABLE,
    TOO_LITTLE_POWER,
    WORSE,
    AttackChange,
    AuditChange,
    MembershipChange,
    PreviousAudit,
    TargetChange,
    gravest,
)
from flprivacy.reporting.changes import action, change_lines, change_table, claim, grouped, is_clear

ATTACK = AttackChange(
    attack=AttackKey(target="central", attribute="site", access="features", fraction=0.25),
    metric="f1_weighted",
    before=0.31,
    now=0.52,
    value=0.21,
    ci_low=0.12,
    ci_high=0.3,
    p_value=0.0002,
    p_adjusted=0.0008,
    model_ci_low=0.15,
    model_ci_high=0.27,
    model_p_value=1e-6,
)
YEARS = replace(
    ATTACK, attack=replace(ATTACK.attack, attribute="age_years"), metric="mae_years", before=10.0,
    now=10.4, value=-0.4, ci_low=-1.2, ci_high=0.4, p_value=0.3, p_adjusted=0.6,
)  # fmt: skip
MEMBERS = MembershipChange(
    target="central", by="LiRA", metric="tpr_at_fpr_0.01", before=0.04, now=0.31, value=0.27, ci_low=0.11, ci_high=0.41,
    p_value=1e-5, p_adjusted=4e-5, model_ci_low=0.13, model_ci_high=0.39, model_p_value=1e-7, standard_error=0.06,
    degrees=15.0, tolerated=0.02, paired=False, references=16, detectable=0.26,
)  # fmt: skip
PREVIOUS = PreviousAudit(run_id="r" * 32, target_digest="a" * 64, ended="2026-11-17T03:00:00+00:00")


@pytest.fixture
def change() -> AuditChange:
    worse = TargetChange(
        target="central", verdict=WORSE, reason="site <up>", digest="b" * 64, previous=PREVIOUS, attacks=(ATTACK, YEARS)
    )
    same = TargetChange(target="federated", verdict=NO_CHANGE, reason="nothing new", previous=PREVIOUS, audited=False)
    return AuditChange(
        verdict=WORSE,
        reason="central",
        cohort_name="c",
        cohort_digest="d",
        confidence=0.95,
        targets=(worse, same),
    )


def test_the_page_shows_verdicts_and_evidence(small_audit: Audit, change: AuditChange) -> None:
    page = " ".join(undrawn(small_audit, change).split())
    assert "Since the last audit" in page
    assert "Changed for the worse" in page
    assert "site &lt;up&gt;" in page, "what comes from an audit is escaped"
    for text in ("0.310", "0.520", "+0.210", "[0.120, 0.300]", "[0.150, 0.270]", "&lt;0.001", "2.5%"):
        assert text in page
    assert f"Compared with its audit of {PREVIOUS.ended}" in page
    assert page.index('data-change="central"') < page.index('data-change="federated"')
    assert "Since the last audit, central: changed for the worse; federated: no evidence of change." in page
    assert page.index("Since the last audit, central") < page.index("<table"), "it stands on the first screen"
    assert "put the version before back, or decide anew who may have it" in page


def test_what_was_compared_stands_under_its_question(change: AuditChange) -> None:
    holding = replace(ATTACK, attack=replace(ATTACK.attack, access="joint"))
    found = grouped(replace(change.targets[0], attacks=(holding, ATTACK, YEARS), membership=(MEMBERS,)))
    assert found == [
        ("What training put in, for whoever has no scan", [ATTACK, YEARS]),
        ("What the model adds for whoever holds the scan", [holding]),
        ("Who was trained on", [MEMBERS]),
    ]


def test_every_verdict_says_what_to_do(change: AuditChange) -> None:
    verdicts = (WORSE, BETTER, NO_CHANGE, TOO_LITTLE_POWER, FIRST_AUDIT, NOT_COMPARABLE)
    said = {action(replace(change.targets[0], verdict=verdict)) for verdict in verdicts}
    assert len(said) == len(verdicts)
    assert "" not in said


def test_without_a_comparison_the_page_says_nothing_of_it(small_report: str) -> None:
    assert "Since the last audit" not in small_report


def test_the_terminal_says_the_same(change: AuditChange) -> None:
    lines = change_lines(change)
    assert lines[0] == "Since the last audit: changed for the worse."
    assert lines[1].endswith(f"central: changed for the worse; site <up> (its last audit: {PREVIOUS.ended})")
    assert "put the version before back" in lines[2]
    assert lines[3].endswith("federated: no evidence of change; nothing new")
    table = change_table(change)
    assert table is not None
    console = Console(width=140, record=True)
    console.print(table)
    text = console.export_text()
    assert "+0.210 [0.120, 0.300]" in text
    assert "10.00" in text
    assert change_table(replace(change, targets=change.targets[1:])) is None
    assert [is_clear(attack, change) for attack in (ATTACK, YEARS)] == [True, False]
    assert "at most 2.5%" in claim(change)


def test_members_stand_beside_attributes_with_how_they_were_compared(small_audit: Audit, change: AuditChange) -> None:
    worse = replace(change.targets[0], membership=(MEMBERS, replace(MEMBERS, metric="auc", paired=True, references=0)))
    told = replace(change, targets=(worse,))
    page = " ".join(undrawn(small_audit, told).split())
    for text in (
        "membership by LiRA <small>from the intervals of both audits; chance in training as 16 references show it",
        "paired by scan; chance in training assumed",
        "TPR at FPR 1%",
        "[0.110, 0.410]",
    ):
        assert text in page
    assert "between the reference models" in claim(told)
    assert "between the reference models" not in claim(change)
    console = Console(width=160, record=True)
    console.print(change_table(told))
    text = console.export_text()
    assert "membership by LiRA, TPR at FPR 1%" in text
    assert "membership by LiRA, AUC" in text


def test_the_gravest_verdict_is_the_runs() -> None:
    assert gravest([NO_CHANGE, BETTER, WORSE, FIRST_AUDIT]) == WORSE
    assert gravest([NO_CHANGE, NOT_COMPARABLE, BETTER]) == NOT_COMPARABLE
    assert gravest([NO_CHANGE, BETTER]) == BETTER
    assert gravest([]) == NO_CHANGE
