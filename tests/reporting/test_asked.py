"""Who would learn what: the page and the terminal tell the questions apart, and say which were not asked."""

from dataclasses import replace

import pytest
from example_audit import example_audit
from report_page import Page, undrawn

from flprivacy.core.audit import INCONCLUSIVE, LEAK, NO_LEAK, Audit, TargetFailure
from flprivacy.core.membership import MembershipFinding
from flprivacy.reporting import asides, failures, sentences
from flprivacy.reporting.advice import advice, release
from flprivacy.reporting.tables import handover, recipients
from flprivacy.reporting.terminal import headline

WHO = (
    "sees its answers, not the patient's scan",
    "gets its weights or features, not the scan",
    "holds the patient's scan and gets the model",
)


@pytest.fixture(scope="module")
def asked() -> Audit:
    """All three questions; federated remembers its patients, and everything else is central's alone."""
    found = example_audit(
        n_sites=3,
        attributes=("site", "sex"),
        accesses=("features", "outputs", "joint"),
        fractions=(0.25,),
        remembers="federated",
    )
    planted = {("central", "training", "features"), ("federated", "memorised", "features")}
    verdicts = tuple(
        replace(v, verdict=LEAK if (v.attack.target, v.question, v.attack.access) in planted else NO_LEAK)
        for v in found.verdicts
    )
    return replace(found, verdicts=verdicts)


def test_the_first_table_says_which_model_may_be_given_to_whom(asked: Audit) -> None:
    assert tuple(recipients(asked)) == WHO
    rows = {row.target: [verdict for verdict, _ in row.cells] for row in handover(asked)}
    assert rows == {
        "siloed": [NO_LEAK] * 3,
        "central": [NO_LEAK, LEAK, NO_LEAK],
        "federated": [NO_LEAK] * 3,
    }
    remembered = {row.target: row.of_anybody for row in handover(asked)}
    assert remembered["federated"] == ((LEAK, ("site", "sex")),)
    assert remembered["siloed"][0][0] == remembered["central"][0][0] == NO_LEAK
    page = Page(undrawn(asked))
    groups, head, *cells = page.table("handover").rows
    assert groups[:3] == ["Model", "May be given to", "Whoever is given it …"]
    learns = "learns hospital or sex of training patients"
    assert tuple(head) == (learns, *WHO)
    assert f"“{learns}” keeps the model from everybody" in " ".join(page.sections["found"].split())
    given = "whoever sees its answers but not the patient's scan or holds the patient's scan and gets the model"
    assert cells[1] == [
        "central trained in one place",
        given,
        "○ no leak found",
        "○ no leak found",
        "● leak hospital and sex",
        "○ no leak found",
    ]
    assert cells[2][:2] == ["federated hospitals together", "nobody"], "whoever gets it may ask what it remembers"
    assert page.sections["found"].index("Which model may be given to whom") < page.sections["found"].index(
        "central leaks"
    )


def test_the_first_sentence_says_which_model_may_be_given_to_whom(asked: Audit) -> None:
    answers, model = "sees its answers but not the patient's scan", "holds the patient's scan and gets the model"
    assert release(asked) == (
        "On this audit, siloed may be given to every kind of recipient that was asked about; central may be given to "
        f"someone who {answers} or {model}; federated to nobody."
    )
    given = {row[0].split()[0]: row[1] for row in Page(undrawn(asked)).table("handover").rows[2:]}
    assert given == {"siloed": "all of these", "central": f"whoever {answers} or {model}", "federated": "nobody"}
    assert release(asked) in Page(undrawn(asked)).sections["found"]
    leaking = replace(asked, verdicts=tuple(replace(v, verdict=LEAK) for v in asked.verdicts))
    assert release(leaking) == "On this audit, none of the 3 models may be given to anybody."
    assert release(replace(asked, verdicts=())) == ""


def test_a_model_that_gives_away_its_members_may_be_given_to_nobody(asked: Audit) -> None:
    finding = MembershipFinding(target="siloed", level="scan", verdict=LEAK, reason="planted")
    allowed = {row.target: bool(row.allowed) for row in handover(replace(asked, membership=(finding,)))}
    assert allowed == {"siloed": False, "central": True, "federated": False}


def test_tables_and_figures_are_grouped_by_question(asked: Audit) -> None:
    page = Page(undrawn(asked))
    titles = [
        "What training put in, for whoever has no scan",
        "What the model adds for whoever holds the scan",
        "What the model remembers of its own training patients",
    ]
    for name in ("glance", "verdicts"):
        assert [row[0] for row in page.table(name).rows if row[0] in titles] == titles
    assert [image["alt"] for image in page.tags("img") if image["alt"].startswith("Excess over")][2].count(
        "own patients"
    )
    stated = [a["data-attack"] for a in page.table("verdicts").attributes if "data-attack" in a]
    assert len(stated) == len(asked.verdicts)
    assert "site features 0.25 members" in stated


def test_who_remembers_its_patients_is_told_so_with_what_is_reached_on_others(asked: Audit) -> None:
    (one,) = [h for h in sentences.headlines(asked) if h.target == "federated"]
    assert one.advice.startswith(
        "federated leaks the hospital that a scan comes from and the patient's sex, of its own training patients, to "
        "whoever is given its weights or its features without the patient's scan: do not give it to anybody"
    )
    (central,) = [h for h in sentences.headlines(asked) if h.target == "central"]
    assert "do not give it to them; train it again" in central.advice, "somebody else may have it"
    clear = "whoever sees its answers without the patient's scan or whoever holds both the model and the patient's scan"
    assert one.advice.endswith(f"No leak was found to {clear}.")
    assert "federated remembers the hospital that a scan comes from of its own training patients" in one.sentences
    row = next(
        row
        for a, row in zip(
            *(getattr(Page(undrawn(asked)).table("verdicts"), n) for n in ("attributes", "rows")), strict=True
        )
        if a.get("data-attack") == "site features 0.25 members" and a["data-target"] == "federated"
    )
    assert row[2].endswith("others 0.297")


def test_a_question_that_nobody_asked_is_named(asked: Audit) -> None:
    assert asides.not_asked(asked) == ""
    without = replace(asked, verdicts=tuple(v for v in asked.verdicts if v.question != "holding"))
    text = "Not asked, so not answered: what the model adds for whoever holds the scan."
    assert asides.not_asked(without) == text
    assert text in headline(without)
    assert text in Page(undrawn(without)).sections["found"]


def test_an_audit_made_before_questions_were_told_apart_says_so(asked: Audit) -> None:
    old = replace(asked, verdicts=tuple(replace(v, question="") for v in asked.verdicts if v.question == "training"))
    assert asides.not_asked(old).startswith("This audit was made before its questions were told apart")


def test_an_audit_that_settles_nothing_does_not_read_as_harmless(asked: Audit) -> None:
    nothing = replace(asked, verdicts=tuple(replace(v, verdict=INCONCLUSIVE) for v in asked.verdicts))
    assert headline(nothing)[0] == (
        "Hospital and sex: no model is cleared for every kind of recipient, and none is shown to leak."
    )
    assert {verdict for row in handover(nothing) for verdict, _ in row.cells + row.of_anybody} == {INCONCLUSIVE}
    target = next(t for t in nothing.targets if t.name == "central")
    assert advice(nothing, target).startswith(
        "It is not settled whether central gives away a patient's hospital or sex."
    )
    assert release(nothing) == "On this audit, none of the 3 models may be given to anybody."


def test_a_baseline_that_failed_is_a_line_of_its_own(asked: Audit) -> None:
    failed = TargetFailure(target="untrained", step="attack_attributes", reason="constant features", role="baseline")
    (line,) = failures.lines(replace(asked, failures=(failed,)))
    assert line.startswith(
        "baseline untrained is missing, because the attack on it failed: constant features; no attack"
    )


def test_where_training_scans_are_not_known_that_is_said_of_what_is_remembered(asked: Audit) -> None:
    assert not any("are not known" in one.warning for one in sentences.headlines(asked))
    unknown = replace(asked, targets=tuple(replace(t, n_train=0) for t in asked.targets))
    assert all("training scans of this model are not known" in one.warning for one in sentences.headlines(unknown))
    unasked = replace(unknown, verdicts=tuple(v for v in unknown.verdicts if v.question != "memorised"))
    assert not any(one.warning for one in sentences.headlines(unasked))


def test_attributes_that_hang_together_are_named_where_one_of_them_may_leak(asked: Audit) -> None:
    tied = replace(asked, associations={"site": {"sex": 0.81, "age_band": 0.12}})
    (line,) = asides.told_together(tied)
    assert line.startswith("Among these patients, hospital and sex hang together (Cramer's V 0.81")
    assert line in headline(tied)
    assert line in Page(undrawn(tied)).sections["found"]
    assert asides.told_together(asked) == []
    cleared = replace(tied, verdicts=tuple(replace(v, verdict=NO_LEAK) for v in tied.verdicts))
    assert asides.told_together(cleared) == []


def test_what_the_answers_tell_is_told_to_whoever_has_the_weights(asked: Audit) -> None:
    """Only the outputs of siloed leak: with the weights come the answers, so their holder is not cleared either."""
    verdicts = tuple(
        replace(v, verdict=LEAK)
        if (v.attack.target, v.question, v.attack.access) == ("siloed", "training", "outputs")
        else v
        for v in asked.verdicts
    )
    told = replace(asked, verdicts=verdicts)
    (row,) = [row for row in handover(told) if row.target == "siloed"]
    assert [verdict for verdict, _ in row.cells] == [LEAK, LEAK, NO_LEAK]
    assert row.allowed == ("holds the patient's scan and gets the model",)
    (target,) = [t for t in told.targets if t.name == "siloed"]
    assert advice(told, target).endswith("No leak was found to whoever holds both the model and the patient's scan.")
    only = replace(told, verdicts=tuple(v for v in verdicts if v.attack.access != "features"))
    assert WHO[1] not in recipients(only), "nobody asked about weights"
