import h5py
import keras
import numpy as np
import pytest
from architecture_examples import randomise, scans, tensors

from flprivacy.core.errors import StorageError, TargetError
from flprivacy.models.registry import ARCHITECTURES, build
from flprivacy.models.weights import MatchReport, load_weights, save_weights, weights_digest

SHAPE = (4, 16, 20)
N_TENSORS = 22


def small(seed=0, shape=SHAPE, n_classes=3):
    return build("cnn3d_small", shape=shape, n_classes=n_classes, seed=seed)


@pytest.fixture
def saved(tmp_path):
    model = small(seed=1)
    randomise(model.model)
    save_weights(model, tmp_path / "model.weights.h5")
    return model, tmp_path / "model.weights.h5"


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_round_trip_is_bit_equal(name, tmp_path):
    shape = ARCHITECTURES[name].minimal_shape
    model, other = (build(name, shape=shape, n_classes=3, seed=seed) for seed in (1, 2))
    randomise(model.model)
    save_weights(model, tmp_path / "m.weights.h5")
    report = load_weights(other, tmp_path / "m.weights.h5")
    total = len(model.model.weights)
    assert report == MatchReport(matched=total, total=total, missing=(), left_over=())
    expected = tensors(model.model)
    for path, values in tensors(other.model).items():
        np.testing.assert_array_equal(values, expected[path], err_msg=path)
    assert weights_digest(model) == weights_digest(other)


def test_equal_weights_give_equal_bytes(saved, tmp_path):
    model, path = saved
    save_weights(model, tmp_path / "again.weights.h5")
    assert (tmp_path / "again.weights.h5").read_bytes() == path.read_bytes()


def test_compiled_functions_see_the_new_weights_and_stay_compiled(saved):
    model, path = saved
    other = small(seed=2)
    traces = []

    class Counting(keras.layers.Layer):
        def call(self, x):
            traces.append(1)
            return x

    outer = keras.Sequential([keras.Input((*SHAPE, 1)), other.model, Counting()])
    x = scans(SHAPE)
    before = outer.predict_on_batch(x)
    traced = len(traces)
    load_weights(other, path)
    after = outer.predict_on_batch(x)
    assert len(traces) == traced
    assert not np.allclose(before, after)
    np.testing.assert_allclose(after, np.asarray(model.model(x)), rtol=1e-4, atol=1e-6)


def test_tensors_are_matched_by_path_not_by_position(saved, tmp_path):
    model, path = saved
    shuffled = tmp_path / "shuffled.weights.h5"
    with h5py.File(path) as source, h5py.File(shuffled, "w", track_order=True) as sink:
        sink.attrs["flprivacy_weights"] = source.attrs["flprivacy_weights"]
        for weight in reversed(model.model.weights):
            sink.create_dataset(weight.path, data=source[weight.path][()])
    other = small()
    load_weights(other, shuffled)
    assert weights_digest(other) == weights_digest(model)


def test_digest_tells_every_value_path_and_seed_apart():
    model = small()
    digests = {weights_digest(model), weights_digest(small(seed=1))}
    for weight in model.model.weights:
        values = np.asarray(weight).copy()
        values.flat[-1] += 1e-3
        weight.assign(values)
        digests.add(weights_digest(model))
    assert len(digests) == 2 + N_TENSORS


def refused(path, match, model=None):
    """Loading raises one line that names the file, and leaves the model as it was."""
    model = model or small()
    before = weights_digest(model)
    with pytest.raises(TargetError, match=match) as caught:
        load_weights(model, path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    assert weights_digest(model) == before


def test_a_missing_file_is_refused(tmp_path):
    refused(tmp_path / "none.weights.h5", "no such weights file; check the path")
    refused(tmp_path, "no such weights file")


def test_a_file_that_is_not_hdf5_is_refused(tmp_path):
    path = tmp_path / "m.weights.h5"
    for content, words in (
        (b"", "is empty; copy or download it again"),
        (b"not HDF5 at all", "not an HDF5 file; copy it again"),
        (b"\x00" * 4096, "not an HDF5 file; copy it again"),
    ):
        path.write_bytes(content)
        refused(path, words)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(saved, share):
    _, path = saved
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    refused(path, "truncated or damaged HDF5 file .*; copy it again")


def test_another_architecture_is_refused(tmp_path):
    other = build("cnn3d", shape=SHAPE, n_classes=3, seed=0)
    save_weights(other, tmp_path / "m.weights.h5")
    refused(
        tmp_path / "m.weights.h5",
        r"weights of cnn3d \(4x16x20, 3 classes\) do not fit cnn3d_small \(4x16x20, 3 classes\): "
        r"2 of 22 tensors match, \d+ left over; the first is stem_conv/kernel, which is float32 \(3, 3, 3, 1, 16\) in "
        r"the file and float32 \(3, 3, 3, 1, 8\) in the model; name the architecture",
    )


def test_another_number_of_classes_is_refused(tmp_path):
    save_weights(small(n_classes=4), tmp_path / "m.weights.h5")
    refused(tmp_path / "m.weights.h5", r"20 of 22 tensors match, 0 left over; the first is head_logits/kernel")


def test_another_input_shape_is_refused_though_every_tensor_fits(tmp_path):
    save_weights(small(shape=(6, 16, 20)), tmp_path / "m.weights.h5")
    refused(tmp_path / "m.weights.h5", r"cnn3d_small \(6x16x20, 3 classes\) do not fit .*: 22 of 22 tensors match")


def test_a_lacking_tensor_is_refused(saved):
    _, path = saved
    with h5py.File(path, "a") as file:
        del file["block2_down_conv/kernel"]
    refused(
        path, r"21 of 22 tensors match, 0 left over; the first is block2_down_conv/kernel, which is not in the file"
    )


def test_a_tensor_too_many_is_refused(saved):
    _, path = saved
    with h5py.File(path, "a") as file:
        file["extra/kernel"] = np.zeros(3, np.float32)
    refused(path, r"22 of 22 tensors match, 1 left over; the first is extra/kernel, which the model lacks")


def test_another_type_is_refused(saved):
    _, path = saved
    with h5py.File(path, "a") as file:
        values = file["stem_conv/bias"][()]
        del file["stem_conv/bias"]
        file["stem_conv/bias"] = values.astype(np.float64)
    refused(path, r"stem_conv/bias, which is float64 \(8,\) in the file and float32 \(8,\) in the model")


def test_weights_that_are_not_finite_are_neither_read_nor_written(saved, tmp_path):
    model, path = saved
    with h5py.File(path, "a") as file:
        file["stem_conv/bias"][3] = np.nan
    refused(path, "stem_conv/bias holds values that are not finite; training diverged")
    model.head.weights[1].assign([0.0, np.inf, 0.0])
    with pytest.raises(TargetError, match="head_logits/bias holds values that are not finite"):
        save_weights(model, tmp_path / "new.weights.h5")
    assert not (tmp_path / "new.weights.h5").exists()


def test_another_ending_is_refused(tmp_path):
    with pytest.raises(TargetError, match=r"weights files end in \.weights\.h5"):
        save_weights(small(), tmp_path / "model.h5")


def test_a_failed_write_leaves_the_old_file(saved, monkeypatch):
    _, path = saved
    before = path.read_bytes()

    def full(*args, **kwargs):
        raise OSError("No space left on device")

    monkeypatch.setattr(h5py.Group, "create_dataset", full)
    with pytest.raises(StorageError, match=r"cannot be written \(No space left on device\); free some disk space"):
        save_weights(small(seed=3), path)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]
