import numpy as np

from flprivacy.cohorts.format import read_volumes
from flprivacy.cohorts.preprocessing import test_view as plain_view
from flprivacy.core.cohort import Cohort
from flprivacy.training.pool import training_pool


def test_it_holds_the_training_scans_in_order(cohort: Cohort) -> None:
    pool = training_pool(cohort, protocol="standard")
    rows = cohort.rows("train")
    indices = np.array([20, 3, 3, 0])
    np.testing.assert_array_equal(pool.read(indices), read_volumes(cohort, rows[indices]))
    np.testing.assert_array_equal(pool.labels, cohort.manifest["label"].to_numpy()[rows])
    assert pool.one_hot(indices).tolist() == np.eye(2)[pool.labels[indices]].tolist()


def test_memory_and_disk_give_the_same_views(cohort: Cohort) -> None:
    held, mapped = (training_pool(cohort, protocol="standard", preload_bytes=b) for b in (2**30, 0))
    indices = np.array([5, 21, 0])
    for view in (0, 3):
        np.testing.assert_array_equal(held.view(indices, view), mapped.view(indices, view))


def test_views_differ_by_epoch_and_the_first_is_plain(cohort: Cohort) -> None:
    pool = training_pool(cohort, protocol="standard")
    indices = np.arange(6)
    views = [pool.view(indices, view) for view in range(3)]
    np.testing.assert_array_equal(views[0], plain_view(pool.read(indices), protocol="standard"))
    assert not np.array_equal(views[0], views[1])
    assert not np.array_equal(views[1], views[2])


def test_a_scans_view_does_not_depend_on_its_batch(cohort: Cohort) -> None:
    pool = training_pool(cohort, protocol="standard")
    np.testing.assert_array_equal(pool.view(np.array([7, 2, 9]), 4)[1], pool.view(np.array([2]), 4)[0])
