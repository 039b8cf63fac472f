from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_training import SGD, assert_same_bits, linear_network, tiny_manifest, write_tiny_cohort

from flprivacy.core.cohort import Cohort
from flprivacy.core.errors import TrainingError
from flprivacy.training.alone import train_central
from flprivacy.training.draws import draw_clients
from flprivacy.training.federated import train_federated, weighted_average
from flprivacy.training.local import Learner
from flprivacy.training.pool import Pool, natural_partition, scan_pool
from flprivacy.training.topology import Run


def test_one_client_in_one_round_is_central_training(
    make_run: Callable[..., Run], tmp_path: Path, cohort: Cohort
) -> None:
    meta = replace(cohort.meta, site_names=("all",), digest="")
    single = replace(cohort, manifest=cohort.manifest.assign(site_id=0), meta=meta)
    (central,) = train_central(make_run("central", epochs=3, cohort=single, folder=tmp_path / "central"))
    (federated,) = train_federated(
        make_run("federated", rounds=1, local_epochs=3, cohort=single, folder=tmp_path / "federated")
    )
    assert_same_bits(central.weights, federated.weights)
    assert central.history[-1]["loss"] == pytest.approx(federated.history[-1]["loss"])


def sgd_run(make_run: Callable[..., Run], cohort: Cohort, **fields: object) -> Run:
    """A run of plain gradient descent on softmax regression from zero, each client's scans one batch."""
    run = make_run("federated", rounds=1, batch_size=32, learning_rate=0.5, cohort=cohort, **fields)
    model = linear_network()
    zeros = [np.zeros(w.shape, np.float32) for w in model.weights]
    return replace(
        run,
        pool=scan_pool(cohort, protocol="standard"),
        learner=Learner(model, SGD, run.config),
        initial_weights=lambda _: zeros,
    )


def pooled_features(pool: Pool, indices: np.ndarray, view: int = 0) -> np.ndarray:
    x = pool.view(indices, view)[..., 0].astype(np.float64)
    n, depth, height, width = x.shape
    return x.reshape(n, depth // 4, 4, height // 4, 4, width // 4, 4).mean(axis=(2, 4, 6)).reshape(n, -1)


def test_one_full_batch_step_averages_to_a_step_on_the_pool(make_run: Callable[..., Run], cohort: Cohort) -> None:
    """With one gradient step a client, FedAvg weighted by size is gradient descent on all scans together."""
    run = sgd_run(make_run, cohort)
    (trained,) = train_federated(run)
    everyone = np.arange(22)
    residuals = 0.5 - run.pool.one_hot(everyone)  # softmax of zero minus truth
    gradient = pooled_features(run.pool, everyone).T @ residuals / 22
    np.testing.assert_allclose(trained.weights[0], -0.5 * gradient, rtol=1e-4, atol=1e-6)
    equal = -0.5 * np.mean(
        [pooled_features(run.pool, p).T @ residuals[p] / len(p) for p in natural_partition(cohort)], axis=0
    )
    assert np.abs(trained.weights[0] - equal).max() > 1e-3  # unweighted averaging would be noticed


def test_the_second_round_starts_from_the_average_and_sees_the_next_view(
    make_run: Callable[..., Run], cohort: Cohort
) -> None:
    run = sgd_run(make_run, cohort)
    (once,) = train_federated(run)
    twice = replace(run, config=replace(run.config, rounds=2), checkpoints=replace(run.checkpoints, key="2" * 64))
    (trained,) = train_federated(twice)
    everyone = np.arange(22)

    def stepped(view: int) -> np.ndarray:
        features = pooled_features(run.pool, everyone, view)
        odds = np.exp(features @ once.weights[0])
        gradient = features.T @ (odds / odds.sum(axis=1, keepdims=True) - run.pool.one_hot(everyone)) / 22
        return once.weights[0] - 0.5 * gradient

    np.testing.assert_allclose(trained.weights[0], stepped(1), rtol=1e-4, atol=1e-6)
    assert np.abs(trained.weights[0] - stepped(0)).max() > 1e-4
    assert [h["round"] for h in trained.history] == [1, 2]
    assert trained.history[1]["loss"] < trained.history[0]["loss"]


def test_every_local_epoch_sees_a_view_of_its_own(
    make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    views: list[int] = []
    view = Pool.view
    monkeypatch.setattr(Pool, "view", lambda self, indices, number: views.append(number) or view(self, indices, number))
    train_federated(make_run("federated", rounds=2, local_epochs=2, batch_size=4))
    steps = 4 + 2 + 1  # of sites of 13, 6 and 3 scans
    assert {number: views.count(number) for number in views} == {0: steps, 1: steps, 2: steps, 3: steps}


@pytest.mark.parametrize(
    ("n", "fraction", "count"), [(21, 1.0, 21), (21, 0.5, 10), (21, 0.3, 6), (3, 0.01, 1), (1, 1, 1)]
)
def test_clients_are_drawn_without_repeats_and_at_least_one(n: int, fraction: float, count: int) -> None:
    for round_ in range(20):
        drawn = draw_clients(n, fraction, 4, round_)
        assert len(drawn) == len(set(drawn.tolist())) == count
        assert drawn.tolist() == sorted(drawn.tolist())
        assert set(drawn.tolist()) <= set(range(n))


def test_every_client_is_drawn_as_often() -> None:
    counts = np.bincount(np.concatenate([draw_clients(6, 0.5, 0, r) for r in range(600)]), minlength=6)
    assert abs(counts - 300).max() < 5 * np.sqrt(600 * 0.25)
    assert draw_clients(6, 0.5, 0, 1).tolist() == draw_clients(6, 0.5, 0, 1).tolist()


def test_members_are_the_scans_of_the_clients_that_took_part(make_run: Callable[..., Run], cohort: Cohort) -> None:
    run = make_run("federated", rounds=2, client_fraction=0.34)
    (trained,) = train_federated(run)
    drawn = {int(c) for r in range(2) for c in draw_clients(3, 0.34, run.config.seed, r)}
    parts = natural_partition(cohort)
    assert trained.members.tolist() == sorted(np.concatenate([parts[c] for c in drawn]).tolist())
    assert len(drawn) < 3
    assert all(h["clients"] == 1 for h in trained.history)


def test_the_partition_matters(make_run: Callable[..., Run], tmp_path: Path) -> None:
    natural, iid = (
        train_federated(make_run("federated", rounds=1, partition=p, folder=tmp_path / p))[0]
        for p in ("natural", "iid")
    )
    assert natural.members.tolist() == iid.members.tolist() == list(range(22))
    assert natural.weights[0].tobytes() != iid.weights[0].tobytes()


def test_a_client_larger_than_others_pulls_harder(make_run: Callable[..., Run], tmp_path: Path) -> None:
    """Known answer: with classes kept apart by site the average leans to the large site's class."""
    manifest = tiny_manifest()
    manifest["label"] = (manifest["site_id"] > 0).astype(int)
    run = sgd_run(make_run, write_tiny_cohort(tmp_path / "apart", manifest))
    (trained,) = train_federated(run)
    assert trained.weights[0][:, 0].mean() > trained.weights[0][:, 1].mean()


RNG = np.random.default_rng(0)
SHAPES = [(3, 4, 2), (2,), ()]
CLIENTS = [[np.asarray(RNG.normal(size=s), dtype=np.float32) for s in SHAPES] for _ in range(5)]


@pytest.mark.parametrize("sizes", [[1, 1, 1, 1, 1], [400, 3, 17, 1, 120], [0, 0, 5, 0, 0], [0.5, 0.25, 0.1, 0.1, 0.05]])
def test_it_is_numpys_weighted_average(sizes: list[float]) -> None:
    averaged = weighted_average(iter(CLIENTS), sizes)
    for tensor, result in enumerate(averaged):
        expected = np.average([c[tensor].astype(np.float64) for c in CLIENTS], axis=0, weights=sizes)
        assert result.shape == SHAPES[tensor]
        assert result.dtype == np.float32
        np.testing.assert_allclose(result, expected, rtol=1e-6, atol=1e-7)


def test_the_average_of_one_is_that_one_bit_for_bit() -> None:
    for left, right in zip(weighted_average(CLIENTS[:1], [17]), CLIENTS[0], strict=True):
        assert left.tobytes() == right.tobytes()


def test_it_holds_one_model_at_a_time() -> None:
    """A client's arrays may be overwritten once the next is asked for, as a reused model's are."""
    buffer = np.zeros(3, dtype=np.float32)

    def updates():
        for value in (1.0, 2.0, 6.0):
            buffer[:] = value
            yield [buffer]

    np.testing.assert_allclose(weighted_average(updates(), [1, 1, 1])[0], 3.0, rtol=1e-6)


@pytest.mark.parametrize("sizes", [[], [0, 0], [-1, 2], [np.nan, 1], [np.inf, 1]])
def test_sizes_that_are_no_weights_are_refused(sizes: list[float]) -> None:
    with pytest.raises(TrainingError, match="client sizes"):
        weighted_average(CLIENTS[: len(sizes)], sizes)


@pytest.mark.parametrize("n_sizes", [1, 3])
def test_as_many_sizes_as_models(n_sizes: int) -> None:
    with pytest.raises(TrainingError):
        weighted_average(CLIENTS[:2], [1] * n_sizes)


def test_models_of_other_shapes_are_refused() -> None:
    with pytest.raises(TrainingError, match="do not match"):
        weighted_average([[np.zeros((2, 3))], [np.zeros((3, 2))]], [1, 1])
