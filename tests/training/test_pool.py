import dataclasses

import numpy as np
import pytest
from private_examples import with_shared_patients

from flprivacy.cohorts.format import read_volumes
from flprivacy.cohorts.preprocessing import test_view as plain_view
from flprivacy.core.cohort import Cohort
from flprivacy.core.errors import TrainingError
from flprivacy.training.pool import iid_partition, natural_partition, partition, scan_pool


def test_it_holds_the_training_scans_in_order(cohort: Cohort) -> None:
    pool = scan_pool(cohort, protocol="standard")
    rows = cohort.rows("train")
    indices = np.array([20, 3, 3, 0])
    np.testing.assert_array_equal(pool.read(indices), read_volumes(cohort, rows[indices]))
    np.testing.assert_array_equal(pool.labels, cohort.manifest["label"].to_numpy()[rows])
    assert pool.one_hot(indices).tolist() == np.eye(2)[pool.labels[indices]].tolist()


def test_memory_and_disk_give_the_same_views(cohort: Cohort) -> None:
    held, mapped = (scan_pool(cohort, protocol="standard", preload_bytes=b) for b in (2**30, 0))
    indices = np.array([5, 21, 0])
    for view in (0, 3):
        np.testing.assert_array_equal(held.view(indices, view), mapped.view(indices, view))


def test_views_differ_by_epoch_and_the_first_is_plain(cohort: Cohort) -> None:
    pool = scan_pool(cohort, protocol="standard")
    indices = np.arange(6)
    views = [pool.view(indices, view) for view in range(3)]
    np.testing.assert_array_equal(views[0], plain_view(pool.read(indices), protocol="standard"))
    assert not np.array_equal(views[0], views[1])
    assert not np.array_equal(views[1], views[2])


@pytest.mark.parametrize("protocol", ["standard", "flprivacy-2023"])
def test_no_view_is_the_one_that_is_scored(cohort: Cohort, protocol: str) -> None:
    pool = scan_pool(cohort, protocol=protocol)
    indices = np.arange(6)
    np.testing.assert_array_equal(pool.view(indices, None), plain_view(pool.read(indices), protocol=protocol))


def test_a_scans_view_does_not_depend_on_its_batch(cohort: Cohort) -> None:
    pool = scan_pool(cohort, protocol="standard")
    np.testing.assert_array_equal(pool.view(np.array([7, 2, 9]), 4)[1], pool.view(np.array([2]), 4)[0])


SIZES = [13, 6, 3]


def test_natural_shares_are_the_sites_own_scans(cohort: Cohort) -> None:
    rows = cohort.rows("train")
    for site, part in enumerate(natural_partition(cohort)):
        assert len(part) == SIZES[site]
        assert set(cohort.manifest["site_id"].to_numpy()[rows[part]]) == {site}
        assert set(cohort.manifest["split"].to_numpy()[rows[part]]) == {"train"}


@pytest.mark.parametrize("seed", range(5))
def test_iid_shares_cover_the_pool_and_keep_patients_together(cohort: Cohort, seed: int) -> None:
    shared = with_shared_patients(cohort)
    parts = iid_partition(shared, seed=seed)
    assert sorted(np.concatenate(parts).tolist()) == list(range(sum(SIZES)))
    assert all((np.diff(p) > 0).all() for p in parts)
    ids = shared.manifest["patient_id"].to_numpy()[shared.rows("train")]
    assert sum(len(set(ids[p])) for p in parts) == len(set(ids))


@pytest.mark.parametrize("seed", range(5))
def test_of_iid_shares_a_patient_who_leaves_moves_nobody_else(cohort: Cohort, seed: int) -> None:
    def clients(of: Cohort) -> dict[str, int]:
        ids = of.manifest["scan_id"].to_numpy()[of.rows("train")]
        return {scan: client for client, part in enumerate(iid_partition(of, seed=seed)) for scan in ids[part]}

    everybody = clients(cohort)
    without = cohort.manifest[cohort.manifest["patient_id"] != "patient-0-4"]
    fewer = clients(dataclasses.replace(cohort, manifest=without.reset_index(drop=True)))
    assert {**fewer, "scan-0-4": everybody["scan-0-4"]} == everybody


def test_iid_shares_are_drawn_from_the_seed(cohort: Cohort) -> None:
    draws = [[p.tolist() for p in iid_partition(cohort, seed=s)] for s in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]


def test_iid_shares_mix_the_sites(cohort: Cohort) -> None:
    """Over many seeds each client holds as much of every site as any other, unlike the natural partition."""
    sites = cohort.manifest["site_id"].to_numpy()[cohort.rows("train")]
    parts = [iid_partition(cohort, seed=s)[0] for s in range(200)]
    assert abs(np.mean([(sites[p] == 0).mean() for p in parts]) - 13 / 22) < 0.04  # standard error 0.01
    assert abs(np.mean([len(p) for p in parts]) - 22 / 3) < 0.6  # standard error 0.16


def test_a_client_that_no_patient_falls_to_is_named(cohort: Cohort) -> None:
    few = cohort.manifest.groupby("site_id").head(1).reset_index(drop=True)
    with pytest.raises(TrainingError, match=r"no patient falls to client site-0\d of 3 under the iid partition"):
        iid_partition(dataclasses.replace(cohort, manifest=few), seed=1)


def test_kind_chooses(cohort: Cohort) -> None:
    for kind, parts in (("natural", natural_partition(cohort)), ("iid", iid_partition(cohort, seed=2))):
        chosen = partition(cohort, kind=kind, seed=2)
        assert [p.tolist() for p in chosen] == [p.tolist() for p in parts]


def test_a_site_without_training_scans_is_named(cohort: Cohort) -> None:
    manifest = cohort.manifest.copy()
    manifest.loc[manifest["site_id"] == 1, "split"] = "test"
    with pytest.raises(TrainingError, match="site 'b' has no training scan"):
        partition(dataclasses.replace(cohort, manifest=manifest), kind="natural", seed=0)
