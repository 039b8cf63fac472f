"""Changes since the last audit: none is hardly ever called one, a leakier target is called worse, with its evidence."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from flprivacy.auditing.changes import adjusted, compare_with_before, judge_change
from flprivacy.auditing.config import AuditConfig, Policy, PolicyRule
from flprivacy.core.attributes import AttackKey
from flprivacy.core.change import BETTER, NO_CHANGE, TOO_LITTLE_POWER, WORSE, AttackChange
from flprivacy.core.errors import AuditError
from flprivacy.core.scores import ScoreTable
from tests.auditing.change_examples import Again, count_changes
from tests.auditing.score_tables import People, make_table
from tests.auditing.simulation import Attacker

REPETITIONS = 100
SIGNAL, STRONG = Attacker(strength=1.5), Attacker(strength=3.0)
LUCKY = Attacker(strength=1.5, model_spread=0.3)
NULLS = {
    "attacked again with other seeds": Again(before=SIGNAL, fresh=SIGNAL, same_seeds=False),
    "trained again with luck": Again(before=LUCKY, now=LUCKY, fresh=LUCKY),
    "trained again with luck, several models": Again(before=LUCKY, now=LUCKY, fresh=LUCKY, models=3),
}
CONFIG = AuditConfig(bootstrap=100)


@pytest.mark.parametrize("name", NULLS)
def test_noise_alone_is_called_worse_in_at_most_five_of_a_hundred(name: str) -> None:
    counts = count_changes(NULLS[name], repetitions=REPETITIONS, seed=5)
    assert sum(counts.values()) == REPETITIONS
    assert counts[WORSE] <= 0.05 * REPETITIONS
    assert counts[BETTER] <= 0.05 * REPETITIONS


@pytest.mark.parametrize("scatter", [1.0, 1.5, 2.0, 3.0])
def test_training_that_scatters_wider_than_fresh_weights_is_not_called_worse(scatter: float) -> None:
    trained = Attacker(strength=1.5, model_spread=0.3 * scatter)
    # The factors of retraining.ROOM were chosen on seed 44.
    counts = count_changes(Again(before=trained, now=trained, fresh=LUCKY), repetitions=REPETITIONS, seed=2611)
    print(f"scatter {scatter:g}: {dict(counts)}")
    assert counts[WORSE] <= 0.05 * REPETITIONS


def test_a_jump_to_certainty_is_called_worse_in_spite_of_the_chance_in_training() -> None:
    """Sex .775 in the old model and 1.000 in the new one, all else trained again."""
    certain = Attacker(strength=9.0, model_spread=0.3)
    study = Again(
        before=LUCKY,
        now=certain,
        fresh=LUCKY,
        attributes=("site", "sex", "age_band"),
        changed=("sex",),
        patients=300,
    )
    found = [study.changes(np.random.default_rng([45, i])) for i in range(15)]
    jumps = [c for changes in found for c in changes if c.attack.attribute == "sex"]
    assert np.mean([c.before for c in jumps]) == pytest.approx(0.775, abs=0.03)
    assert np.mean([c.now for c in jumps]) > 0.985
    verdicts = [judge_change(changes, confidence=0.95) for changes in found]
    called = sum(verdict == WORSE and "sex from features" in reason for verdict, reason in verdicts)
    print(f"called worse in {called} of {len(found)}")
    assert called >= 13


def test_what_could_have_been_seen_stands_beside_the_comparison_and_decides_whether_it_says_anything() -> None:
    changes = Again(before=LUCKY, now=LUCKY, fresh=LUCKY).changes(np.random.default_rng(46))
    site = next(c for c in changes if c.attack.attribute == "site")
    assert site.standard_error is not None
    assert site.degrees is not None
    quantiles = stats.t.ppf(1 - 0.05 / 3 / 2, site.degrees) + stats.t.ppf(0.8, site.degrees)
    assert site.detectable == pytest.approx(quantiles * site.standard_error)
    assert site.tolerated == 0.02
    verdict, reason = judge_change(changes, confidence=0.95)
    assert verdict == TOO_LITTLE_POWER
    assert "to be noticed, and the policy tolerates" in reason
    assert "tolerates 0.02 in weighted F1; more" in reason or "tolerates 0.5 years; more" in reason
    lenient = [replace(c, tolerated=(c.detectable or 0.0) + 0.01) for c in changes]
    verdict, reason = judge_change(lenient, confidence=0.95)
    assert verdict == NO_CHANGE
    assert "a change above what the policy tolerates would have been seen" in reason


def test_an_audit_with_so_many_patients_and_models_that_it_sees_the_tolerance_says_no_change() -> None:
    steady = Attacker(strength=1.5, model_patient_spread=0.0, seed_spread=0.05, own_seed_spread=0.05, noise=0.1)
    study = Again(before=steady, now=steady, fresh=steady, attributes=("sex",), models=8, patients=4000)
    changes = study.changes(np.random.default_rng(47))
    assert all(c.detectable is not None and c.detectable < 0.02 for c in changes)
    assert judge_change(changes, confidence=0.95)[0] == NO_CHANGE


def test_a_target_made_leakier_is_called_worse_and_one_made_tighter_better() -> None:
    leakier = Again(before=SIGNAL, now=STRONG, fresh=SIGNAL)
    assert count_changes(leakier, repetitions=15, seed=6) == {WORSE: 15}
    tighter = Again(before=STRONG, now=SIGNAL, fresh=SIGNAL)
    assert count_changes(tighter, repetitions=15, seed=6) == {BETTER: 15}


def test_the_evidence_names_attack_numbers_interval_and_p() -> None:
    changes = Again(before=SIGNAL, now=STRONG, fresh=SIGNAL, attributes=("site",)).changes(np.random.default_rng(1))
    verdict, reason = judge_change(changes, confidence=0.95)
    (change,) = changes
    assert verdict == WORSE
    assert change.ci_low > 0.0
    assert change.value == pytest.approx(change.now - change.before)
    for word in (
        "site from features",
        ": weighted F1 0.",
        f"{change.before:.3f} before",
        f"{change.now:.3f} now",
        "adjusted p",
    ):
        assert word in reason


def test_years_saved_count_as_more_although_lower_is_stronger() -> None:
    study = Again(before=Attacker(strength=0.2), now=Attacker(strength=0.95), fresh=SIGNAL, attributes=("age_years",))
    (change,) = study.changes(np.random.default_rng(2))
    assert change.metric == "mae_years"
    assert change.now < change.before
    assert change.value == pytest.approx(change.before - change.now)
    assert judge_change([change], confidence=0.95)[0] == WORSE


def test_the_chance_in_training_widens_the_interval_and_both_are_told() -> None:
    study = Again(before=LUCKY, now=LUCKY, fresh=Attacker(strength=1.5, model_spread=1.0), attributes=("site",))
    (change,) = study.changes(np.random.default_rng(3))
    assert change.ci_high - change.ci_low > 2.0 * (change.model_ci_high - change.model_ci_low)
    assert change.p_value > change.model_p_value
    sure = replace(change, value=0.2, p_value=0.4, p_adjusted=0.4, model_p_value=1e-6)
    verdict, reason = judge_change([sure], confidence=0.95)
    assert verdict == TOO_LITTLE_POWER
    assert "these two models differ (site from features +0.200)" in reason


def _change(p: float, value: float = 0.1) -> AttackChange:
    return AttackChange(
        attack=AttackKey(target="a", attribute="site", access="features", fraction=0.25),
        metric="f1_weighted",
        before=0.3,
        now=0.3 + value,
        value=value,
        ci_low=value - 0.1,
        ci_high=value + 0.1,
        p_value=p,
        p_adjusted=p,
        model_ci_low=value - 0.1,
        model_ci_high=value + 0.1,
        model_p_value=1.0,
    )


def test_p_values_are_adjusted_as_holm_does() -> None:
    found = adjusted([_change(p) for p in (0.01, 0.04, 0.03, 0.005)])
    assert [c.p_adjusted for c in found] == pytest.approx([0.03, 0.06, 0.06, 0.02])  # Holm's own arithmetic
    assert [c.p_adjusted for c in adjusted([_change(0.9), _change(0.8)])] == [1.0, 1.0]


def test_one_attack_stronger_and_one_weaker_is_worse_and_says_both() -> None:
    verdict, reason = judge_change(adjusted([_change(1e-5), _change(1e-5, -0.2)]), confidence=0.95)
    assert verdict == WORSE
    assert "and less: site from features -0.200" in reason


def _tables(people: People, *, seeds: tuple[int, ...] = (0, 1, 2), signal: float = 0.5) -> list[ScoreTable]:
    return [
        replace(table, architecture="net")
        for table in (
            make_table("central", people, signal=signal, seeds=seeds),
            make_table("untrained", people, signal=0.3, seeds=seeds),
        )
    ]


def test_every_attack_with_a_rule_is_compared_at_the_largest_common_fraction() -> None:
    people = People()
    now, before = _tables(people, signal=0.9), _tables(people, seeds=(5, 6, 7, 8))
    small = [replace(t, blocks=tuple(b for b in t.blocks if b.attack.fraction == 0.1)) for t in before]
    found = compare_with_before("central", now, before, config=CONFIG)
    assert {(c.attack.attribute, c.attack.access) for c in found} == {
        (a, w) for a in ("site", "sex", "age_band", "age_years") for w in ("features", "outputs")
    }
    assert {c.attack.fraction for c in found} == {0.25}
    assert {c.attack.fraction for c in compare_with_before("central", now, small, config=CONFIG)} == {0.1}
    only = replace(CONFIG, policy=Policy(rules={"sex": PolicyRule(metric="f1_macro")}))
    assert {(c.attack.attribute, c.metric) for c in compare_with_before("central", now, before, config=only)} == {
        ("sex", "f1_macro")
    }


def test_equal_tables_differ_by_nothing() -> None:
    tables = _tables(People())
    found = compare_with_before("central", tables, tables, config=CONFIG)
    assert all(c.value == 0.0 and c.p_value == 1.0 for c in found)


def test_what_cannot_be_compared_is_named() -> None:
    people = People()
    tables = _tables(people)
    other = [replace(table, cohort_digest="other") for table in tables]
    with pytest.raises(AuditError, match="come from different cohorts"):
        compare_with_before("central", tables, other, config=CONFIG)
    with pytest.raises(AuditError, match="has no scores of it"):
        compare_with_before("missing", tables, tables, config=CONFIG)
    with pytest.raises(AuditError, match="at least 2 initialisations"):
        compare_with_before("central", tables[:1], tables, config=CONFIG)
    outputs = [replace(t, blocks=tuple(b for b in t.blocks if b.attack.access == "outputs")) for t in tables]
    features = [replace(t, blocks=tuple(b for b in t.blocks if b.attack.access == "features")) for t in tables]
    with pytest.raises(AuditError, match="no attack in common"):
        compare_with_before("central", outputs, features, config=CONFIG)
