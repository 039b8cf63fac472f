from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_training import assert_same_bits

from flprivacy.core.errors import TrainingError
from flprivacy.training.central import train_central
from flprivacy.training.topology import Run


def test_it_learns_two_classes_that_differ(make_run: Callable[..., Run]) -> None:
    (trained,) = train_central(make_run("central", epochs=12, learning_rate=0.01))
    assert trained.members.tolist() == list(range(22))
    assert [h["epoch"] for h in trained.history] == list(range(1, 13))
    assert trained.history[-1]["loss"] < 0.5 * trained.history[0]["loss"]
    assert trained.history[-1]["accuracy"] > 0.9


@pytest.mark.parametrize(("seeds", "same"), [((0, 0), True), ((0, 1), False)])
def test_the_seed_draws_everything(
    make_run: Callable[..., Run], tmp_path: Path, seeds: tuple[int, int], same: bool
) -> None:
    first, second = (
        train_central(make_run("central", epochs=2, seed=seed, folder=tmp_path / str(i)))[0]
        for i, seed in enumerate(seeds)
    )
    if same:
        assert_same_bits(first.weights, second.weights)
        assert first.history == second.history
    else:
        assert first.weights[0].tobytes() != second.weights[0].tobytes()


def test_a_diverging_run_leaves_no_checkpoint(make_run: Callable[..., Run], tmp_path: Path) -> None:
    run = make_run("central", epochs=2)
    broken = [w * float("nan") for w in run.initial_weights(0)]
    object.__setattr__(run, "initial_weights", lambda _: broken)
    with pytest.raises(TrainingError, match="model: the loss became nan"):
        train_central(run)
    assert not list(tmp_path.rglob("*.npz"))
