"""Who gives away most: the order and the numbers of the audit, in a sentence."""

from dataclasses import replace

from flprivacy.core.attributes import AttackKey
from flprivacy.core.audit import Audit, ExcessEstimate
from flprivacy.reporting.asides import ranking_lines
from flprivacy.reporting.html import render
from flprivacy.reporting.terminal import headline
from tests.reporting.example_audit import example_audit

AUDIT = example_audit(n_sites=3, attributes=("site", "age_years"), accesses=("features",), fractions=(0.25,))


def _comparison(first: str, other: str, metric: str, attribute: str, value: float) -> ExcessEstimate:
    return ExcessEstimate(
        attack=AttackKey(target=first, attribute=attribute, access="features", fraction=0.25),
        baseline=other,
        metric=metric,
        value=value,
        ci_low=value - 0.1,
        ci_high=value + 0.1,
        p_value=0.01,
        best_baseline=False,
    )


def _compared() -> Audit:
    pairs = (
        _comparison("central", "federated", "f1_weighted", "site", 0.215),
        _comparison("central", "siloed", "f1_weighted", "site", 0.178),
        _comparison("siloed", "federated", "f1_weighted", "site", 0.037),
        _comparison("central", "federated", "mae_years", "age_years", 1.1),
        _comparison("central", "siloed", "mae_years", "age_years", 1.2),
    )
    return replace(AUDIT, comparisons=pairs)


def test_the_strongest_attack_leads_and_each_other_target_follows_with_its_interval() -> None:
    site, years = ranking_lines(_compared())
    assert site.startswith("Most exposed, hospital from features: central (0.")
    assert "ahead of siloed by 0.178 [0.078, 0.278] and federated by 0.215 [0.115, 0.315]." in site
    assert years.startswith("Most exposed, age in years from features: central (")
    assert "siloed by 1.20 [1.10, 1.30]" in years


def test_terminal_and_page_show_it() -> None:
    audit = _compared()
    lines, page = ranking_lines(audit), render(audit)
    assert len(lines) == 2
    assert set(lines) <= set(headline(audit))
    assert all(line in page for line in lines)


def test_nothing_is_ranked_without_comparisons() -> None:
    assert ranking_lines(AUDIT) == ()
