"""A run interrupted at every boundary, and between them, ends with the bits of an undisturbed one."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_training import assert_same_bits

from flprivacy.training.alone import train_central, train_siloed
from flprivacy.training.checkpoint import Checkpoint, Checkpoints
from flprivacy.training.federated import train_federated
from flprivacy.training.pool import Pool
from flprivacy.training.topology import Run

TRAINERS = {"central": train_central, "siloed": train_siloed, "federated": train_federated}
CASES = {
    "central": ({"epochs": 4}, 4),
    "siloed": ({"epochs": 2}, 3 * 2),
    "federated": ({"rounds": 4, "local_epochs": 2, "client_fraction": 0.67, "partition": "iid"}, 4),
}


class Killed(BaseException):
    """Stands for a kill: nothing may catch it."""


@pytest.mark.parametrize("topology", CASES)
def test_interrupted_after_every_checkpoint(
    topology: str, make_run: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields, boundaries = CASES[topology]
    train = TRAINERS[topology]
    undisturbed = train(make_run(topology, folder=tmp_path / "undisturbed", **fields))
    save = Checkpoints.save

    def save_and_die(self: Checkpoints, model: str, checkpoint: Checkpoint) -> None:
        save(self, model, checkpoint)
        raise Killed

    monkeypatch.setattr(Checkpoints, "save", save_and_die)
    for _ in range(boundaries):
        with pytest.raises(Killed):
            train(make_run(topology, folder=tmp_path / "killed", **fields))
    resumed = train(make_run(topology, folder=tmp_path / "killed", **fields))  # nothing is left to train
    assert [m.name for m in resumed] == [m.name for m in undisturbed]
    for left, right in zip(undisturbed, resumed, strict=True):
        assert_same_bits(left.weights, right.weights)
        assert left.history == right.history
        assert left.members.tolist() == right.members.tolist()


@pytest.mark.parametrize("topology", CASES)
def test_interrupted_in_the_middle_of_an_epoch(topology: str, make_run: Callable[..., Run], tmp_path: Path) -> None:
    fields, _ = CASES[topology]
    train = TRAINERS[topology]
    undisturbed = train(make_run(topology, folder=tmp_path / "undisturbed", **fields))
    for steps in (1, 5, 7):
        run = make_run(topology, folder=tmp_path / "killed", **fields)
        with pytest.raises(Killed):
            train(replace(run, pool=dying_pool(run.pool, steps)))
    resumed = train(make_run(topology, folder=tmp_path / "killed", **fields))
    for left, right in zip(undisturbed, resumed, strict=True):
        assert_same_bits(left.weights, right.weights)
        assert left.history == right.history


def dying_pool(pool: Pool, steps: int) -> Pool:
    left = iter(range(steps))

    def read(indices):
        if next(left, None) is None:
            raise Killed
        return pool.read(indices)

    return replace(pool, read=read)


def test_a_finished_model_is_kept_without_its_optimizer(make_run: Callable[..., Run]) -> None:
    run = make_run("central", epochs=1)
    (trained,) = TRAINERS["central"](run)
    saved = run.checkpoints.load("model")
    assert saved is not None
    assert_same_bits(saved.arrays, trained.weights)
