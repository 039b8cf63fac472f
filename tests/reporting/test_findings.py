"""Selection and order: what the audit holds, targets first, deciding numbers where there are any."""

from dataclasses import replace

from example_audit import example_audit

from flprivacy.core.attributes import AttackKey
from flprivacy.core.audit import INCONCLUSIVE, LEAK, NO_LEAK, Audit
from flprivacy.reporting.findings import (
    accesses,
    attacks,
    attributes,
    baselines,
    decisive_fraction,
    decisive_metric,
    estimate,
    order,
    severity,
    targets,
    verdicts,
)
from flprivacy.reporting.tables import glance, models_tables, site_names
from flprivacy.reporting.words import number


def test_targets_come_before_baselines(audit: Audit) -> None:
    assert list(order(audit)) == ["siloed", "central", "federated", "untrained", "pixels", "majority"]
    assert [t.name for t in targets(audit)] == ["siloed", "central", "federated"]
    assert [t.name for t in baselines(audit)] == ["untrained", "pixels", "majority"]


def test_targets_that_only_numbers_know_are_not_lost(audit: Audit) -> None:
    bare = replace(audit, targets=())
    assert {t.name for t in targets(bare)} == {"siloed", "central", "federated"}
    assert {t.name for t in baselines(bare)} == {"untrained", "pixels", "majority"}
    assert "central" in order(replace(bare, metrics=(), verdicts=(), excesses=()))


def test_attacks_are_in_a_fixed_order(audit: Audit) -> None:
    shuffled = replace(audit, verdicts=audit.verdicts[::-1], metrics=audit.metrics[::-1])
    assert attributes(shuffled) == ("site", "sex", "age_band", "age_years")
    assert accesses(shuffled, "site") == ("features", "outputs")
    assert attacks(shuffled) == attacks(audit)
    assert verdicts(shuffled) == verdicts(audit)


def test_the_policys_fraction_decides_not_the_largest(audit: Audit) -> None:
    assert decisive_fraction(audit, "site") == 0.25
    at_ten = replace(audit, verdicts=tuple(replace(v, attack=replace(v.attack, fraction=0.1)) for v in audit.verdicts))
    assert decisive_fraction(at_ten, "site") == 0.1
    assert decisive_fraction(replace(audit, verdicts=()), "site") == 0.25
    assert decisive_fraction(audit, "shoe size") is None


def test_the_policys_metric_decides(audit: Audit) -> None:
    macro = replace(
        audit, verdicts=tuple(replace(v, metric="f1_macro") for v in audit.verdicts if v.attack.attribute == "site")
    )
    assert decisive_metric(macro, "site") == "f1_macro"
    assert decisive_metric(macro, "sex") == "f1_weighted"
    assert decisive_metric(macro, "age_years") == "mae_years"


def test_baselines_without_a_model_count_for_every_access(audit: Audit) -> None:
    attack = AttackKey(target="pixels", attribute="site", access="outputs", fraction=0.25)
    pixels, central = (estimate(audit, attack.on(name), "f1_weighted") for name in ("pixels", "central"))
    assert pixels is not None
    assert pixels.attack.access == "none"
    assert central is not None
    assert central.attack.access == "outputs"
    assert estimate(audit, attack.on("nobody"), "f1_weighted") is None


def test_the_gravest_verdict_wins(audit: Audit) -> None:
    one = audit.verdicts[0]
    words = [replace(one, verdict=w) for w in (NO_LEAK, LEAK, INCONCLUSIVE)]
    assert severity(words) == LEAK
    assert severity(words[::2]) == INCONCLUSIVE
    assert severity(words[:1]) == NO_LEAK
    assert severity([]) == ""


def test_glance_takes_the_largest_of_several_judged_fractions(audit: Audit) -> None:
    both = replace(
        audit,
        verdicts=(
            *audit.verdicts,
            *(replace(v, attack=replace(v.attack, fraction=0.1), excess=9.0) for v in audit.verdicts),
        ),
    )
    assert glance(both) == glance(audit)


def test_models_are_named_by_their_hospital() -> None:
    audit = example_audit(n_sites=3, attributes=("site",))
    assert site_names(audit) == {}  # the hospitals are called like the models
    named = replace(
        audit, confusions=tuple(replace(c, class_names=("Alpha", "Beta", "Gamma")) for c in audit.confusions)
    )
    assert site_names(named) == {"site-00": "Alpha", "site-01": "Beta", "site-02": "Gamma"}


def test_models_tables_hold_every_model_of_every_attack(audit: Audit) -> None:
    siloed, untrained = models_tables(audit)
    assert (siloed.target, len(siloed.models), len(siloed.spreads)) == ("siloed", 21, 8)
    assert (untrained.target, len(untrained.models)) == ("untrained", 5)
    assert all(set(row.per_model) == set(siloed.models) for row in siloed.spreads)


def test_the_page_names_the_extreme_models(audit: Audit, report: str) -> None:
    siloed, _ = models_tables(audit)
    page = " ".join(report.split())
    for row in siloed.spreads:
        for extreme in (min, max):
            model = extreme(row.per_model, key=lambda name: row.per_model[name])
            assert f"{number(row.per_model[model], row.metric)} <small>{model}</small>" in page
