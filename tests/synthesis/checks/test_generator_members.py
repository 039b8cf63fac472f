"""Attacks on a generator's members: a copier is a leak, a generator of fresh patients is none."""

from dataclasses import replace

import numpy as np
import pytest

from flprivacy.attacks.membership.combined import attack_with_generator
from flprivacy.auditing.config import MembershipRule
from flprivacy.auditing.membership.targets import audit_targets
from flprivacy.core.membership import SCAN, TARGET_AND_GENERATOR, MembershipFinding
from flprivacy.core.membership_scores import MembershipScores
from flprivacy.synthesis.checks.membership import (
    CALIBRATED,
    MONTE_CARLO,
    NEAREST,
    audit_generator_members,
    generator_members,
    scores_by_distance,
)
from tests.synthesis.checks.latent_patients import FloatArray, Hospitals, between, copies, fresh, hospitals


def attacked(real: Hospitals, made: FloatArray) -> dict[str, FloatArray]:
    within = real.within()
    within[real.patients[:, None] == real.patients] = np.inf
    return scores_by_distance(between(real.scans, made), within.min(axis=1))


def table_of(real: Hospitals, made: FloatArray) -> MembershipScores:
    within = real.within()
    within[real.patients[:, None] == real.patients] = np.inf
    return generator_members(
        attacked(real, made),
        members=real.training,
        scan_ids=np.arange(len(real.scans)),
        patient_ids=real.patients,
        sites=real.sites,
        classes=real.sites,
        digest="d",
        unusual=within.min(axis=1),
    )


def audited(real: Hospitals, made: FloatArray, rule: MembershipRule | None = None) -> tuple[MembershipFinding, ...]:
    return audit_generator_members(table_of(real, made), rule=rule or MembershipRule(), confidence=0.95)


def test_scores_are_those_of_their_definitions() -> None:
    real = hospitals(0, patients=30)
    made = fresh(real, 40, 0)
    distances = between(real.scans, made)
    found = attacked(real, made)
    np.testing.assert_allclose(found[NEAREST], -distances.min(axis=1))
    radius = np.median(distances.min(axis=1))
    inside = (distances <= radius).mean(axis=1)
    assert (np.abs(found[MONTE_CARLO] - inside) <= 1 / 40).all()
    assert len(np.unique(found[MONTE_CARLO])) == len(real.scans)
    order = np.argsort(found[MONTE_CARLO])
    assert (np.diff(inside[order]) >= 0).all()


def test_calibration_forgives_ordinary_bodies() -> None:
    """A scan that is near to everybody is no likelier a member for it."""
    to_synthetic, to_others = np.array([[1.0], [1.0]]), np.array([1.0, 4.0])
    ordinary, unusual = scores_by_distance(to_synthetic, to_others)[CALIBRATED]
    assert ordinary == 0.0
    assert unusual == pytest.approx(np.log(4.0))


def test_a_copier_leaks_and_fresh_patients_do_not() -> None:
    real = hospitals(1, patients=600)
    leak = {one.level: one for one in audited(real, copies(real, 800, 1))}
    assert leak[SCAN].verdict == "leak"
    assert leak[SCAN].members_from == "lineage"
    assert not any(attack.most_exposed for one in leak.values() for attack in one.attacks)
    worst = next(attack.vulnerable for attack in leak[SCAN].attacks if attack.attack == CALIBRATED)
    assert worst is not None
    assert worst.auc.low > 0.5
    assert worst.n_members > worst.n_non_members >= 10
    none = audited(real, fresh(real, 800, 1))
    assert all(one.verdict != "leak" for one in none)
    assert all(attack.auc.low < 0.5 < attack.auc.high for one in none for attack in one.attacks)


def test_few_held_out_scans_are_told_as_such() -> None:
    real = hospitals(2, patients=40)
    assert {one.verdict for one in audited(real, fresh(real, 50, 2))} == {"inconclusive"}


@pytest.mark.parametrize("copier", [True, False])
def test_a_silent_target_of_a_copiers_scans_leaks_to_whoever_holds_both(copier: bool) -> None:
    real = hospitals(3, patients=600)
    made = copies(real, 800, 3) if copier else fresh(real, 800, 3)
    silent = np.random.default_rng(3).normal(size=len(real.scans))
    table = table_of(real, made)
    target = replace(table, target="federated", references=0, scores={"population": silent})
    both = attack_with_generator(target, table, CALIBRATED)
    alone, together = (audit_targets([one], {}, rule=MembershipRule(), confidence=0.95)[0][0] for one in (target, both))
    assert alone.verdict != "leak"
    assert (together.verdict == "leak") == copier
    assert {one.attack for one in together.attacks} == {"population", TARGET_AND_GENERATOR}
