"""Patient-level splits and nested, stratified exposure."""

import dataclasses
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tiny_cohort import META, one_clear_line

from flprivacy.cohorts.sampling import exposed_rows, member_rows, split_patients
from flprivacy.core.cohort import Cohort
from flprivacy.core.errors import AttackError, CohortError, ConfigError

FRACTIONS = (1e-6, 0.01, 0.05, 0.1, 0.25, 0.29, 0.3, 0.5, 0.57, 0.7, 0.99, 1.0)


def _cohort(train: list[int], test: int = 3) -> Cohort:
    """A cohort of given training scans a site, in shuffled order, without volumes."""
    sites = np.repeat(np.arange(len(train)), np.array(train) + test)
    splits = np.concatenate([["train"] * n + ["test"] * test for n in train])
    order = np.random.default_rng(11).permutation(len(sites))
    frame = pd.DataFrame({"site_id": sites[order], "split": splits[order]})
    meta = dataclasses.replace(META, site_names=tuple(f"site{i}" for i in range(len(train))))
    return Cohort(meta=meta, manifest=frame, folder=Path("nowhere"))


@pytest.mark.parametrize("seed", [0, 1, 2**31, 12345678901])
def test_samples_are_nested_stratified_and_exposed_from_training_alone(seed: int) -> None:
    sizes = [1, 2, 9, 10, 30, 100, 417]
    cohort = _cohort(sizes)
    sites = cohort.manifest["site_id"].to_numpy()
    smaller: set[int] = set()
    for fraction in FRACTIONS:
        rows = exposed_rows(cohort, fraction=fraction, seed=seed)
        assert rows.dtype == np.int64
        assert (np.diff(rows) > 0).all()
        assert set(rows) <= set(cohort.rows("train"))
        assert smaller <= set(rows)
        expected = [max(1, int(np.floor(round(fraction * n, 6)))) for n in sizes]
        np.testing.assert_array_equal(np.bincount(sites[rows]), expected)
        smaller = set(rows)
    np.testing.assert_array_equal(rows, cohort.rows("train"))


@pytest.mark.parametrize(
    ("fraction", "size", "expected"), [(0.1, 30, 3), (0.29, 100, 29), (0.57, 100, 57), (0.7, 10, 7)]
)
def test_floor_is_not_fooled_by_binary_fractions(fraction: float, size: int, expected: int) -> None:
    assert len(exposed_rows(_cohort([size]), fraction=fraction, seed=0)) == expected


def test_counts_of_the_reference_study() -> None:
    """Three quarters of each of its sites' scans train; a tenth of those are the counts that it exposed."""
    sizes = [3125, 228, 45, 175, 55, 187, 45, 67, 239, 573, 130, 832, 204, 38, 177, 324, 68, 126, 605, 152, 1024]
    counts = [312, 22, 4, 17, 5, 18, 4, 6, 23, 57, 13, 83, 20, 3, 17, 32, 6, 12, 60, 15, 102]
    cohort = _cohort(sizes)
    rows = exposed_rows(cohort, fraction=0.1, seed=4)
    np.testing.assert_array_equal(np.bincount(cohort.manifest["site_id"].to_numpy()[rows]), counts)


def test_a_seed_repeats_and_another_differs() -> None:
    cohort = _cohort([40, 40])
    first = exposed_rows(cohort, fraction=0.25, seed=0)
    np.testing.assert_array_equal(first, exposed_rows(cohort, fraction=0.25, seed=0))
    assert set(first) != set(exposed_rows(cohort, fraction=0.25, seed=1))


def test_sites_draw_independently() -> None:
    """Each site's draw stays when another joins, and sites of one size do not draw the same positions."""
    two, three = _cohort([40, 40]), _cohort([40, 40, 40])

    def positions(cohort: Cohort, site: int) -> list[int]:
        train = cohort.rows("train")
        own = train[cohort.manifest["site_id"].to_numpy()[train] == site]
        return np.flatnonzero(np.isin(own, exposed_rows(cohort, fraction=0.25, seed=3))).tolist()

    assert positions(two, 0) == positions(three, 0)
    assert positions(two, 1) == positions(three, 1)
    assert positions(two, 0) != positions(two, 1)


def test_every_training_scan_is_exposed_equally_often() -> None:
    cohort = _cohort([20, 8])
    draws = 600
    counts = np.zeros(len(cohort.manifest))
    for seed in range(draws):
        counts[exposed_rows(cohort, fraction=0.25, seed=seed)] += 1
    counts = counts[cohort.rows("train")]
    assert (abs(counts / draws - 0.25) < 4.5 * np.sqrt(0.25 * 0.75 / draws)).all()


@pytest.mark.parametrize("fraction", [0, 0.0, -0.1, 1.5, 10, float("nan"), float("inf")])
def test_fraction_out_of_range(fraction: float) -> None:
    with pytest.raises(ConfigError) as caught:
        exposed_rows(_cohort([4]), fraction=fraction, seed=0)
    one_clear_line(caught.value, "exposed fraction", repr(fraction), "at most 1")


def test_negative_seed() -> None:
    with pytest.raises(ConfigError) as caught:
        exposed_rows(_cohort([4]), fraction=0.5, seed=-1)
    one_clear_line(caught.value, "seeds", "-1")


def test_site_with_no_exposed_scan() -> None:
    with pytest.raises(AttackError) as caught:
        exposed_rows(_cohort([4, 0, 4]), fraction=1.0, seed=0)
    one_clear_line(caught.value, "'site1'", "no training scan")


def _patients(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Sites of 2 to 60 patients with one to four scans each, in shuffled order."""
    rng = np.random.default_rng(seed)
    counts = np.array([2, 3, 5, 11, 60])
    sites = np.repeat(np.arange(5), counts)
    scans = rng.integers(1, 5, len(sites))
    order = rng.permutation(scans.sum())
    names = np.array([f"patient-secret-{i}" for i in range(len(sites))])
    return np.repeat(names, scans)[order], np.repeat(sites, scans)[order]


@pytest.mark.parametrize("test_fraction", [0.01, 0.2, 0.25, 0.5, 0.99])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_split_is_by_patient_and_stratified(test_fraction: float, seed: int) -> None:
    patients, sites = _patients(seed)
    split = split_patients(patients, sites, test_fraction=test_fraction, seed=seed)
    assert set(split) == {"train", "test"}
    assert not set(patients[split == "train"]) & set(patients[split == "test"])
    for site, count in enumerate((2, 3, 5, 11, 60)):
        held_out = len(set(patients[(sites == site) & (split == "test")]))
        assert held_out == min(max(1, int(np.floor(test_fraction * count + 0.5))), count - 1)


def test_split_does_not_depend_on_the_order_of_scans() -> None:
    patients, sites = _patients(0)
    split = split_patients(patients, sites, test_fraction=0.25, seed=5)
    order = np.random.default_rng(1).permutation(len(patients))
    np.testing.assert_array_equal(
        split_patients(patients[order], sites[order], test_fraction=0.25, seed=5), split[order]
    )
    assert (split_patients(patients, sites, test_fraction=0.25, seed=6) != split).any()


def test_every_patient_is_held_out_equally_often() -> None:
    draws = 600
    sites = np.repeat([0, 1], [12, 4])
    held_out = sum(
        (split_patients(np.arange(16), sites, test_fraction=0.25, seed=seed) == "test").astype(int)
        for seed in range(draws)
    )
    assert (abs(held_out / draws - 0.25) < 4.5 * np.sqrt(0.25 * 0.75 / draws)).all()


def test_patient_seen_at_two_sites_is_in_one_split() -> None:
    patients = np.array(["a", "b", "c", "d", "a", "b", "e", "e", "f"])
    sites = np.array([0, 0, 0, 0, 1, 1, 1, 2, 2])
    for seed in range(30):
        split = split_patients(patients, sites, test_fraction=0.3, seed=seed)
        assert not set(patients[split == "train"]) & set(patients[split == "test"])
        assert all(set(split[sites == site]) == {"train", "test"} for site in range(3))


@pytest.mark.parametrize(
    ("patients", "sites", "words"),
    [
        (["secret-a", "secret-a", "secret-b", "secret-c"], [0, 0, 1, 1], ("site 0 has 1 patients",)),
        (["secret-a", "secret-b", "secret-a", "secret-c", "secret-b", "secret-c"], [0, 0, 1, 1, 2, 2], ("every site",)),
        (["secret-a"], [0, 0], ("one of each per scan",)),
    ],
)
def test_split_that_cannot_be(patients: list[str], sites: list[int], words: tuple[str, ...]) -> None:
    with pytest.raises(CohortError) as caught:
        split_patients(patients, sites, test_fraction=0.5, seed=0)
    one_clear_line(caught.value, *words)


@pytest.mark.parametrize(("test_fraction", "seed"), [(0.0, 0), (1.0, 0), (25, 0), (float("nan"), 0), (0.5, -1)])
def test_split_out_of_range(test_fraction: float, seed: int) -> None:
    with pytest.raises(ConfigError) as caught:
        split_patients(["a", "b"], [0, 0], test_fraction=test_fraction, seed=seed)
    one_clear_line(caught.value, "must")


def test_members_are_scans_of_patients_whom_no_attacker_knows_as_many_a_site_as_are_held_out():
    sizes = [200, 80, 30, 4]
    cohort = _cohort(sizes)
    table = cohort.manifest.copy()
    rng = np.random.default_rng(0)
    table["patient_id"] = [f"p{site}-{n // 2}" for site, n in zip(table["site_id"], range(len(table)))]
    first = table.groupby("patient_id").cumcount() == 0
    held_out = set(rng.permutation(table["patient_id"].unique())[: table["patient_id"].nunique() // 4])
    table["split"] = np.where(table["patient_id"].isin(held_out) & first.notna(), "test", "train")
    cohort = replace(cohort, manifest=table)
    rows = member_rows(cohort, fractions=(0.1, 0.25), seeds=(0, 1))
    exposed = np.concatenate([exposed_rows(cohort, fraction=0.25, seed=seed) for seed in (0, 1)])
    assert (np.diff(rows) > 0).all()
    assert set(table["split"].iloc[rows]) == {"train"}
    assert not set(table["patient_id"].iloc[rows]) & set(table["patient_id"].iloc[exposed])
    free = table[(table["split"] == "train") & ~table["patient_id"].isin(table["patient_id"].iloc[exposed])]
    for site in range(len(sizes)):
        wanted = int(((table["split"] == "test") & (table["site_id"] == site)).sum())
        assert (table["site_id"].iloc[rows] == site).sum() == min(wanted, (free["site_id"] == site).sum())
    np.testing.assert_array_equal(rows, member_rows(cohort, fractions=(0.25,), seeds=(1, 0)))
    assert not len(member_rows(cohort, fractions=(1.0,), seeds=(0,)))
