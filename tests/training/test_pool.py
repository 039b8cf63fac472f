import dataclasses

import numpy as np
import pytest

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
def test_iid_shares_have_the_sites_sizes_and_cover_the_pool(cohort: Cohort, seed: int) -> None:
    parts = iid_partition(cohort, seed=seed)
    assert [len(p) for p in parts] == SIZES
    assert sorted(np.concatenate(parts).tolist()) == list(range(sum(SIZES)))
    assert all((np.diff(p) > 0).all() for p in parts)


def test_iid_shares_are_drawn_from_the_seed(cohort: Cohort) -> None:
    draws = [[p.tolist() for p in iid_partition(cohort, seed=s)] for s in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]


def test_iid_shares_mix_the_sites(cohort: Cohort) -> None:
    """Over many seeds each client holds a site's scans in proportion to its size, unlike the natural partition."""
    sites = cohort.manifest["site_id"].to_numpy()[cohort.rows("train")]
    share = np.mean([(sites[iid_partition(cohort, seed=s)[0]] == 0).mean() for s in range(200)])
    assert abs(share - 13 / 22) < 0.03  # standard error 0.007


def test_kind_chooses(cohort: Cohort) -> None:
    for kind, parts in (("natural", natural_partition(cohort)), ("iid", iid_partition(cohort, seed=2))):
        chosen = partition(cohort, kind=kind, seed=2)
        assert [p.tolist() for p in chosen] == [p.tolist() for p in parts]


@pytest.mark.parametrize("kind", ["natural", "iid"])
def test_a_site_without_training_scans_is_named(cohort: Cohort, kind: str) -> None:
    manifest = cohort.manifest.copy()
    manifest.loc[manifest["site_id"] == 1, "split"] = "test"
    with pytest.raises(TrainingError, match="site 'b' has no training scan"):
        partition(dataclasses.replace(cohort, manifest=manifest), kind=kind, seed=0)
