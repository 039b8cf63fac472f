"""What an inconclusive verdict asks for: patients where these would settle it, seeds where these would, and no promise
where neither does.
"""

import re
from dataclasses import replace

from flprivacy.core.audit import INCONCLUSIVE, LEAK, Audit, Look
from flprivacy.core.membership import MembershipFinding
from flprivacy.reporting.advice import advice
from flprivacy.reporting.remedies import remedy


def unsettled(audit: Audit, attribute: str = "site", **looked: float | None) -> Audit:
    """Return the audit with one verdict, on ``central``, which rests on one look; by default harmless, too wide."""
    found = {"excess": 0.0, "ci_low": -0.06, "ci_high": 0.06, "patients_share": 1.0, "seeds_share": 0.0} | looked
    (one,) = [
        v
        for v in audit.verdicts
        if (v.attack.target, v.attack.access, v.attack.attribute) == ("central", "features", attribute)
    ]
    look = Look(
        metric=one.metric, value=0.5, baseline="untrained", baseline_value=0.5, threshold=0.02, p_leak=0.5,
        p_adjusted=1.0, verdict=INCONCLUSIVE, reason="", **found,
    )  # fmt: skip
    return replace(audit, verdicts=(replace(one, verdict=INCONCLUSIVE, looks=(look,)),))


def asked(audit: Audit) -> str:
    return remedy(audit, audit.verdicts)


def patients(text: str) -> int:
    (count,) = re.findall(r"About (\d+) more held-out patients", text)
    return int(count)


def test_it_takes_the_patients_that_narrow_the_interval_to_what_is_tolerated(audit: Audit) -> None:
    held_out = max(m.n_patients for m in audit.metrics)
    assert asked(unsettled(audit)).endswith("more held-out patients would decide on hospital, either way.")
    assert 8 * held_out <= patients(asked(unsettled(audit))) <= 10 * held_out  # 3 times narrower: 9 times as many
    clear = unsettled(audit, excess=-0.04)  # narrow enough already: half as many again
    assert held_out / 2 <= patients(asked(clear)) <= held_out


def test_a_gain_near_what_is_tolerated_is_no_reason_to_give_up(audit: Audit) -> None:
    """The estimate moves with chance; what is asked is to tell nothing from twice as much as is tolerated."""
    held_out = max(m.n_patients for m in audit.metrics)
    near = unsettled(audit, excess=0.021, ci_low=-0.019, ci_high=0.061)
    assert 3 * held_out <= patients(asked(near)) <= 4 * held_out


def test_variance_that_patients_do_not_reduce_is_not_promised_away(audit: Audit) -> None:
    assert asked(unsettled(audit, patients_share=0.3)) == (
        "For whoever does not hold the patient's scan, a leak is neither shown nor excluded, and more patients cannot "
        "settle that (even networks that were trained on nobody differ by more than the tolerated 0.020 in weighted "
        "F1, so this audit cannot see so small a leak): decide as if there were one."
    )
    partly = unsettled(audit, ci_low=-0.03, ci_high=0.03, patients_share=0.8)
    assert patients(asked(partly)) > patients(asked(unsettled(audit, ci_low=-0.03, ci_high=0.03)))
    assert asked(unsettled(audit, ci_low=-0.2, ci_high=0.2)).endswith(
        "and that would take more than 20 times as many patients: decide as if there were one."
    )


def test_seeds_are_asked_for_where_these_are_what_varies(audit: Audit) -> None:
    seeds = unsettled(audit, ci_low=-0.03, ci_high=0.03, patients_share=0.4, seeds_share=0.6)
    assert "more held-out patients and 20 attacker seeds would decide on hospital" in asked(seeds)


def test_the_questions_that_can_be_settled_are_told_apart_from_those_that_cannot(audit: Audit) -> None:
    (one,), (other,) = unsettled(audit).verdicts, unsettled(audit, patients_share=0.1).verdicts
    both = (replace(one, attack=replace(one.attack, access="joint")), other)
    text = remedy(audit, both)
    decides = "would decide on hospital, either way, "
    assert (
        f"{decides}for whoever holds the patient's scan. For whoever does not hold the patient's scan, a leak is"
        in text
    )
    mine = replace(one, attack=replace(one.attack, scans="members"))
    assert f"{decides}on its training patients. For whoever does not" in remedy(audit, (mine, other))


def test_patients_are_no_remedy_where_another_finding_bars_the_release_anyway(audit: Audit) -> None:
    (one,) = unsettled(audit).verdicts
    told = MembershipFinding(target="central", level="scan", verdict=LEAK, reason="planted")
    (central,) = [t for t in audit.targets if t.name == "central"]
    assert advice(replace(unsettled(audit), membership=(told,)), central) == (
        "It is not settled whether central gives away a patient's hospital; to settle that would not release the model."
    )
    (hopeless,) = unsettled(audit, patients_share=0.1).verdicts
    mine = replace(hopeless, attack=replace(hopeless.attack, scans="members"))
    text = remedy(audit, (one, mine))
    assert text.startswith("On its training patients, a leak is neither shown")
    assert text.endswith("for whoever does not hold the patient's scan, but the model could still not be released.")


def test_two_models_of_the_same_cause_get_the_same_words(audit: Audit) -> None:
    said = {
        advice(
            replace(found, verdicts=tuple(replace(v, attack=v.attack.on(t.name)) for v in found.verdicts)), t
        ).replace(t.name, "MODEL")
        for found in [unsettled(audit, patients_share=0.3)]
        for t in audit.targets
        if t.role == "target"
    }
    assert len(said) == 1


def test_too_few_seeds_are_the_first_thing_to_mend(audit: Audit) -> None:
    few = replace(unsettled(audit), metrics=tuple(replace(m, n_seeds=2) for m in audit.metrics))
    assert asked(few) == "Attack with at least 5 seeds first."


def test_an_audit_of_before_shares_were_kept_counts_patients_alone(audit: Audit) -> None:
    known, before = unsettled(audit), unsettled(audit, patients_share=None, seeds_share=None)
    assert asked(before) == asked(known)
    (one,) = before.verdicts
    bare = replace(one, looks=(), excess=0.0, ci_low=-0.06, ci_high=0.06, threshold=0.02)
    assert remedy(audit, (bare,)) == asked(known)


def test_the_sentence_says_what_may_leak_and_not_to_release_it(audit: Audit) -> None:
    (central,) = [t for t in audit.targets if t.name == "central"]
    text = advice(unsettled(audit), central)
    assert text.startswith("It is not settled whether central gives away a patient's hospital. About ")
    assert asked(unsettled(audit)) in text
