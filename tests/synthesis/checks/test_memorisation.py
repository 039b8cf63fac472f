"""Copies of patients are found; whoever copies nobody is flagged no more often than the error rate says."""

import itertools

import numpy as np
import pytest

from flprivacy.core.errors import AuditError, ConfigError
from flprivacy.core.generator_audit import COPIES, NO_COPIES, UNDECIDED, Memorisation
from flprivacy.synthesis.checks import memorisation
from flprivacy.synthesis.checks.memorisation import audit_memorisation
from flprivacy.synthesis.checks.neighbours import nearest_patients
from flprivacy.synthesis.checks.sensitivity import choices, p_of_all, p_values
from tests.synthesis.checks.latent_patients import FloatArray, Hospitals, between, copies, fresh, hospitals


def audited(of: Hospitals, made: FloatArray, *, error_rate: float = 0.02, permutations: int = 499) -> Memorisation:
    return audit_memorisation(
        between(made, of.scans),
        of.within(),
        of.training,
        patients=of.patients,
        sites=of.sites,
        error_rate=error_rate,
        permutations=permutations,
    )


def test_p_values_of_fresh_patients_are_uniform() -> None:
    """In 60 cohorts: each level is reached as often as it says, to within 4 standard errors."""
    found = []
    for seed in range(60):
        real = hospitals(seed, patients=60)
        found.append(audited(real, fresh(real, 60, seed), permutations=199).p_value)
    for level in (0.05, 0.2, 0.5, 0.8):
        share = np.mean(np.array(found) <= level)
        assert abs(share - level) < 4.0 * np.sqrt(level * (1.0 - level) / 60), level


@pytest.mark.parametrize(
    ("of_patients", "share", "noise"),
    [(None, 1.0, 0.2), (None, 1.0, 0.6), (None, 0.1, 0.2), (20, 1.0, 0.2), (20, 0.3, 0.2)],
)
def test_copies_are_found(of_patients: int | None, share: float, noise: float) -> None:
    for seed in range(3):
        real = hospitals(seed, patients=240)
        n = round(share * 300)
        planted = copies(real, n, seed, noise=noise, of_patients=of_patients)
        found = audited(real, np.concatenate([planted, fresh(real, 300 - n, seed)]))
        assert found.verdict == COPIES, found.tests
        assert found.suspects_of_training > 2.0 * found.suspects_expected


@pytest.mark.parametrize("patients", [24, 120])
def test_of_fresh_patients_as_many_scans_are_suspicious_as_expected(patients: int) -> None:
    found, expected = [], set()
    for seed in range(60):
        real = hospitals(seed, patients=patients, sites=1)
        of_one = audited(real, fresh(real, 40, seed), permutations=100)
        found.append(of_one.suspects)
        expected.add(of_one.suspects_expected)
    (each,) = expected
    print(f"{patients} patients: {np.mean(found):.2f} suspicious scans of 40, {each:.2f} expected")
    assert abs(np.mean(found) - each) < 4.0 * np.std(found) / np.sqrt(60)


def test_a_generator_that_returns_held_out_patients_does_not_copy_training_patients() -> None:
    real = hospitals(0, patients=240)
    turned = Hospitals(scans=real.scans, patients=real.patients, sites=real.sites, training=~real.training)
    found = audited(real, copies(turned, 300, 0))
    assert found.verdict != COPIES
    assert found.p_value > 0.9
    assert found.suspects > 10 * found.suspects_expected
    assert found.suspects_of_training == 0


def test_a_collapsed_generator_is_judged_as_one_sample() -> None:
    """The same point a hundred times is no more evidence than once."""
    flagged = 0
    for seed in range(25):
        real = hospitals(seed, patients=60)
        same = np.tile(fresh(real, 1, seed), (100, 1))
        flagged += audited(real, same, permutations=199, error_rate=0.05).verdict == COPIES
    assert flagged <= 4


def test_statistics_are_those_of_their_definitions() -> None:
    real = hospitals(3, patients=40)
    synthetic = np.concatenate([copies(real, 20, 3), fresh(real, 30, 3)])
    found = {test.name: test.value for test in audited(real, synthetic).tests}
    member, within, distances = real.training, real.within(), between(synthetic, real.scans)
    to_training, to_others = distances[:, member].min(axis=1), distances[:, ~member].min(axis=1)
    assert found["nearer"] == pytest.approx(np.log(to_training / to_others).mean())
    held_out = [within[i, member].min() for i in np.flatnonzero(~member)]
    u = sum((a > b) + (a == b) / 2 for a, b in itertools.product(to_training, held_out))
    n, m = len(synthetic), len(held_out)
    assert found["data copying"] == pytest.approx((u - n * m / 2) / np.sqrt(n * m * (n + m + 1) / 12))
    authentic = 0
    for row in distances:
        nearest = real.patients[member][row[member].argmin()]
        others = member & (real.patients != nearest)
        authentic += row[member].min() > within[real.patients == nearest][:, others].min()
    assert found["authenticity"] == pytest.approx(authentic / n)


def test_authenticity_sees_copies_of_few_patients() -> None:
    """By its definition it is 0 for copies of 20 patients; an index of the wrong array gave them .48."""
    rng = np.random.default_rng(0)
    real, training = rng.normal(size=(400, 64)), np.arange(400) < 300
    for synthetic, low, high in ((real[rng.integers(20, size=200)], 0.0, 0.0), (rng.normal(size=(200, 64)), 0.7, 0.9)):
        found = audit_memorisation(between(synthetic, real), between(real, real), training, permutations=299)
        value = next(test.value for test in found.tests if test.name == "authenticity")
        assert low <= value <= high


def test_neighbours_are_those_of_a_search() -> None:
    real = hospitals(5, patients=30)
    distances = between(fresh(real, 20, 5), real.scans)
    found = nearest_patients(distances, real.patients, kept=6)
    for row, patients, nearest in zip(distances, found.patients, found.distances, strict=True):
        by_patient = {p: row[real.patients == p].min() for p in np.unique(real.patients)}
        wanted = sorted(by_patient, key=by_patient.__getitem__)[:6]
        assert patients.tolist() == wanted
        assert nearest.tolist() == [by_patient[p] for p in wanted]
    own = nearest_patients(real.within(), real.patients, own=real.patients)
    assert not (own.patients == real.patients[:, None]).any()


def test_patients_move_within_their_site() -> None:
    training, strata = np.array([True, True, False, True, False]), np.array([0, 0, 0, 1, 1])
    drawn = choices(training, strata, permutations=400, seed=0)
    assert (drawn[0] == training).all()
    assert set(map(tuple, drawn[:, :3].tolist())) == {(True, True, False), (True, False, True), (False, True, True)}
    assert set(map(tuple, drawn[:, 3:].tolist())) == {(True, False), (False, True)}


def test_the_smallest_of_several_p_values_is_corrected_as_by_counting() -> None:
    statistics = np.random.default_rng(0).integers(0, 6, size=(50, 3)).astype(float)
    of_each = p_values(statistics)
    assert of_each[7, 1] == np.mean([one <= statistics[7, 1] for one in statistics[:, 1]])
    assert p_of_all(of_each) == np.mean([min(row) <= min(of_each[0]) for row in of_each])


def test_what_is_said_to_be_detectable_is_detected() -> None:
    real = hospitals(11, patients=300)
    quiet = audited(real, fresh(real, 800, 11), error_rate=0.01, permutations=999)
    assert quiet.verdict == NO_COPIES
    assert quiet.detectable_share is not None
    for seed in range(8):
        n = round(800 * quiet.detectable_share)
        mixed = np.concatenate([copies(real, n, seed, noise=0.0), fresh(real, 800 - n, seed)])
        assert audited(real, mixed, error_rate=0.01, permutations=999).verdict == COPIES


def test_too_few_patients_leave_it_open() -> None:
    real = hospitals(2, patients=24)
    found = audited(real, fresh(real, 40, 2))
    assert found.verdict == UNDECIDED
    assert "hold out more patients" in found.reason


def test_the_same_arrays_give_the_same_numbers() -> None:
    real = hospitals(4, patients=60)
    assert audited(real, fresh(real, 40, 4)) == audited(real, fresh(real, 40, 4))


def test_arrays_that_do_not_fit_are_refused() -> None:
    real = hospitals(1, patients=40)
    to_real, within = between(fresh(real, 10, 1), real.scans), real.within()
    with pytest.raises(AuditError, match=r"must be \(scan, 48\)"):
        audit_memorisation(to_real[:, :-1], within, real.training)
    with pytest.raises(AuditError, match="negative or not finite"):
        audit_memorisation(-to_real, within, real.training)
    with pytest.raises(AuditError, match="bool"):
        audit_memorisation(to_real, within, real.training.astype(int))
    with pytest.raises(AuditError, match="scans that were trained on and scans that were not"):
        audit_memorisation(to_real, within, np.arange(48) < 30, patients=np.arange(48) // 24)
    with pytest.raises(AuditError, match="fewer than 5"):
        audit_memorisation(to_real, within, np.arange(48) < 46)
    with pytest.raises(ConfigError, match="error_rate"):
        audit_memorisation(to_real, within, real.training, error_rate=0.7)
    with pytest.raises(ConfigError, match="at least 200 for this"):
        audit_memorisation(to_real, within, real.training, permutations=100)


def test_every_statistic_is_described() -> None:
    assert all(f"*{name}*" in (memorisation.__doc__ or "") for name in memorisation.TESTS)
