"""The honest sentences: verdict, effect, interval and condition, in that target's own numbers."""

from dataclasses import replace

import pytest
from example_audit import example_audit

from flprivacy.core.attributes import AttackKey
from flprivacy.core.audit import INCONCLUSIVE, LEAK, NO_LEAK, Audit, Look, TargetSummary, Verdict
from flprivacy.reporting import sentences, words


def _verdict(word: str, attribute: str = "site", access: str = "features", **numbers) -> Verdict:
    years = attribute == "age_years"
    given = {"excess": 0.2, "ci_low": 0.15, "ci_high": 0.25, "threshold": 0.02} | numbers
    return Verdict(
        attack=AttackKey(target="central", attribute=attribute, access=access, fraction=0.1),
        metric="mae_years" if years else "f1_weighted",
        value=0.5, value_ci_low=0.4, value_ci_high=0.6, baseline="pixels", baseline_value=0.3, p_value=0.01,
        verdict=word, reason="", **given,
    )  # fmt: skip


def _sentence(*verdicts: Verdict) -> str:
    audit = Audit(
        name="a", cohort_name="c", cohort_digest="", cohort={}, config={"audit": {"confidence": 0.9}},
        targets=(TargetSummary(name="central", role="target"),), metrics=(), excesses=(), verdicts=verdicts,
        confusions=(), scatters=(), curves=(),
    )  # fmt: skip
    (found,) = sentences.headlines(audit)
    return found.sentences


def test_leak_names_secret_means_strength_excess_and_interval() -> None:
    assert _sentence(_verdict(LEAK)) == (
        "central gives away the hospital that a scan comes from: an attacker with its features and 10% of the "
        "training scans reaches a weighted F1 of 0.500, 0.200 higher (90% interval 0.150 to 0.250) than without its "
        "training."
    )


def test_leak_mentions_the_other_attributes() -> None:
    text = _sentence(
        _verdict(LEAK),
        _verdict(LEAK, "sex", access="outputs"),
        _verdict(INCONCLUSIVE, "age_band"),
        _verdict(NO_LEAK, "age_years"),
    )
    assert "It also gives away the patient's sex (+0.200 [0.150, 0.250], from answers)." in text
    assert text.endswith("Inconclusive: age band. No leak found: age in years.")


def test_leak_from_one_access_is_a_leak_of_the_attribute() -> None:
    text = _sentence(_verdict(NO_LEAK, access="outputs"), _verdict(LEAK, access="finetune"))
    assert "its weights to fine-tune" in text
    assert "No leak found" not in text


def test_error_in_years_is_better_not_higher() -> None:
    text = _sentence(_verdict(LEAK, "age_years", excess=1.5, ci_low=1.0, ci_high=2.0))
    assert "1.50 years better (90% interval 1.00 to 2.00)" in text


def test_inconclusive_shows_the_interval_against_the_threshold() -> None:
    text = _sentence(_verdict(INCONCLUSIVE, ci_low=-0.01, ci_high=0.05))
    assert text == (
        "central is not cleared: for hospital, the 90% interval of its excess in weighted F1 (\N{MINUS SIGN}0.010 "
        "to 0.050, from features) includes the tolerated 0.020."
    )


def test_inconclusive_over_another_baseline_does_not_claim_that_the_interval_crosses() -> None:
    text = _sentence(_verdict(INCONCLUSIVE, ci_low=0.1))
    assert "includes" not in text
    assert "not for every baseline" in text


def test_the_limit_is_in_the_metric_that_keeps_the_verdict_open_and_years_say_so_themselves() -> None:
    look = Look(
        metric="auc_ovr", value=0.7, baseline="pixels", baseline_value=0.6, excess=0.1, ci_low=-0.1, ci_high=0.3,
        threshold=0.03, p_leak=0.4, p_adjusted=1.0, verdict=INCONCLUSIVE, reason="",
    )  # fmt: skip
    text = _sentence(replace(_verdict(INCONCLUSIVE), looks=(look,)))
    assert "its excess in macro AUC (\N{MINUS SIGN}0.100 to 0.300, from features) includes the tolerated 0.030." in text
    text = _sentence(_verdict(INCONCLUSIVE, "age_years", excess=0.5, ci_low=-1.0, ci_high=2.0))
    assert "its excess (\N{MINUS SIGN}1.00 to 2.00 years, from" in text
    assert text.endswith("years.")


def test_an_excess_above_the_limit_that_chance_may_bring_is_said_to_be_above_it_taken_alone() -> None:
    one = _verdict(INCONCLUSIVE, ci_low=0.1)
    look = Look(
        metric="f1_weighted", value=0.5, baseline="pixels", baseline_value=0.3, excess=0.2, ci_low=0.1, ci_high=0.25,
        threshold=0.02, p_leak=0.001, p_adjusted=0.2, verdict=INCONCLUSIVE, reason="",
    )  # fmt: skip
    text = _sentence(replace(one, looks=(look,)), _verdict(NO_LEAK, "sex"))
    assert "lies above the tolerated 0.020 taken alone, but among the 2 comparisons of this audit chance alone" in text


def test_nothing_found_still_bounds_the_leak() -> None:
    text = _sentence(
        _verdict(NO_LEAK, ci_high=0.015),
        _verdict(NO_LEAK, "sex", ci_high=0.01),
        _verdict(NO_LEAK, "age_years", ci_high=0.4),
    )
    assert text == (
        "central: no leak found. The upper ends of the 90% intervals allow an excess of at most 0.015 in weighted F1 "
        "(hospital from features) and 0.40 years of error saved (age in years from features)."
    )


def test_nothing_found_below_zero_is_not_called_a_negative_bound() -> None:
    text = _sentence(_verdict(NO_LEAK, excess=-0.1, ci_low=-0.2, ci_high=-0.05))
    assert text.endswith("allow no excess at all.")
    mixed = _sentence(_verdict(NO_LEAK, ci_high=0.01), _verdict(NO_LEAK, "age_years", ci_high=-0.4))
    assert mixed.endswith("at most 0.010 in weighted F1 (hospital from features) and none in years of error.")


def test_attacks_that_did_worse_than_a_baseline_are_owned_up_to(audit: Audit) -> None:
    weak = sum(v.ci_high < 0 for v in audit.verdicts)
    assert sentences.weak_attacks(audit).startswith(f"{weak} of 24 attacks do clearly worse than the best baseline")
    strong = replace(audit, verdicts=tuple(v for v in audit.verdicts if v.ci_high >= 0))
    assert sentences.weak_attacks(strong) == ""


def test_without_a_rule_nothing_is_claimed() -> None:
    assert "no rule" in _sentence()


def test_no_sentence_says_safe(audit: Audit) -> None:
    lines = [sentences.overall(audit), sentences.conditions(audit), *(h.sentences for h in sentences.headlines(audit))]
    assert not any(word in line.lower() for line in lines for word in ("safe", "secure", "private", "proves"))


@pytest.mark.parametrize(
    ("kept", "expected"),
    [
        (
            ("untrained", "siloed", "central", "federated", "pixels"),
            "Hospital, sex and age: 1 of 3 models gives away more",
        ),
        (
            ("untrained", "siloed", "pixels"),
            "Hospital, sex and age: the model is not cleared for every kind of recipient, and is not shown to leak.",
        ),
    ],
)
def test_overall(kept: tuple[str, ...], expected: str) -> None:
    assert sentences.overall(example_audit(keep=kept)).startswith(expected)


def test_an_audit_that_settles_nothing_does_not_read_as_one_without_leaks(audit: Audit) -> None:
    open_ = replace(audit, verdicts=tuple(replace(v, verdict=INCONCLUSIVE) for v in audit.verdicts))
    assert sentences.overall(open_) == (
        "Hospital, sex and age: no model is cleared for every kind of recipient, and none is shown to leak."
    )
    first = audit.verdicts[0].attack.target
    partly = replace(
        audit,
        verdicts=tuple(replace(v, verdict=(INCONCLUSIVE, NO_LEAK)[v.attack.target == first]) for v in open_.verdicts),
    )
    assert sentences.overall(partly) == (
        "Hospital, sex and age: no model is shown to leak, but 2 of 3 models are not cleared for every kind of "
        "recipient."
    )


def test_overall_without_leaks(audit: Audit) -> None:
    clear = replace(audit, verdicts=tuple(replace(v, verdict=NO_LEAK) for v in audit.verdicts))
    assert sentences.overall(clear) == "Hospital, sex and age: these attacks found no leak in 3 models."
    assert sentences.overall(replace(audit, verdicts=())).endswith("the policy has no rule for any of the models.")


def test_conditions_name_what_was_exposed(audit: Audit) -> None:
    assert "25% of the training scans exposed" in sentences.conditions(audit)
    assert "stronger attack may find more" in sentences.conditions(audit)


def test_partly_loaded_target_is_warned_about() -> None:
    audit = example_audit(n_sites=3, partial="central")
    warnings = {h.target: h.warning for h in sentences.headlines(audit)}
    assert "only 31 of 42 tensors loaded" in warnings["central"]
    assert not warnings["federated"]


@pytest.mark.parametrize(
    ("value", "metric", "plain", "with_sign"),
    [
        (0.2084, "f1_weighted", "0.208", "+0.208"),
        (-0.0304, "f1_weighted", "\N{MINUS SIGN}0.030", "\N{MINUS SIGN}0.030"),
        (-0.0001, "f1_weighted", "0.000", "0.000"),
        (1.499, "mae_years", "1.50", "+1.50"),
    ],
)
def test_numbers(value: float, metric: str, plain: str, with_sign: str) -> None:
    assert words.number(value, metric) == plain
    assert words.signed(value, metric) == with_sign


def test_formats() -> None:
    assert [words.percent(f) for f in (0.1, 0.25, 0.07, 0.005, 1.0)] == ["10%", "25%", "7%", "0.5%", "100%"]
    assert [words.p_value(p) for p in (0.0, 0.0009, 0.024, 1.0)] == ["<0.001", "<0.001", "0.024", "1.000"]
    assert words.interval(-0.01, 0.02, "accuracy") == "[\N{MINUS SIGN}0.010, 0.020]"
    assert words.listed(["a"]) == "a"
    assert words.listed(["a", "b", "c"], "or") == "a, b or c"


def test_shortened_names_keep_both_ends() -> None:
    short = {words.shorten(f"federated-dp-epsilon-{i}", 18) for i in range(3)}
    assert len(short) == 3
    assert all(len(name) == 18 and name.startswith("federated") for name in short)
    assert words.shorten("central", 18) == "central"


def test_interval_is_named_by_the_configuration(audit: Audit) -> None:
    assert words.interval_name(audit) == "95% interval"
    assert words.interval_name(replace(audit, config={"confidence": 0.8})) == "80% interval"
    assert words.interval_name(replace(audit, config={})) == "interval"
