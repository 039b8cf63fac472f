import numpy as np
import pytest
from tiny_training import assert_same_bits, tiny_network

from flprivacy.core.errors import TrainingError
from flprivacy.training.config import TargetConfig
from flprivacy.training.local import Learner, Pass
from flprivacy.training.method import ADAM, Batch
from flprivacy.training.pool import Pool

MINE, OTHERS = np.array([0, 4, 7, 9, 15, 20]), np.array([1, 2, 3])


def train(learner: Learner, pool: Pool, indices: np.ndarray = MINE, view: int = 0, draw: int = 1) -> Pass:
    return learner.train_epoch(
        pool, indices, view=view, generator=np.random.default_rng(draw), advance=lambda: None, where="here"
    )


def test_what_a_client_learns_does_not_depend_on_who_trained_before(learner: Learner, pool: Pool) -> None:
    results = []
    for earlier in (0, 2):
        for _ in range(earlier):
            train(learner, pool, OTHERS)
        learner.start(tiny_network(4).get_weights(), np.random.default_rng(0))
        train(learner, pool)
        results.append(learner.state())
    assert_same_bits(*results)


def test_state_is_everything_that_training_goes_on_from(learner: Learner, pool: Pool) -> None:
    learner.start(tiny_network(4).get_weights(), np.random.default_rng(0))
    train(learner, pool)
    middle = learner.state()
    train(learner, pool, view=1)
    end = learner.state()
    learner.restore(middle)
    train(learner, pool, view=1)
    assert_same_bits(learner.state(), end)
    learner.start(middle[: len(learner.weights())], np.random.default_rng(0))  # weights alone are not enough
    train(learner, pool, view=1)
    assert learner.weights()[0].tobytes() != end[0].tobytes()


@pytest.mark.parametrize("change", ["seed of random layers", "batches", "view"])
def test_each_draw_matters(learner: Learner, pool: Pool, change: str) -> None:
    results = []
    for other in (0, 1):
        learner.start(tiny_network(4).get_weights(), np.random.default_rng(other * (change == "seed of random layers")))
        train(learner, pool, draw=other * (change == "batches"), view=other * (change == "view"))
        results.append(learner.weights()[0].tobytes())
    assert results[0] != results[1]


def test_without_augmentation_every_pass_sees_the_scans_as_they_are_scored(pool: Pool) -> None:
    config = TargetConfig(topology="central", batch_size=4, learning_rate=0.01, augment=False)
    learner = Learner(tiny_network(0), ADAM, config)
    results = []
    for view in (0, 1, 5):
        learner.start(tiny_network(4).get_weights(), np.random.default_rng(0))
        train(learner, pool, view=view)
        results.append(learner.weights())
    assert_same_bits(results[0], results[1])
    assert_same_bits(results[0], results[2])


def test_the_mean_is_over_scans_not_batches(learner: Learner, pool: Pool) -> None:
    """At a learning rate of nearly 0 the mean over a pass of 4 + 2 scans is that of one pass over all."""
    learner.start(tiny_network(4).get_weights(), np.random.default_rng(0))
    seen: list[tuple[float, float, float]] = []
    run = learner._step.run

    def spy(volumes: np.ndarray, classes: np.ndarray, batch: Batch, keys: np.ndarray):
        result = run(volumes, classes, batch, keys)
        seen.append((result.loss, result.accuracy, float(batch.weights.sum())))
        return result

    object.__setattr__(learner._step, "run", spy)
    try:
        result = train(learner, pool)
    finally:
        object.__setattr__(learner._step, "run", run)
    assert [s[2] for s in seen] == [4, 2]
    assert result.loss == pytest.approx((4 * seen[0][0] + 2 * seen[1][0]) / 6)
    assert result.accuracy == pytest.approx((4 * seen[0][1] + 2 * seen[1][1]) / 6)


def test_weights_are_copies(learner: Learner, pool: Pool) -> None:
    learner.start(tiny_network(4).get_weights(), np.random.default_rng(0))
    held = learner.weights()
    before = [w.tobytes() for w in held]
    train(learner, pool)
    assert [w.tobytes() for w in held] == before


def test_a_loss_that_is_not_finite_stops_training(learner: Learner, pool: Pool) -> None:
    learner.start([np.full_like(w, np.nan) for w in learner.weights()], np.random.default_rng(0))
    with pytest.raises(TrainingError, match=r"here: the loss became nan in epoch 3, .*0\.01.*lower learning_rate"):
        train(learner, pool, view=2)


def test_a_state_of_another_model_is_refused(learner: Learner) -> None:
    with pytest.raises(TrainingError, match="does not fit the model"):
        learner.restore(learner.state()[:-1])
