"""What the report says of a generator, and that no patient is on it."""

from dataclasses import replace

import pytest
from report_page import Page, undrawn

from flprivacy.core.audit import Audit
from flprivacy.core.generator_audit import COPIES, NO_COPIES, UNDECIDED
from flprivacy.core.membership import MembershipFinding
from flprivacy.reporting import generator as generators
from flprivacy.reporting.figures.generator import figures_of
from flprivacy.reporting.terminal import headline
from tests.generator_audits import example


@pytest.mark.parametrize(
    ("verdict", "members", "words"),
    [
        (COPIES, "leak", "copies patients it was trained on: do not hand out"),
        (NO_COPIES, "leak", "was not found to copy patients it was trained on, but attacks on it tell who"),
        (NO_COPIES, "no leak found", "was not found to copy patients it was trained on, and no attack on it tells"),
        (
            UNDECIDED,
            "inconclusive",
            "could not be settled; whether attacks on it tell who was trained on is not settled: do not hand it out",
        ),
        (UNDECIDED, "no leak found", "no attack on it tells who was trained on: do not hand it out, nor its scans"),
    ],
)
def test_the_first_line_says_whether_patients_are_copied(verdict: str, members: str, words: str) -> None:
    assert words in generators.first_line(example(verdict, members))


def test_the_section_begins_with_it_and_every_check_has_a_sentence(small_audit: Audit) -> None:
    found = example()
    page = Page(undrawn(replace(small_audit, generator=found)))
    section = page.sections["generator"]
    assert generators.first_line(found) in section
    assert "The discriminator, which is among the attacks, stays with the auditors" in section
    (table,) = (table for table in page.tables if table.name == "generator")
    assert [row[0] for row in table.rows[1:]][:4] == [
        "Privacy",
        "Copies of patients no copying found",
        "Suspicious scans",
        "Membership of a scan no leak found",
    ]
    assert all(len(row) == 1 or len(row[3]) > 40 for row in table.rows[1:])
    assert "Perfect copies are perfect in both" in section
    assert generators.first_line(found) in headline(replace(small_audit, generator=found))


@pytest.mark.parametrize(
    ("verdict", "members", "row"),
    [
        (COPIES, "inconclusive", ["nobody", "\N{BLACK CIRCLE} leak copies of patients"]),
        (NO_COPIES, "leak", ["nobody", "\N{BLACK CIRCLE} leak who was trained on"]),
        (
            UNDECIDED,
            "inconclusive",
            ["nobody", "\N{CIRCLE WITH LEFT HALF BLACK} inconclusive copies of patients and who was trained on"],
        ),
        (NO_COPIES, "no leak found", ["not judged", "\N{WHITE CIRCLE} no leak found"]),
    ],
)
def test_the_first_table_has_a_row_for_it(small_audit: Audit, verdict: str, members: str, row: list[str]) -> None:
    named = "generator of synthetic scans"
    page = Page(undrawn(replace(small_audit, generator=example(verdict, members))))
    assert page.table("handover").rows[-1] == [named, *row], "attributes were not attacked, nor models on membership"
    of_a_model = MembershipFinding(target="central", level="scan", verdict="leak", reason="planted")
    page = Page(undrawn(replace(small_audit, generator=example(verdict, members), membership=(of_a_model,))))
    assert page.table("handover").rows[-1] == [named, *row, "not attacked"]
    told = "do not hand" in generators.first_line(example(verdict, members))
    assert told == (row[0] == "nobody"), "the first lines and the table agree"
    verdict_class = {"leak": "leak", "inconclusive": "open"}.get(row[1].split()[1], "none")
    found = undrawn(replace(small_audit, generator=example(verdict, members)))
    card = found[found.index('<section class="generator">') :].partition('<article class="card ')[2]
    assert card.startswith(f'{verdict_class}"'), "and so does the colour of what the section says first"


def test_without_a_generator_nothing_is_said(small_audit: Audit) -> None:
    page = Page(undrawn(small_audit))
    assert "generator" not in page.sections
    assert not any("generator" in line for line in headline(small_audit))


def test_patients_are_shown_only_where_they_are_of_nobody() -> None:
    assert set(figures_of(example(phantoms=True).without_patients())) == {"generator-samples", "generator-nearest"}
    shown = example().without_patients()
    assert set(figures_of(shown)) == {"generator-samples"}
    assert not shown.samples[0].real
    assert not figures_of(example(COPIES).without_patients())
    assert "may be copies" in generators.of_real(example(COPIES).without_patients())


def test_a_report_shows_no_patient_even_if_the_audit_holds_one(small_audit: Audit) -> None:
    page = Page(undrawn(replace(small_audit, generator=example())))
    assert "no picture of a patient" in page.sections["generator"]
    titles = [text for text in ("beside real scans", "nearest pairs: synthetic") if text in page.sections["generator"]]
    assert titles == []


def test_the_trade_is_listed_where_a_target_was_trained_on_synthetic_scans(small_audit: Audit) -> None:
    plain = replace(small_audit, generator=example())
    assert not generators.targets(plain)
    first, *others = plain.targets
    target = next(one for one in plain.targets if one.role == "target")
    mixed = replace(
        plain, targets=tuple(replace(one, synthetic_share=0.5) if one is target else one for one in (first, *others))
    )
    page = Page(undrawn(mixed))
    (table,) = (table for table in page.tables if table.name == "trade")
    assert table.rows[1][:2] == [target.name, "50%"]


def test_the_figures_are_drawn() -> None:
    for _, draw in figures_of(example(phantoms=True)).values():
        assert draw().axes


def test_what_could_not_be_checked_has_a_row_with_the_reason(small_audit: Audit) -> None:
    few = replace(
        example(UNDECIDED),
        fidelity=None,
        diversity=None,
        diversity_of_real=None,
        unchecked={"Frechet distance": "12 held-out scans: a distance needs 16"},
    )
    untested = replace(few, memorisation=replace(few.memorisation, tests=(), n_held_out=3))
    (table,) = (
        one for one in Page(undrawn(replace(small_audit, generator=untested))).tables if one.name == "generator"
    )
    rows = {row[0]: row[1:] for row in table.rows}
    assert rows["Frechet distance"][::2] == ["not checked", "12 held-out scans: a distance needs 16."]
    assert rows["Copies of patients inconclusive"][0] == "not tested"
    assert "relative to all others, than any of the held-out patients" in rows["Suspicious scans"][2]
    assert "Density" not in rows
