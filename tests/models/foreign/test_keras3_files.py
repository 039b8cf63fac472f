"""Files of Keras 3, and files that do not fit as a whole."""

import h5py
import keras
import numpy as np
import pytest

from flprivacy.core.errors import ConfigError, TargetError
from flprivacy.core.target_source import TargetSource
from flprivacy.models.foreign.checkpoint import open_checkpoint
from flprivacy.models.foreign.loading import load_checkpoint
from flprivacy.models.registry import build
from flprivacy.models.weights import save_weights
from flprivacy.targets.folder import load_model, read_target, verify_target
from flprivacy.targets.importing import import_checkpoint

SHAPE = (4, 16, 20)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A network of ours as plain Keras saves it, in its three formats."""
    folder = tmp_path_factory.mktemp("keras3")
    target = build("cnn3d_small", shape=SHAPE, n_classes=3, seed=7)
    target.model.save(folder / "m.keras")
    target.model.save(folder / "m.h5")
    target.model.save_weights(folder / "m.weights.h5")
    save_weights(target, folder / "ours.weights.h5")
    return folder, target


def _load(path, **facts):
    with open_checkpoint(path) as checkpoint:
        return load_checkpoint(checkpoint, TargetSource(location=str(path), **facts))


@pytest.mark.parametrize("name", ["m.keras", "m.h5", "m.weights.h5"])
def test_all_formats_give_the_same_network(saved, name):
    folder, target = saved
    facts = {} if name != "m.weights.h5" else {"shape": SHAPE}
    loaded = _load(folder / name, **facts)
    assert (loaded.report.matched, loaded.report.total, loaded.head) == (20, 20, True)
    assert (loaded.model.architecture, loaded.model.shape, loaded.model.n_classes) == ("cnn3d_small", SHAPE, 3)
    for ours, theirs in zip(loaded.model.model.weights, target.model.weights, strict=True):
        np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))


def test_a_weights_file_needs_its_shape(saved):
    with pytest.raises(TargetError, match="does not tell which scans it takes; give shape"):
        _load(saved[0] / "m.weights.h5")


def _without(path, out, *names):
    """Copy a legacy file without some weights."""
    out.write_bytes(path.read_bytes())
    with h5py.File(out, "a") as file:
        trunk = file["model_weights/trunk"]
        trunk.attrs["weight_names"] = [name for name in trunk.attrs["weight_names"] if name not in names]
        for name in names:
            del trunk[name]
    return out


def test_a_partial_trunk_is_an_error_unless_it_is_asked_for(saved, tmp_path):
    path = _without(saved[0] / "m.h5", tmp_path / "part.h5", "block2_down_conv/kernel")
    with h5py.File(path, "a") as file:
        file["model_weights/trunk/extra/kernel"] = np.zeros(3, np.float32)
    with pytest.raises(
        TargetError, match=r"19 of 20 tensors of the cnn3d_small trunk match; missing .*block2_down_conv.*allow_partial"
    ):
        _load(path)
    loaded = _load(path, allow_partial=True)
    assert (loaded.report.matched, loaded.report.missing) == (19, ("block2_down_conv/kernel",))
    assert loaded.report.left_over == ("trunk/extra/kernel",)
    record = import_checkpoint(
        TargetSource(location=str(path), allow_partial=True), path, name="part", out=tmp_path / "t"
    )
    assert (record.tensors_matched, record.tensors_total) == (19, 20)
    assert record.origin.missing == ("block2_down_conv/kernel",)
    assert verify_target(tmp_path / "t") == record


def test_another_shape_counts_as_missing(saved, tmp_path):
    path = tmp_path / "m.h5"
    path.write_bytes((saved[0] / "m.h5").read_bytes())
    with h5py.File(path, "a") as file:
        del file["model_weights/trunk/stem_conv/bias"]
        file["model_weights/trunk/stem_conv/bias"] = np.zeros(9, np.float32)
    with pytest.raises(TargetError, match=r"19 of 20 .* missing 'stem_conv/bias'; left over .*stem_conv/bias"):
        _load(path)


def test_nothing_in_common_is_an_error_even_if_partial(saved):
    with pytest.raises(TargetError, match=r"0 of 29 tensors of the cnn3d trunk match; missing .* and 26 more"):
        _load(saved[0] / "m.h5", architecture="cnn3d", allow_partial=True)
    with pytest.raises(ConfigError, match="architecture is 'resnet'; must be one of"):
        _load(saved[0] / "m.h5", architecture="resnet")


def test_two_trunks_need_a_word(saved, tmp_path):
    scan = keras.Input((*SHAPE, 1))
    one, two = (build("cnn3d_small", shape=SHAPE, n_classes=2, seed=seed).trunk for seed in (1, 2))
    one.name, two.name = "first", "second"
    keras.Model(scan, keras.layers.Concatenate()([one(scan), two(scan)])).save(tmp_path / "two.keras")
    with pytest.raises(TargetError, match=r"networks 'first' and 'second' hold 20 tensors .* trunk_layer"):
        _load(tmp_path / "two.keras")
    loaded = _load(tmp_path / "two.keras", trunk_layer="second")
    assert (len(loaded.report.left_over), loaded.head) == (20, False)
    np.testing.assert_array_equal(np.asarray(loaded.model.trunk.weights[0]), np.asarray(two.weights[0]))
    with pytest.raises(
        TargetError, match="has no network 'third' inside; trunk_layer may be one of: 'first', 'second'"
    ):
        _load(tmp_path / "two.keras", trunk_layer="third")


def test_values_that_are_not_finite(saved, tmp_path):
    path = tmp_path / "m.h5"
    path.write_bytes((saved[0] / "m.h5").read_bytes())
    with h5py.File(path, "a") as file:
        file["model_weights/trunk/stem_conv/bias"][0] = np.nan
    with pytest.raises(TargetError, match="stem_conv/bias' holds values that are not finite"):
        _load(path)


def test_a_target_of_a_file(saved, tmp_path):
    folder, target = saved
    source = TargetSource(location="s3://private-bucket/dr-smith/m.h5", topology="federated", epsilon=8.0, n_train=100)
    record = import_checkpoint(source, folder / "m.h5", name="mine", out=tmp_path / "t")
    assert read_target(tmp_path / "t") == verify_target(tmp_path / "t") == record
    assert (record.name, record.architecture, record.shape, record.n_classes) == ("mine", "cnn3d_small", SHAPE, 3)
    assert (record.topology, record.epsilon, record.models[0].n_train) == ("federated", 8.0, 100)
    assert (record.tensors_matched, record.tensors_total, record.origin.head) == (20, 20, True)
    assert record.origin.file == "m.h5"  # where it lay may name people
    x = np.random.default_rng(0).random((2, *SHAPE, 1)).astype(np.float32)
    model = load_model(tmp_path / "t", record, "model")
    np.testing.assert_array_equal(np.asarray(model.model(x)), np.asarray(target.model(x)))
    other = import_checkpoint(TargetSource(location="m.keras"), folder / "m.keras", name="x", out=tmp_path / "u")
    assert other.digest != record.digest  # how it was trained is part of it
    again = import_checkpoint(TargetSource(location="x.h5"), folder / "ours.weights.h5", name="x", out=tmp_path / "v")
    assert (again.digest, again.tensors_matched, again.tensors_total) == (other.digest, 20, 20)
