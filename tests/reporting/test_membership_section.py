"""Membership comes first, in sentences and in a table; audits without it show none."""

from dataclasses import replace

import numpy as np
import pytest
from report_page import Page, undrawn

from flprivacy.auditing.config import MembershipRule
from flprivacy.auditing.membership.targets import audit_targets
from flprivacy.core.audit import INCONCLUSIVE, NO_LEAK, Audit
from flprivacy.core.membership import MembershipFinding
from flprivacy.core.membership_scores import MembershipScores
from flprivacy.reporting import membership, sentences
from flprivacy.reporting.sentences import Headline
from flprivacy.reporting.terminal import headline
from tests.auditing.membership.test_membership_of_targets import table


@pytest.fixture(scope="module")
def judged(audit: Audit) -> Audit:
    headless = MembershipScores(target="siloed", target_digest="", role="target", why_not="its file holds no head")
    tables = (table("central", gain=4.0), table("federated", seed=1), headless)
    found, _ = audit_targets(tables, {}, rule=MembershipRule(), confidence=0.95)
    return replace(audit, membership=tuple(found))


def test_the_first_line_begins_with_membership(judged: Audit, audit: Audit) -> None:
    begins = "Who was trained on: central gives it away; not settled for federated; siloed was not judged. "
    assert headline(judged)[0].startswith(begins)
    assert headline(judged)[0].removeprefix(begins) == headline(audit)[0]
    assert Page(undrawn(judged)).text.index(begins) > 0


def test_what_was_not_attacked_is_not_said_of_membership(judged: Audit, audit: Audit) -> None:
    asked, without = (Page(undrawn(one)).sections["limits"] for one in (judged, audit))
    assert "features or gradients tell of that beyond them was not" in " ".join(asked.split())
    assert "is a different question" in " ".join(without.split())
    assert "is a different question" not in " ".join(asked.split())


def test_every_target_has_its_sentence_with_numbers_and_chance(judged: Audit) -> None:
    central, federated, siloed = membership.lines(judged)
    assert central.startswith("central, membership of a scan: leak; ")
    assert "(by chance 1.2%)" in central
    assert "AUC 0.99" in central
    assert federated.startswith("federated, membership of a scan: inconclusive; ")
    assert siloed == "siloed, membership of a scan: membership was not attacked: its file holds no head."


def test_a_patients_verdict_is_said_where_it_differs(judged: Audit) -> None:
    first, second, *others = judged.membership
    other = replace(second, verdict="inconclusive")
    lines = membership.lines(replace(judged, membership=(first, other, *others)))
    assert lines[1].startswith("central, membership of a patient: inconclusive; ")


def test_the_page_has_a_row_for_each_attack_a_figure_and_the_caveats(judged: Audit) -> None:
    text = undrawn(judged)
    assert text.count('data-level="scan"') == 4
    assert text.count('data-level="patient"') == 4
    assert "ROC curves of the membership attacks on logarithmic axes" in text
    assert "no reference models were trained" in text
    assert "By hospital" in text


def test_an_audit_without_membership_says_nothing_of_it(audit: Audit, report: str) -> None:
    assert membership.overall(audit) == ""
    assert not sentences.overall(audit).startswith("Who was")
    assert '<section class="membership">' not in report


@pytest.mark.parametrize(
    ("verdicts", "said"),
    [
        (["no leak found"], "Who was trained on: no attack that was run tells it of a."),
        (["leak"] * 5, "Who was trained on: 5 models give it away."),
        ([""], "Who was trained on: a was not judged."),
        ([], ""),
    ],
)
def test_the_first_sentence(audit: Audit, verdicts: list[str], said: str) -> None:
    found = [
        MembershipFinding(target="abcde"[i], level="scan", verdict=verdict, reason="")
        for i, verdict in enumerate(verdicts)
    ]
    assert membership.overall(replace(audit, membership=tuple(found))) == said


def test_who_gives_away_members_leaks_in_the_first_table_and_in_its_card(judged: Audit, report: str) -> None:
    page = Page(undrawn(judged)).text
    assert "can tell who was trained on" in page
    assert "central gives away who was trained on: do not give it to anybody." in page
    assert "federated gives away who was trained on" not in page
    assert "can tell who was trained on" not in report


def test_what_is_not_settled_of_members_has_a_next_step_and_is_no_green_card(judged: Audit) -> None:
    """The table of ``federated`` has 600 non-members, as many patients, and no references."""
    cleared = replace(judged, verdicts=tuple(replace(v, verdict=NO_LEAK) for v in judged.verdicts))
    open_ = [replace(one, verdict=INCONCLUSIVE) for one in judged.membership if one.target == "federated"]
    wide = [replace(one, decision=replace(one.decision, **bounds(0.06))) for one in open_ if one.decision is not None]

    def card(*found: MembershipFinding) -> Headline:
        return next(h for h in sentences.headlines(replace(cleared, membership=found)) if h.target == "federated")

    assert card(*wide).verdict == INCONCLUSIVE
    assert card(*wide).advice.startswith("Who federated was trained on is not settled: about ")
    assert (
        "more held-out patients would decide it, and 8 reference models (membership.references)" in card(*wide).advice
    )
    assert "does not stand against giving it" not in card(*wide).advice
    assert "does not stand against giving it" in card().advice
    several = [replace(one, references=5) for one in wide]
    assert "and 3 more reference models" in card(*several).advice
    assert "reference models" not in card(*(replace(one, references=8) for one in wide)).advice
    hopeless = [replace(one, decision=replace(one.decision, **bounds(0.6))) for one in wide if one.decision is not None]
    assert "more than 20 times as many patients, so decide as if it gave them away" in card(*hopeless).advice
    few = replace(wide[0], decision=None, reason="12 patient(s) are too few to tell apart")
    assert "not settled: 12 patient(s) are too few to tell apart." in card(few).advice


def bounds(reach: float) -> dict[str, float]:
    return {"excess": 0.0, "excess_low": -reach, "excess_high": reach, "threshold": 0.05}


def test_the_most_vulnerable_scans_have_a_table_where_references_say_which_they_are(
    audit: Audit, judged: Audit
) -> None:
    known = table("central", gain=2.0)
    known = replace(known, scores={"RMIA": known.signals}, vulnerability=-(np.arange(1200.0) % 600.0))
    found, _ = audit_targets([known], {}, rule=MembershipRule(), confidence=0.95)
    page = Page(undrawn(replace(audit, membership=tuple(found))))
    (shown,) = (one for one in page.tables if one.name == "vulnerable")
    assert shown.rows[1][:4] == ["central", "RMIA", "60", "60"]
    assert "exposed.json" in page.sections["membership"]
    assert "The most vulnerable scans" not in undrawn(judged)
