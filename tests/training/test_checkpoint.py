from pathlib import Path

import numpy as np
import pytest

from flprivacy.core.errors import TrainingError
from flprivacy.training.checkpoint import Checkpoint, Checkpoints

ARRAYS = [np.arange(6, dtype=np.float32).reshape(2, 3) / 7, np.array(5, dtype=np.int64), np.ones(0, np.uint32)]
HISTORY = [{"epoch": 1, "loss": 0.1 + 0.2, "accuracy": 1 / 3}]


def store(folder: Path, key: str = "a" * 64) -> Checkpoints:
    return Checkpoints(folder=folder, key=key)


def test_what_is_saved_comes_back_bit_for_bit(tmp_path: Path) -> None:
    many = [np.full(1, i, dtype=np.float32) for i in range(120)]  # more than two digits keep their order
    store(tmp_path).save("model", Checkpoint(done=3, arrays=[*ARRAYS, *many], history=HISTORY))
    back = store(tmp_path).load("model")
    assert back is not None
    assert (back.done, back.history) == (3, HISTORY)
    for left, right in zip(back.arrays, [*ARRAYS, *many], strict=True):
        assert (left.dtype, left.shape, left.tobytes()) == (right.dtype, right.shape, right.tobytes())


def test_another_run_or_model_does_not_see_it(tmp_path: Path) -> None:
    store(tmp_path).save("model", Checkpoint(done=1, arrays=ARRAYS, history=[]))
    assert store(tmp_path, "b" * 64).load("model") is None
    assert store(tmp_path).load("site-00") is None


def test_a_file_moved_from_another_run_is_refused(tmp_path: Path) -> None:
    other = store(tmp_path, "b" * 64)
    other.save("model", Checkpoint(done=1, arrays=ARRAYS, history=[]))
    store(tmp_path).path("model").parent.mkdir(parents=True)
    other.path("model").rename(store(tmp_path).path("model"))
    with pytest.raises(TrainingError, match=r"model\.npz: checkpoint of another run; delete it"):
        store(tmp_path).load("model")


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "text"])
def test_a_damaged_file_is_refused(tmp_path: Path, damage: str) -> None:
    checkpoints = store(tmp_path)
    checkpoints.save("model", Checkpoint(done=1, arrays=[np.zeros(1000)], history=[]))
    path = checkpoints.path("model")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes({"truncated": data[: len(data) // 2], "flipped": data, "empty": b"", "text": b"hello"}[damage])
    with pytest.raises(TrainingError, match=r"model\.npz: damaged checkpoint .* delete it"):
        checkpoints.load("model")


def test_weights_that_are_not_finite_are_not_saved(tmp_path: Path) -> None:
    checkpoints = store(tmp_path)
    checkpoints.save("model", Checkpoint(done=1, arrays=ARRAYS, history=[]))
    with pytest.raises(TrainingError, match=r"model: weights are no longer finite.*lower learning_rate"):
        checkpoints.save("model", Checkpoint(done=2, arrays=[np.array([1.0, np.inf])], history=[]))
    back = checkpoints.load("model")
    assert back is not None
    assert back.done == 1


def test_a_failed_save_keeps_the_last_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints = store(tmp_path)
    checkpoints.save("model", Checkpoint(done=1, arrays=ARRAYS, history=[]))

    def half(stream, **arrays):
        stream.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez", half)
    with pytest.raises(OSError, match="disk full"):
        checkpoints.save("model", Checkpoint(done=2, arrays=ARRAYS, history=[]))
    back = checkpoints.load("model")
    assert back is not None
    assert back.done == 1
    assert len(list(tmp_path.rglob("*"))) == 2  # the run's folder and the whole file, no partial one
