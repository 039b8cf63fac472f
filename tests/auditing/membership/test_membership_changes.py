"""Members since the last audit: training again is hardly ever called worse, overfitting is, and how it was compared."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from flprivacy.auditing.changes import adjusted, judge_change
from flprivacy.auditing.config import MembershipRule
from flprivacy.auditing.membership.changes import AuditedMembers, compare_members, same_scans
from flprivacy.auditing.membership.retraining import ASSUMED, spread_of
from flprivacy.auditing.membership.targets import audit_targets
from flprivacy.core.change import BETTER, TOO_LITTLE_POWER, WORSE
from flprivacy.core.membership_scores import MembershipScores

PATIENTS, SCANS = 200, 2
LUCK = 0.2  # of training, in d', as the references of the demo scatter at most


class People:
    """Patients, half of them members, of whom some are harder to fit than others, whoever trains."""

    def __init__(self, rng):
        self.rng = rng
        self.of_patient = np.repeat(np.arange(PATIENTS), SCANS)
        self.members = self.of_patient < PATIENTS // 2
        self.ease = rng.normal(size=PATIENTS)[self.of_patient]

    def trained(self, gain, *, luck=LUCK, members=None):
        """A model whose members score higher by about ``gain`` standard deviations of a score."""
        members = self.members if members is None else members
        gain += luck * self.rng.normal()
        noise = self.rng.normal(size=len(members))
        scores = {"loss": (self.ease + noise) / np.sqrt(2.0) + gain * members}
        scores["population"] = scores["loss"] + 0.2 * self.rng.normal(size=len(members))
        names = np.array([f"{i:06d}" for i in range(len(members))])
        return MembershipScores(
            target="central",
            target_digest="",
            role="target",
            members_from="lineage",
            scan_ids=names,
            patient_ids=self.of_patient.astype(np.str_),
            sites=np.full(len(members), "north"),
            classes=np.full(len(members), "normal"),
            models=np.full(len(members), "model"),
            members=members,
            signals=scores["loss"],
            scores=scores,
        )


def audited(table, *, kept=True, rule=MembershipRule()):  # noqa: B008 - frozen
    (finding, _), _ = audit_targets([table], {}, rule=rule, confidence=0.95)
    return AuditedMembers(finding=finding, confidence=0.95, table=table if kept else None)


def compared(now, before, *, kept=True):
    both = (audited(table, kept=kept) for table in (now, before))
    return adjusted(compare_members(*both, rule=MembershipRule(), confidence=0.95))


def verdicts(now_gain, before_gain, *, repetitions, kept=True, references=0):
    found = Counter()
    for repetition in range(repetitions):
        people = People(np.random.default_rng([7, repetition]))
        drawn = (people.rng.permutation(PATIENTS) < PATIENTS // 2 for _ in range(references))
        spread = spread_of(people.trained(before_gain, members=half[people.of_patient]) for half in drawn)
        facts = {"references": references, "spread": spread}
        now, before = (replace(people.trained(gain), **facts) for gain in (now_gain, before_gain))
        found[judge_change(compared(now, before, kept=kept), confidence=0.95)[0]] += 1
    return found


@pytest.mark.parametrize(("kept", "references"), [(True, 0), (False, 0), (True, 16)])
def test_the_same_recipe_trained_again_is_called_worse_in_at_most_five_of_a_hundred(kept, references):
    found = verdicts(0.8, 0.8, repetitions=100, kept=kept, references=references)
    print(f"paired {kept}, {references} references: {dict(found)}")
    assert sum(found.values()) == 100
    assert found[WORSE] <= 5
    assert found[BETTER] <= 5


def test_with_the_chance_in_training_left_out_most_of_these_models_differ():
    """What the room for chance in training is there for: these nulls are no empty ones."""
    differ = 0
    for repetition in range(50):
        people = People(np.random.default_rng([7, repetition]))
        changes = compared(people.trained(0.8), people.trained(0.8))
        differ += any(len(changes) * one.model_p_value < 0.05 for one in changes)
    assert differ >= 10


@pytest.mark.parametrize("kept", [True, False])
def test_an_overfitted_retraining_is_called_worse_and_the_reverse_better(kept):
    assert verdicts(2.6, 0.6, repetitions=15, kept=kept) == {WORSE: 15}
    assert verdicts(0.6, 2.6, repetitions=15, kept=kept) == {BETTER: 15}


def test_references_that_agree_make_smaller_changes_visible_than_what_is_assumed():
    people = People(np.random.default_rng(3))
    now, before = people.trained(1.2), people.trained(0.8)
    (assumed, *_), (shown, *_) = (
        compared(replace(now, **facts), replace(before, **facts))
        for facts in ({}, {"references": 16, "spread": {"loss": 0.05, "population": 0.05}})
    )
    assert (assumed.references, shown.references) == (0, 16)
    assert shown.detectable < assumed.detectable
    assert shown.value == assumed.value


def test_the_spread_of_trainings_is_that_of_their_areas_in_d_prime():
    people = People(np.random.default_rng(4))
    found = spread_of(people.trained(0.8, luck=0.3) for _ in range(200))
    assert found["loss"] == pytest.approx(0.3, abs=0.06)  # the patients are the same, so that all else adds little
    assert spread_of([people.trained(0.8)]) == {}


def test_areas_are_paired_where_both_audits_asked_about_the_same_scans():
    people = People(np.random.default_rng(5))
    now, before = people.trained(1.0), people.trained(0.8)
    order = people.rng.permutation(len(now.members))
    shuffled = replace(
        before,
        **{name: getattr(before, name)[order] for name in ("scan_ids", "patient_ids", "members", "signals")},
        scores={name: scores[order] for name, scores in before.scores.items()},
    )
    paired, other = compared(now, before), compared(now, before, kept=False)
    areas = [next(c for c in found if c.metric == "auc") for found in (paired, other, compared(now, shuffled))]
    assert [c.paired for c in areas] == [True, False, True]
    assert areas[0].model_ci_high - areas[0].model_ci_low < 0.9 * (areas[1].model_ci_high - areas[1].model_ci_low)
    assert areas[2] == areas[0]
    assert not same_scans(audited(now), audited(people.trained(0.8, members=~people.members)))


def test_the_paired_interval_is_that_of_resampled_patients():
    people = People(np.random.default_rng(6))
    now, before = people.trained(1.0), people.trained(0.8)
    change = next(c for c in compared(now, before) if (c.by, c.metric) == ("loss", "auc"))
    rng, drawn = np.random.default_rng(0), []
    for _ in range(400):
        sides = [
            rng.choice(np.unique(people.of_patient[side]), PATIENTS // 2) for side in (people.members, ~people.members)
        ]
        rows = [np.concatenate([np.flatnonzero(people.of_patient == one) for one in side]) for side in sides]
        inside, outside = rows
        drawn.append(
            np.subtract(*((table.signals[inside, None] > table.signals[outside]).mean() for table in (now, before)))
        )
    half = (change.model_ci_high - change.model_ci_low) / 2.0
    assert half == pytest.approx(1.97 * np.std(drawn), rel=0.12)


def test_attacks_of_another_number_of_references_are_not_compared():
    people = People(np.random.default_rng(8))
    now, before = people.trained(1.0), people.trained(0.8)
    now = replace(now, references=16, scores=now.scores | {"LiRA": now.signals})
    before = replace(before, references=4, scores=before.scores | {"LiRA": before.signals})
    assert {c.by for c in compared(now, before)} == {"loss", "population"}
    assert {c.by for c in compared(now, replace(before, references=16))} == {"loss", "population", "LiRA"}


def test_the_evidence_says_what_was_compared_and_how():
    people = People(np.random.default_rng(9))
    changes = compared(people.trained(3.0), people.trained(0.5))
    verdict, reason = judge_change(changes, confidence=0.95)
    assert verdict == WORSE
    for words in (
        "membership by loss (paired by scan): AUC 0.",
        "membership by loss (from the intervals of both audits)",
    ):
        assert words in reason
    verdict, reason = judge_change(compared(people.trained(0.5), people.trained(0.5)), confidence=0.95)
    assert verdict == TOO_LITTLE_POWER
    assert "more held-out patients or 8 references and more" in reason


def test_the_same_model_has_not_changed():
    table = People(np.random.default_rng(10)).trained(0.8)
    for change in compared(table, table):
        assert (change.value, change.p_value, change.p_adjusted) == (0.0, 1.0, 1.0)
        assert ASSUMED > 0.0
