"""Whether a hospital took part: in the first line if it leaks, in a table of its own, not where nobody asked."""

from dataclasses import replace

import pytest
from report_page import Page, undrawn

from flprivacy.core.audit import Audit
from flprivacy.core.membership import Area, MembershipFinding, MembershipVerdict, SiteExposure
from flprivacy.core.parsing import from_mapping, to_mapping
from flprivacy.reporting import membership, sentences, tables
from flprivacy.reporting.markdown import verdicts_page
from flprivacy.reporting.terminal import headline
from flprivacy.tracking.checks import membership_metrics


def area(value: float) -> Area:
    return Area(value=value, low=value - 0.1, high=value + 0.05, standard_error=0.03, degrees=20.0)


def finding(target: str, verdict: str, value: float, held_out: Area | None) -> MembershipFinding:
    decision = MembershipVerdict(
        attack="contributed scans", metric="auc", value=value, chance=0.5, excess=value - 0.5, excess_low=value - 0.6,
        excess_high=value - 0.45, threshold=0.05, p_leak=0.001, p_adjusted=0.002, verdict=verdict, reason="because",
    )  # fmt: skip
    exposure = SiteExposure(
        auc=area(value), p_value=0.0001, noticed=0.57, least_p_value=1e-4, held_out=held_out,
        held_out_p_value=0.21 if held_out else None, references=8, recognised={"A & B": 0.9, "north": 0.4},
    )  # fmt: skip
    return MembershipFinding(
        target=target, level="site", verdict=verdict, reason="because", decision=decision, references=8,
        epsilon_claimed=8.0, delta=1e-5, caveats=("8 models were asked",), sites=exposure,
    )  # fmt: skip


@pytest.fixture(scope="module")
def asked(audit: Audit) -> Audit:
    found = finding("central", "leak", 0.83, area(0.61)), finding("federated", "inconclusive", 0.55, None)
    of_scans = [MembershipFinding(target=f.target, level="scan", verdict="no leak found", reason="") for f in found]
    refused = MembershipFinding(target="siloed", level="site", verdict="", reason="no hospital was asked about")
    return replace(audit, membership=(of_scans[0], found[0], of_scans[1], found[1], refused))


def test_a_leak_and_nothing_else_of_hospitals_is_in_the_first_line(asked: Audit) -> None:
    said = "Who was trained on: no attack that was run tells it of central and federated"
    assert sentences.overall(asked).startswith(
        f"{said}; central gives away whether a hospital took part. Hospital, sex and age:"
    )
    without = replace(asked, membership=tuple(one for one in asked.membership if one.verdict != "leak"))
    assert sentences.overall(without).startswith(f"{said}. Hospital, sex and age:")


def test_each_target_has_its_sentence_in_the_terminal(asked: Audit) -> None:
    lines = [line for line in headline(asked) if "membership of a hospital" in line]
    assert lines == [
        "central, membership of a hospital: leak; hospitals that took part in 8 models are told from the others by "
        "their training scans with AUC 0.830 [0.730, 0.880], p 0.0001, by chance 0.5; by other scans of theirs 0.610 "
        "[0.510, 0.660].",
        "federated, membership of a hospital: inconclusive; hospitals that took part in 8 models are told from the "
        "others by their training scans with AUC 0.550 [0.450, 0.600], p 0.0001, by chance 0.5.",
        "siloed, membership of a hospital: no hospital was asked about.",
    ]


def test_the_page_has_a_table_by_target_and_one_by_hospital(asked: Audit) -> None:
    page = undrawn(asked)
    assert page.count('data-level="site"') == 2
    assert '<th scope="row">A &amp; B</th><td class="n">90%</td><td class="n">90%</td>' in page
    text = Page(page).text
    assert "Noticed from" in text
    assert "of a hospital: " in text
    assert "central gives away whether a hospital took part: do not give it to anybody" in text
    assert "federated gives away whether a hospital took part" not in text


def test_nobody_may_have_a_target_that_gives_away_hospitals(audit: Audit) -> None:
    of_scans = [
        MembershipFinding(target=one.name, level="scan", verdict="no leak found", reason="") for one in audit.targets
    ]
    cleared = replace(audit, membership=tuple(of_scans))
    name = next(row.target for row in tables.handover(cleared) if row.allowed)
    for verdict, allowed in (("leak", False), ("inconclusive", True)):
        told = replace(cleared, membership=(*of_scans, finding(name, verdict, 0.83, None)))
        assert bool(next(row for row in tables.handover(told) if row.target == name).allowed) == allowed


def test_markdown_and_metrics_name_hospitals(asked: Audit) -> None:
    row = next(line for line in verdicts_page(asked).splitlines() if "which hospitals took part" in line)
    assert "AUC 0.830 \\[0.730, 0.880\\], 8 site references" in row
    assert "leak" in row
    metrics = membership_metrics(asked.membership[1])
    assert metrics["central.membership.site.auc"] == 0.83
    assert metrics["central.membership.site.auc.ci_low"] == pytest.approx(0.73)
    assert metrics["central.membership.site.p_value"] == 0.0001
    assert metrics["central.membership.site.held_out.auc"] == 0.61
    assert "federated.membership.site.held_out.auc" not in membership_metrics(asked.membership[3])


def test_where_nobody_asked_nothing_is_said(asked: Audit) -> None:
    of_scans = replace(asked, membership=tuple(one for one in asked.membership if one.level == "scan"))
    page = undrawn(of_scans)
    for word in ("took part", "Noticed from", 'class="sites"'):
        assert word not in page
    assert membership.gives_away_sites(of_scans) == ()


def test_an_audit_keeps_it_and_an_older_one_reads_without(asked: Audit) -> None:
    again = from_mapping(Audit, to_mapping(asked), "audit")
    assert again.membership == asked.membership
    older = to_mapping(asked.membership[1])
    del older["sites"]
    assert from_mapping(MembershipFinding, older, "finding").sites is None
