"""What the report says of a generator, and that no patient is on it."""

from dataclasses import replace

import pytest
from report_page import Page, undrawn

from flprivacy.core.audit import Audit
from flprivacy.core.generator_audit import (
    COPIES,
    NO_COPIES,
    UNDECIDED,
    Agreement,
    AnatomyCheck,
    ClosenessTest,
    Diversity,
    Fidelity,
    GeneratorAudit,
    Measured,
    Memorisation,
    NearestPair,
    SamplePicture,
)
from flprivacy.core.membership import MembershipFinding
from flprivacy.reporting import generator as generators
from flprivacy.reporting.figures.generator import figures_of
from flprivacy.reporting.terminal import headline

# One grey pixel.
PIXEL = "data:image/webp;base64,UklGRiQAAABXRUJQVlA4IBgAAAAwAQCdASoBAAEAAgA0JaQAA3AA/vuUAAA="
SHARE = Measured(value=0.8, low=0.7, high=0.9)
DIVERSITY = Diversity(density=0.9, coverage=0.8, ideal_coverage=0.97, k=5, n_real=100, n_synthetic=100)


def example(verdict: str = NO_COPIES, members: str = "no leak found", *, phantoms: bool = False) -> GeneratorAudit:
    return GeneratorAudit(
        generator_digest="g" * 64,
        cohort_name="tiny",
        cohort_digest="c" * 64,
        synthetic_digest="s" * 64,
        n_training=300,
        n_held_out=100,
        n_synthetic=200,
        memorisation=Memorisation(
            verdict=verdict,
            reason="nearness is what chance explains",
            p_value=0.4,
            error_rate=0.01,
            tests=(ClosenessTest(name="nearer", value=-0.1, expected=-0.1, p_value=0.5),),
            found_rates={"0.05": 0.97},
            detectable_share=0.05,
            suspects=3,
            suspects_expected=2.0,
            suspects_of_training=2,
            n_synthetic=200,
            n_training=250,
            n_held_out=90,
        ),
        membership=(MembershipFinding(target="generator", level="scan", verdict=members, reason="by chance"),),
        fidelity=Fidelity(features="numbers", distance=SHARE, floor=SHARE, n=100),
        diversity=DIVERSITY,
        diversity_of_real=DIVERSITY,
        agreement=(
            Agreement(
                condition="site", classifier="a rule", synthetic=SHARE, real=SHARE, chance=0.5, p_value=0.0, n=200
            ),
        ),
        anatomy=(
            AnatomyCheck(
                name="lung volume fraction",
                unit="of the body",
                distance=SHARE,
                floor=SHARE,
                mean_synthetic=0.3,
                mean_real=0.31,
            ),
        ),
        samples=(SamplePicture(site="A", label="normal", synthetic=PIXEL, real=PIXEL),),
        nearest=(NearestPair(synthetic=PIXEL, real=PIXEL, closeness=0.9, trained_on=True),),
        phantoms=phantoms,
    )


@pytest.mark.parametrize(
    ("verdict", "members", "words"),
    [
        (COPIES, "leak", "copies patients it was trained on: do not hand out"),
        (NO_COPIES, "leak", "was not found to copy patients it was trained on, but attacks on it tell who"),
        (NO_COPIES, "no leak found", "was not found to copy patients it was trained on, and no attack on it tells"),
        (
            UNDECIDED,
            "inconclusive",
            "could not be settled; whether attacks on it tell who was trained on is not settled",
        ),
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
