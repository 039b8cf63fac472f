"""Files that Keras 2 itself wrote give the features and answers of the networks that they were saved from."""

import h5py
import keras2_networks as k2
import numpy as np
import pytest

from flprivacy.core.errors import TargetError
from flprivacy.core.target_source import TargetSource
from flprivacy.models.foreign.checkpoint import open_checkpoint
from flprivacy.models.foreign.loading import load_checkpoint

SMALL = (8, 32, 40)
LONG = (24, 32, 40)  # depth at which the reference's two poolings of I3D both have something to pool


def _load(path, **facts):
    with open_checkpoint(path) as checkpoint:
        return load_checkpoint(checkpoint, TargetSource(location=str(path), **facts))


def _scans(shape, n=2):
    return np.random.default_rng(3).random((n, *shape, 1)).astype(np.float32)


def _softmax(logits):
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def _weight_order(path, network):
    with h5py.File(path) as file:
        return [str(name) for name in file["model_weights"][network].attrs["weight_names"]]


@pytest.fixture(scope="module")
def i3d(tmp_path_factory):
    """Whole models with the nested trunk saved frozen and trainable, weights of the trunk alone, and the answers."""
    folder = tmp_path_factory.mktemp("i3d")
    model, to_features, trunk = k2.i3d(LONG)
    k2.randomise(model)
    for name, trainable in (("frozen", False), ("trainable", True)):
        trunk.trainable = trainable
        model.save(folder / f"{name}.h5", include_optimizer=False)
    trunk.save_weights(folder / "kinetics.h5")
    x = _scans(LONG)
    return folder, x, np.asarray(to_features(x, training=False)), np.asarray(model(x, training=False))


@pytest.mark.parametrize("order", ["frozen", "trainable"])
def test_i3d_in_both_tensor_orders(i3d, order):
    folder, x, features, answers = i3d
    loaded = _load(folder / f"{order}.h5")
    assert (loaded.model.architecture, loaded.model.shape, loaded.model.n_classes) == ("i3d", LONG, 3)
    assert (loaded.report.matched, loaded.report.total, loaded.report.left_over, loaded.head) == (228, 228, (), True)
    assert features.std() > 0.1
    np.testing.assert_allclose(np.asarray(loaded.model.trunk(x)), features, rtol=0, atol=1e-4)
    np.testing.assert_allclose(np.asarray(loaded.model.model(x)), answers, atol=1e-4)


def test_the_two_orders_differ(i3d):
    """Matched by position, one of the two files would load wrongly: most tensors have another place."""
    frozen, trainable = (_weight_order(i3d[0] / f"{name}.h5", "i3d_inception") for name in ("frozen", "trainable"))
    assert sorted(frozen) == sorted(trainable)
    assert sum(a != b for a, b in zip(frozen, trainable)) > 150


def test_initial_weights_of_the_trunk_alone(i3d):
    folder, x, features, _ = i3d
    loaded = _load(folder / "kinetics.h5", shape=LONG)
    assert (loaded.report.matched, loaded.report.left_over, loaded.head) == (228, (), False)
    np.testing.assert_allclose(np.asarray(loaded.model.trunk(x)), features, rtol=0, atol=1e-4)


@pytest.fixture(scope="module")
def cnn3d(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cnn3d")
    model, to_features = k2.cnn3d(SMALL)
    k2.randomise(model, seed=1)
    model.save(folder / "model.h5")
    model.save_weights(folder / "weights.h5")
    model.save(folder / "model.keras")
    model.save_weights(folder / "numbered.weights.h5")
    model.trainable = False
    model.save(folder / "frozen.h5")
    x = _scans(SMALL)
    return folder, x, np.asarray(to_features(x, training=False)), np.asarray(model(x, training=False))


@pytest.mark.parametrize("name", ["model.h5", "weights.h5", "frozen.h5", "model.keras"])
def test_cnn3d(cnn3d, name):
    folder, x, features, answers = cnn3d
    loaded = _load(folder / name, shape=SMALL)
    assert (loaded.model.architecture, loaded.report.matched, loaded.report.total) == ("cnn3d", 29, 29)
    assert (loaded.report.left_over, loaded.head) == ((), True)
    np.testing.assert_allclose(np.asarray(loaded.model.trunk(x)), features, rtol=0, atol=1e-4)
    np.testing.assert_allclose(np.asarray(loaded.model.model(x)), answers, atol=1e-4)


@pytest.fixture(scope="module")
def nested_cnn3d(tmp_path_factory):
    """The same network as a trunk inside of another, saved frozen and trainable."""
    folder = tmp_path_factory.mktemp("nested")
    _, trunk = k2.cnn3d(SMALL)
    scan = k2.L.Input((*SMALL, 1))
    model = k2.tf_keras.Model(scan, k2.L.Dense(3, activation="softmax")(trunk(scan)))
    k2.randomise(model, seed=5)
    for name, trainable in (("frozen", False), ("trainable", True)):
        trunk.trainable = trainable
        model.save(folder / f"{name}.h5", include_optimizer=False)
    x = _scans(SMALL)
    return folder, trunk.name, x, np.asarray(trunk(x, training=False))


@pytest.mark.parametrize("order", ["frozen", "trainable"])
def test_cnn3d_as_a_nested_trunk_in_both_tensor_orders(nested_cnn3d, order):
    folder, name, x, features = nested_cnn3d
    frozen, trainable = (_weight_order(folder / f"{one}.h5", name) for one in ("frozen", "trainable"))
    assert sorted(frozen) == sorted(trainable)
    assert frozen != trainable
    loaded = _load(folder / f"{order}.h5")
    assert (loaded.model.architecture, loaded.model.shape) == ("cnn3d", SMALL)
    assert (loaded.report.matched, loaded.report.total) == (29, 29)
    assert features.std() > 0.1
    np.testing.assert_allclose(np.asarray(loaded.model.trunk(x)), features, rtol=0, atol=1e-4)


def test_layers_without_names_are_no_identity(cnn3d):
    with pytest.raises(TargetError, match="numbers its layers without naming them"):
        _load(cnn3d[0] / "numbered.weights.h5", architecture="cnn3d", shape=SMALL)


def test_numbers_may_start_anywhere_but_have_no_gap(tmp_path):
    model, to_features = k2.cnn3d(SMALL)  # its layers are numbered on from those of earlier networks
    k2.randomise(model, seed=2)
    path = tmp_path / "later.h5"
    model.save(path)
    x = _scans(SMALL)
    features = np.asarray(to_features(x, training=False))
    np.testing.assert_allclose(np.asarray(_load(path).model.trunk(x)), features, rtol=0, atol=1e-4)
    with h5py.File(path, "a") as file:
        layers = [name for name in file["model_weights"] if name.startswith("conv3d")]
        assert "conv3d" not in layers
        names = [name for name in file["model_weights"].attrs["layer_names"] if name != sorted(layers)[4]]
        file["model_weights"].attrs["layer_names"] = names
    with pytest.raises(TargetError, match=r"cnn3d trunk match; missing 'stem_conv/kernel'"):
        _load(path, architecture="cnn3d")


@pytest.mark.parametrize("code", [False, True])
def test_slices2d(tmp_path, code):
    shape = depth, height, width = (4, 32, 40)
    model, to_features = k2.slices2d(height, width, slices=depth, code=code)
    k2.randomise(model, seed=4)
    path = tmp_path / "slices.h5"
    model.save(path)
    scans = _scans(shape)
    side_by_side = np.repeat(np.concatenate([scans[:, k] for k in range(depth)], axis=2), 3, axis=-1)
    facts = {"shape": shape, "weights_only": code}
    if code:
        with pytest.raises(TargetError, match=r"a layer of code \(Lambda\), and code of a file is never run"):
            _load(path, shape=shape)
    loaded = _load(path, **facts)
    assert (loaded.model.architecture, loaded.report.matched, loaded.report.total) == ("slices2d", 266, 266)
    assert (loaded.report.left_over, loaded.head) == ((), True)
    features = np.asarray(to_features(side_by_side, training=False))
    np.testing.assert_allclose(np.asarray(loaded.model.trunk(scans)), features, rtol=0, atol=1e-4)
    answers = _softmax(np.asarray(model(side_by_side, training=False)))
    np.testing.assert_allclose(np.asarray(loaded.model.model(scans)), answers, atol=1e-4)
    if not code:
        _check_frozen_slices2d(model, path, loaded.model.trunk(scans), scans)


def _check_frozen_slices2d(model, path, features, scans):
    """Saved with its trunk frozen, the tensors stand in another order, and the features are the same."""
    trunk = next(layer for layer in model.layers if layer.name.startswith("mobilenet"))
    trunk.trainable = False
    frozen = path.with_name("frozen.h5")
    model.save(frozen)
    orders = [_weight_order(one, trunk.name) for one in (path, frozen)]
    assert sorted(orders[0]) == sorted(orders[1])
    assert sum(a != b for a, b in zip(*orders)) > 100
    loaded = _load(frozen, shape=scans.shape[1:4])
    assert (loaded.report.matched, loaded.report.left_over, loaded.head) == (266, (), True)
    np.testing.assert_array_equal(np.asarray(loaded.model.trunk(scans)), np.asarray(features))
