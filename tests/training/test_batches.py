import numpy as np
import pytest

from flprivacy.training.batches import shuffled_batches, steps_per_epoch


@pytest.mark.parametrize(("n", "batch_size"), [(1, 4), (3, 4), (4, 4), (5, 4), (13, 4), (2, 16), (16, 1)])
def test_an_epoch_takes_every_scan_once_in_batches_of_one_size(n: int, batch_size: int) -> None:
    batches = list(shuffled_batches(n, batch_size, np.random.default_rng(1)))
    assert len(batches) == steps_per_epoch(n, batch_size) == int(np.ceil(n / batch_size))
    assert all(len(b.indices) == len(b.weights) == batch_size for b in batches)
    taken = np.concatenate([b.indices[b.weights == 1] for b in batches])
    assert sorted(taken.tolist()) == list(range(n))
    assert all(set(b.weights.tolist()) <= {0.0, 1.0} for b in batches)


def test_filling_is_of_the_clients_own_scans_evenly() -> None:
    (batch,) = shuffled_batches(3, 8, np.random.default_rng(1))
    assert np.bincount(batch.indices).max() - np.bincount(batch.indices).min() <= 1


def test_order_depends_on_the_generator_alone() -> None:
    def order(seed: int) -> list[int]:
        return np.concatenate([b.indices for b in shuffled_batches(40, 8, np.random.default_rng(seed))]).tolist()

    assert order(3) == order(3)
    assert order(3) != order(4)
    assert order(3) != list(range(40))
