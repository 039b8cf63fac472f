"""How closely attributes hang together: known answers, chance, and patients instead of scans."""

import numpy as np
import pytest

from flprivacy.auditing.associations import associations, cramers_v
from flprivacy.auditing.runs import HeldOut
from flprivacy.core.attributes import AGE_YEARS, SEX, SITE, Attribute


def held_out(attribute: Attribute, truth: np.ndarray, patients: np.ndarray | None = None) -> HeldOut:
    patients = np.arange(len(truth)) if patients is None else patients
    names = () if attribute.is_regression else tuple(map(str, range(int(truth.max()) + 1)))
    return HeldOut(
        attribute=attribute,
        class_names=names,
        scan_ids=np.array([f"scan-{i:04d}" for i in range(len(truth))]),
        patient_ids=np.array([f"patient-{i}" for i in patients]),
        patients=patients,
        truth=truth.astype(float),
    )


def test_what_says_all_is_one_and_what_says_nothing_is_nought() -> None:
    site = np.repeat([0, 1, 2, 3], 50)
    assert cramers_v(site, site % 2) == pytest.approx(1.0, abs=0.02)
    assert cramers_v(site, np.tile([0, 1], 100)) == 0.0
    assert cramers_v(site, np.zeros(200, int)) is None


def test_twenty_one_hospitals_by_chance_are_not_said_to_know_the_sex() -> None:
    """Without the correction, so many classes of so few patients look associated: .27 here."""
    rng = np.random.default_rng(0)
    found = [cramers_v(rng.integers(0, 21, 280), rng.integers(0, 2, 280)) for _ in range(200)]
    assert np.mean(found) < 0.1
    assert np.quantile(found, 0.99) < 0.3


def test_a_share_of_the_patients_shows_as_such() -> None:
    rng = np.random.default_rng(1)
    site = rng.integers(0, 2, 4000)
    sex = np.where(rng.random(4000) < 0.6, site, rng.integers(0, 2, 4000))
    assert cramers_v(site, sex) == pytest.approx(0.6, abs=0.04)


def test_each_patient_counts_once_and_years_stand_in_their_bands() -> None:
    """One patient with 200 scans would make two attributes of 40 others look alike."""
    rng = np.random.default_rng(2)
    patients = np.concatenate([np.zeros(200, int), np.arange(1, 41)])
    site, sex = (np.concatenate([np.zeros(200, int), rng.permutation(np.tile([0, 1], 20))]) for _ in range(2))
    alike = [held_out(SITE, site, patients), held_out(SEX, sex, patients), held_out(AGE_YEARS, sex + 50.0, patients)]
    assert associations(alike).keys() == {"site"}
    assert associations(alike)["site"]["sex"] < 0.3


def test_scans_of_which_one_is_not_known_are_passed_over() -> None:
    site, sex = np.tile([0, 1], 40), np.tile([0, 1], 30)
    assert associations([held_out(SITE, site), held_out(SEX, sex)])["site"]["sex"] == pytest.approx(1.0, abs=0.02)
