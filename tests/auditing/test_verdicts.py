"""Verdicts and their reasons."""

from dataclasses import replace

import pytest

from flprivacy.auditing.config import Policy, PolicyRule
from flprivacy.auditing.verdicts import judge
from flprivacy.core.attributes import AttackKey
from flprivacy.core.audit import ExcessEstimate, MetricEstimate, Verdict
from flprivacy.core.errors import AuditError, ConfigError
from flprivacy.core.parsing import from_mapping

ACCESS = {"untrained": "joint", "pixels": "none", "majority": "none", "central": "joint"}
ASKED = "what the model adds for whoever holds the scan"
VALUES = {"central": 0.40, "untrained": 0.30, "pixels": 0.35, "majority": 0.20}


def metrics(metric: str = "f1_weighted", attribute: str = "site") -> list[MetricEstimate]:
    return [
        MetricEstimate(
            attack=AttackKey(target=name, attribute=attribute, access=ACCESS[name], fraction=fraction),
            role="target" if name == "central" else "baseline",
            metric=metric,
            value=value,
            ci_low=value - 0.05,
            ci_high=value + 0.05,
            n_scans=100,
            n_patients=90,
            n_seeds=5,
            n_models=1,
        )
        for name, value in VALUES.items()
        for fraction in (0.1, 0.25)
    ]


def excesses(
    reach: dict[str, float],
    metric: str = "f1_weighted",
    attribute: str = "site",
    fractions: tuple[float, ...] = (0.1, 0.25),
) -> list[ExcessEstimate]:
    """Excess over each baseline with half-width ``reach``; at fraction 0.1 the intervals are hopelessly wide."""
    return [
        ExcessEstimate(
            attack=AttackKey(target="central", attribute=attribute, access="joint", fraction=fraction),
            baseline=name,
            metric=metric,
            value=VALUES["central"] - VALUES[name],
            ci_low=VALUES["central"] - VALUES[name] - (half if fraction == 0.25 else 0.9),
            ci_high=VALUES["central"] - VALUES[name] + (half if fraction == 0.25 else 0.9),
            p_value=0.01,
            best_baseline=name == "pixels",
            standard_error=(half if fraction == 0.25 else 0.9) / 2.0,
            degrees=60.0,
        )
        for name, half in reach.items()
        for fraction in fractions
    ]


def verdict(threshold: float, *, untrained: float = 0.02, pixels: float = 0.02, note: str = "") -> Verdict:
    found = excesses({"untrained": untrained, "pixels": pixels, "majority": 0.02})
    policy = {"site": PolicyRule(threshold=threshold)}
    (only,) = judge(metrics(), found, policy, note=note)
    return only


def test_leak() -> None:
    found = verdict(0.02)
    assert found.verdict == "leak"
    assert found.reason == (
        f"{ASKED}: lower end +.030 over the best baseline (pixels) is above the threshold .02, "
        "and so it is over every other baseline"
    )


def test_no_leak_found() -> None:
    found = verdict(0.1)
    assert found.verdict == "no leak found"
    assert found.reason == f"{ASKED}: upper end +.070 over the best baseline (pixels) is below the threshold .1"


def test_inconclusive() -> None:
    found = verdict(0.06)
    assert found.verdict == "inconclusive"
    assert (
        found.reason == f"{ASKED}: interval +.030 to +.070 over the best baseline (pixels) contains the threshold .06"
    )


def test_one_baseline_that_may_explain_it_is_enough_for_doubt() -> None:
    found = verdict(0.02, untrained=0.15)
    assert found.verdict == "inconclusive"
    assert found.reason == (
        f"{ASKED}: lower end +.030 over the best baseline (pixels) is above the threshold .02, "
        "but over untrained it is only -.050"
    )


def test_an_end_on_the_threshold_decides_nothing() -> None:
    on_it = [replace(e, ci_low=0.02, ci_high=0.08) for e in excesses({"pixels": 0.02}) if e.attack.fraction == 0.25]
    for threshold in (0.02, 0.08):
        (found,) = judge(metrics(), on_it, {"site": PolicyRule(threshold=threshold)})
        assert found.verdict == "inconclusive"


def test_a_reason_does_not_round_to_the_threshold() -> None:
    assert "lower end +.0201 over" in verdict(0.02, pixels=0.0299).reason


def test_a_note_joins_the_reason() -> None:
    assert verdict(0.1, note="only 3 attacker seeds").reason.endswith("threshold .1; only 3 attacker seeds")


def test_the_verdict_repeats_the_numbers_it_rests_on() -> None:
    found = verdict(0.02)
    assert (found.attack.target, found.attack.attribute, found.attack.access, found.metric) == (
        "central",
        "site",
        "joint",
        "f1_weighted",
    )
    assert (found.value, found.value_ci_low, found.value_ci_high) == pytest.approx((0.40, 0.35, 0.45))
    assert (found.baseline, found.baseline_value) == ("pixels", 0.35)
    assert (found.excess, found.ci_low, found.ci_high) == pytest.approx((0.05, 0.03, 0.07))
    assert (found.p_value, found.threshold) == (0.01, 0.02)


def test_the_largest_fraction_decides_unless_the_rule_names_one() -> None:
    assert verdict(0.02).attack.fraction == 0.25
    found = excesses({"pixels": 0.02})
    (named,) = judge(metrics(), found, {"site": PolicyRule(threshold=0.02, fraction=0.1)})
    assert (named.attack.fraction, named.verdict) == (0.1, "inconclusive")


def test_years_are_said_in_years() -> None:
    found = [replace(e, ci_low=0.55, ci_high=1.2) for e in excesses({"pixels": 0.1}, "mae_years", "age_years")]
    (only,) = judge(metrics("mae_years", "age_years"), found, Policy().rules)
    assert only.reason.startswith(
        f"{ASKED}: lower end +0.55 years over the best baseline (pixels) is above the threshold 0.5 years"
    )


def test_an_attribute_without_a_rule_gets_no_verdict() -> None:
    assert judge(metrics(), excesses({"pixels": 0.02}), {"sex": PolicyRule()}) == []


def test_a_rule_for_a_fraction_that_was_not_audited() -> None:
    policy = {"site": PolicyRule(fraction=0.5)}
    with pytest.raises(AuditError, match=r"rules\.site\.fraction is 0\.5, .* audited are 0\.1, 0\.25: attack with it"):
        judge(metrics(), excesses({"pixels": 0.02}), policy)


def test_a_fraction_that_only_some_targets_were_attacked_with() -> None:
    found = excesses({"pixels": 0.02})
    found += [replace(e, attack=e.attack.on("siloed")) for e in found if e.attack.fraction == 0.1]
    with pytest.raises(AuditError, match="was not audited for every target and access"):
        judge(metrics(), found, Policy().rules)


def test_a_rule_for_a_metric_that_was_not_measured() -> None:
    policy = {"site": PolicyRule(metric="top3_accuracy")}
    with pytest.raises(AuditError, match=r"metric is 'top3_accuracy', .* choose from f1_weighted"):
        judge(metrics(), excesses({"pixels": 0.02}), policy)


def test_a_rule_says_which_questions_it_judges_and_what_each_tolerates() -> None:
    found = excesses({"pixels": 0.02, "untrained": 0.02})
    found += [replace(e, attack=replace(e.attack, access="features")) for e in found if e.baseline == "untrained"]
    found = [replace(e, best_baseline=e.baseline == "pixels" or e.attack.access == "features") for e in found]
    known = metrics() + [replace(m, attack=replace(m.attack, access="features")) for m in metrics()]

    def judged(rule: PolicyRule) -> dict[str, float]:
        return {v.question: v.threshold for v in judge(known, found, {"site": rule})}

    assert judged(PolicyRule(threshold=0.02)) == {"training": 0.02, "holding": 0.02}
    assert judged(PolicyRule(questions={"holding": 0.05})) == {"holding": 0.05}
    assert judged(PolicyRule(questions={"training": 0.01, "holding": 0.05})) == {"training": 0.01, "holding": 0.05}


def test_a_policy_written_before_there_were_questions_judges_all_and_is_noted() -> None:
    old = from_mapping(Policy, {"rules": {"sex": {"threshold": 0.05}, "site": {"questions": {"training": 0.02}}}})
    assert old.rules["sex"].asked() == {"training": 0.05, "holding": 0.05, "memorised": 0.05}
    assert "does not say which questions it judges for sex" in old.note()
    assert Policy().note() == ""


@pytest.mark.parametrize(("questions", "message"), [({"joint": 0.1}, "'joint'"), ({"holding": -1.0}, "negative")])
def test_a_question_that_nobody_asks_is_refused(questions: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        PolicyRule(questions=questions)
