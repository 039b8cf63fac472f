"""The verdicts as Markdown: all of them, with intervals, and nothing of an audit taken for markup."""

import re
from dataclasses import replace

from flprivacy.core.audit import Audit, TargetFailure
from flprivacy.core.change import WORSE, AuditChange
from flprivacy.reporting.markdown import verdicts_page
from flprivacy.reporting.sentences import overall


def test_every_verdict_has_its_row_with_an_interval(audit: Audit) -> None:
    page = verdicts_page(audit)
    assert page.startswith(f"**{overall(audit)}**\n")
    rows = [line for line in page.splitlines() if line.startswith("| ")]
    assert [cell.strip() for cell in rows[0].strip("|").split("|")][::5] == ["Target", "Verdict"]
    fractions = {(v.attack.target, v.attack.attribute, v.attack.access, v.question): v for v in audit.verdicts}
    assert len(rows) - 2 >= len(fractions)
    attacks = [row for row in rows[2:] if " AUC " not in row]
    assert all(re.search(r"\[\S?[\d.]+, \S?[\d.]+\\\]", row.replace("\\[", "[")) for row in attacks), attacks[0]
    assert {row.count(" | ") for row in rows} == {5}


def test_names_are_text_and_failures_and_changes_are_told(small_audit: Audit) -> None:
    failure = TargetFailure(target="a|b*", step="train_target", reason="no `number`", transient=False)
    change = AuditChange(
        verdict=WORSE, reason="central: site", cohort_name="c", cohort_digest="d", confidence=0.95, targets=()
    )
    page = verdicts_page(replace(small_audit, failures=(failure,)), change)
    assert "a\\|b\\* was not audited" in page
    assert "no \\`number\\`" in page
    assert "Since the last audit: **changed for the worse** (central: site)" in page
