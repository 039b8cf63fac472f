"""What reports say of private targets, and the report of a check of private training."""

import io
from pathlib import Path

import pytest
from example_audit import example_audit
from private_audit import example_check, private_audit, statement
from rich.console import Console

from flprivacy.core.audit import Audit
from flprivacy.core.dp_check import CONTRADICTED, NOT_CONTRADICTED
from flprivacy.reporting.dp_check import check_lines, check_table, write_dp_check
from flprivacy.reporting.figures.canaries import bounds_against_claim, canary_scores
from flprivacy.reporting.figures.utility import utility_leakage
from flprivacy.reporting.html import render
from flprivacy.reporting.tables import range_of
from flprivacy.reporting.terminal import summary_table


def shown(renderable: object) -> str:
    console = Console(width=140, record=True, file=io.StringIO())
    console.print(renderable)
    return console.export_text()


def test_budgets_stand_beside_utility_in_the_terminal() -> None:
    text = shown(summary_table(private_audit()))
    assert "ε 7.99 per patient" in text
    assert "ε 4.2 per patient" in text
    assert "at delta 1e-05" in text
    assert "ε" not in shown(summary_table(example_audit(n_sites=5)))


def test_the_page_has_a_section_on_guarantees_only_where_there_are_any() -> None:
    page = render(private_audit())
    assert "Privacy guarantees" in page
    assert "any one patient, with all of their scans" in page
    assert "How many patients there are is taken as known" in page
    assert "what one patient adds to it (epsilon 7.99); this is no permission to release." in " ".join(page.split())
    plain = render(example_audit(n_sites=3, attributes=("sex",), accesses=("outputs",), fractions=(0.25,)))
    assert "Privacy guarantees" not in plain
    assert "no formal guarantee" in plain


def test_ranges_over_sites_are_written_as_one_number_where_they_are_one() -> None:
    found = {t.name: t.privacy for t in private_audit().targets if t.privacy is not None}
    ranges = {name: (range_of(p.client_epsilons), range_of(p.noise_multipliers)) for name, p in found.items()}
    assert ranges == {"federated": ("7.99", "0.95"), "siloed": ("1.31 to 4.2", "1 to 2")}
    assert range_of({}) == ""


def test_the_utility_figure_names_the_budgets() -> None:
    texts = [t.get_text() for t in utility_leakage(private_audit()).texts]
    assert any("federated: ε 7.99 per patient" in t for t in texts)


def test_an_audit_with_guarantees_survives_writing(tmp_path: Path) -> None:
    private_audit().write(tmp_path / "audit.json")
    assert Audit.read(tmp_path / "audit.json") == private_audit()
    assert statement().unit == "patient"


@pytest.mark.parametrize(("broken", "verdict"), [(False, NOT_CONTRADICTED), (True, CONTRADICTED)])
def test_the_report_of_a_check_says_verdict_claim_and_bounds(broken: bool, verdict: str, tmp_path: Path) -> None:
    check = example_check(broken=broken)
    assert check.verdict == verdict
    write_dp_check(check, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text("ascii")
    assert verdict in page
    assert "any one scan" in page
    assert page.count('<tr><th scope="row">Gaussian-DP') == 2
    assert not any(text in page for text in ("<script", "http://", "https://", "<a "))
    assert verdict in check_lines(check)[0]
    assert "Worst case, many scans (one patient has 16, or 1), 400 trials: claim not" in check_lines(check)[2]
    assert '<tr><th scope="row">many scans</th>' in page
    text = shown(check_table(check))
    assert "one-run f-DP" in text
    assert "nothing" in text


def test_the_figures_of_a_check_show_every_bound_and_score() -> None:
    check = example_check(broken=False)
    (axes,) = bounds_against_claim(check).axes
    assert len(axes.get_yticklabels()) == len(check.bounds)
    assert axes.get_xlim()[1] > check.claimed_epsilon
    panels = canary_scores(check).axes
    assert [p.get_title(loc="left") for p in panels] == ["released", "same-step"]
