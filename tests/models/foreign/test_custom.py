"""Networks of the user's own: features, answers, fresh weights."""

import dataclasses
import json
import zipfile

import keras
import numpy as np
import pytest
import tf_keras
from keras import layers, ops

from flprivacy.core.errors import TargetError
from flprivacy.core.target_source import TargetSource
from flprivacy.models.foreign.custom import fresh_custom, load_custom, save_custom
from flprivacy.targets.folder import load_model, read_target, verify_target
from flprivacy.targets.importing import fresh_target, import_checkpoint

SHAPE = (4, 16, 20)


def _network(channels=1, last="softmax", classes=3, seed=0):
    keras.utils.set_random_seed(seed)
    scan = keras.Input((*SHAPE, channels) if channels else SHAPE)
    x = scan if channels else layers.Reshape((*SHAPE, 1))(scan)
    x = layers.Conv3D(5, 3, strides=2, activation="relu", name="conv")(x)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.Dense(6, activation="tanh", name="embedding")(layers.GlobalAveragePooling3D()(x))
    x = ops.relu(x) + 0.1
    return keras.Model(scan, layers.Dense(classes, activation=last, name="answer")(x))


def _scans(n=3):
    return np.random.default_rng(1).random((n, *SHAPE, 1)).astype(np.float32)


@pytest.mark.parametrize("channels", [0, 1, 3])
def test_features_and_answers_are_the_networks_own(tmp_path, channels):
    network = _network(channels)
    network.save(tmp_path / "m.keras")
    model = load_custom(tmp_path / "m.keras", "embedding").model
    x = _scans()
    own = x[..., 0] if channels == 0 else np.repeat(x, channels, axis=-1)
    features = keras.Model(network.inputs, network.get_layer("embedding").output)(own)
    np.testing.assert_allclose(np.asarray(model.trunk(x)), np.asarray(features), atol=1e-6)
    np.testing.assert_allclose(np.asarray(model.model(x)), np.asarray(network(own)), atol=1e-6)
    assert (model.shape, model.n_classes, model.architecture) == (SHAPE, 3, "custom")


def _own_loss(truth, answers):
    return ops.mean(ops.square(answers))


@pytest.mark.parametrize(
    "how",
    [
        {"optimizer": "adam", "loss": "mse"},
        {"optimizer": keras.optimizers.Adam(keras.optimizers.schedules.ExponentialDecay(1e-3, 10, 0.9)), "loss": "mse"},
        {"optimizer": "sgd", "loss": _own_loss, "metrics": ["mae", _own_loss]},
    ],
)
def test_what_a_model_was_trained_with_is_nobodys_to_judge(tmp_path, how):
    network = _network()
    network.compile(**how)
    network.fit(_scans(), np.eye(3), verbose=0)
    network.save(tmp_path / "m.keras")
    x = _scans()
    features = keras.Model(network.inputs, network.get_layer("embedding").output)(x)
    model = load_custom(tmp_path / "m.keras", "embedding").model
    np.testing.assert_allclose(np.asarray(model.trunk(x)), np.asarray(features), atol=1e-6)


def test_a_cast_before_the_head_is_an_operation_that_computes(tmp_path):
    scan = keras.Input((*SHAPE, 1))
    x = layers.GlobalAveragePooling3D(name="embedding")(layers.Conv3D(2, 3, dtype="mixed_float16")(scan))
    network = keras.Model(scan, layers.Dense(3, activation="softmax")(ops.cast(x, "float32")))
    network.save(tmp_path / "m.keras")
    model = load_custom(tmp_path / "m.keras", "embedding").model
    np.testing.assert_allclose(np.asarray(model.model(_scans())), np.asarray(network(_scans())), atol=1e-3)


@pytest.mark.parametrize("module", ["keras.engine.functional", None])
def test_files_of_older_keras_2_say_how_to_convert_them(tmp_path, module):
    scan = tf_keras.Input((*SHAPE, 1))
    x = tf_keras.layers.GlobalAveragePooling3D(name="embedding")(scan)
    tf_keras.Model(scan, tf_keras.layers.Dense(3)(x)).save(tmp_path / "old.keras")
    with zipfile.ZipFile(tmp_path / "old.keras") as old, zipfile.ZipFile(tmp_path / "m.keras", "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name == "config.json":
                config = json.loads(data) | {"module": module}
                data = json.dumps({key: value for key, value in config.items() if value is not None}).encode()
            new.writestr(name, data)
    with pytest.raises(TargetError, match=r"saved by Keras 2.* save it as \.h5, load that with Keras 3"):
        load_custom(tmp_path / "m.keras", "embedding")


def test_features_with_space_are_averaged_over_it(tmp_path):
    network = _network()
    network.save(tmp_path / "m.keras")
    model = load_custom(tmp_path / "m.keras", "norm").model
    maps = np.asarray(keras.Model(network.inputs, network.get_layer("norm").output)(_scans()))
    np.testing.assert_allclose(np.asarray(model.trunk(_scans())), maps.mean(axis=(1, 2, 3)), atol=1e-6)


@pytest.mark.parametrize(
    ("last", "classes", "answers"),
    [
        ("softmax", 3, "probabilities"),
        (None, 3, "logits"),
        ("sigmoid", 3, "labels"),
        ("sigmoid", 1, "probability"),
        (None, 1, "logit"),
    ],
)
def test_answers_become_probabilities(tmp_path, last, classes, answers):
    network = _network(last=last, classes=classes)
    network.get_layer("answer").bias.assign(np.linspace(4.0, 5.0, classes))  # a logit outside of [0, 1]
    network.save(tmp_path / "m.keras")
    custom = load_custom(tmp_path / "m.keras", "embedding")
    assert custom.facts["answers"] == answers
    given, raw = np.asarray(custom.model.model(_scans())), np.asarray(network(_scans()), dtype=np.float64)
    wanted = {
        "probabilities": lambda: raw,
        "labels": lambda: raw,
        "logits": lambda: np.exp(raw) / np.exp(raw).sum(axis=1, keepdims=True),
        "probability": lambda: np.hstack([1 - raw, raw]),
        "logit": lambda: np.hstack([1 / (1 + np.exp(raw)), 1 / (1 + np.exp(-raw))]),
    }[answers]()
    np.testing.assert_allclose(given, wanted, atol=1e-6)


def test_a_network_that_does_not_classify_has_no_answers(tmp_path):
    scan = keras.Input((*SHAPE, 1))
    keras.Model(scan, layers.Conv3D(2, 3, name="maps")(scan)).save(tmp_path / "m.keras")
    custom = load_custom(tmp_path / "m.keras", "maps")
    assert (custom.facts["answers"], custom.model.probabilities) == ("", None)
    record = import_checkpoint(
        TargetSource(location="m.keras", feature_layer="maps"), tmp_path / "m.keras", name="m", out=tmp_path / "t"
    )
    assert not record.origin.head


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((16, 20), "needs one input"),
        ((4, 16, 20, 2), "needs one input"),
        ((None, 16, 20, 1), "scans of any size; give theirs"),
    ],
)
def test_inputs_that_are_no_scans(tmp_path, shape, words):
    image = keras.Input(shape)
    x = layers.Dense(2, name="embedding")(ops.mean(image, axis=tuple(range(1, len(shape))))[:, None] * 1.0)
    keras.Model(image, x).save(tmp_path / "m.keras")
    with pytest.raises(TargetError, match=words):
        load_custom(tmp_path / "m.keras", "embedding")


def test_an_unknown_feature_layer_names_the_known_ones(tmp_path):
    _network().save(tmp_path / "m.keras")
    with pytest.raises(
        TargetError, match=r"has no layer 'features'; feature_layer may be one of: .*conv, norm, .*embedding"
    ):
        load_custom(tmp_path / "m.keras", "features")


@pytest.fixture
def target(tmp_path):
    network = _network()
    network.save(tmp_path / "m.keras")
    source = TargetSource(location=str(tmp_path / "m.keras"), feature_layer="embedding")
    return network, import_checkpoint(source, tmp_path / "m.keras", name="mine", out=tmp_path / "target")


def test_a_target_folder_of_it(tmp_path, target):
    network, record = target
    assert read_target(tmp_path / "target") == verify_target(tmp_path / "target") == record
    assert (record.architecture, record.origin.feature_layer, record.origin.answers) == (
        "custom",
        "embedding",
        "probabilities",
    )
    assert record.tensors_matched == record.tensors_total == len(network.weights)
    model = load_model(tmp_path / "target", record, "model")
    np.testing.assert_allclose(np.asarray(model.model(_scans())), np.asarray(network(_scans())), atol=1e-6)
    _network(seed=9).save(tmp_path / "other.keras")
    other = import_checkpoint(
        TargetSource(location="o.keras", feature_layer="embedding"),
        tmp_path / "other.keras",
        name="o",
        out=tmp_path / "o",
    )
    load_model(tmp_path / "o", other, "model", into=model)
    again = load_model(tmp_path / "o", other, "model")
    np.testing.assert_array_equal(np.asarray(model.trunk(_scans())), np.asarray(again.trunk(_scans())))


def test_another_feature_layer_is_another_target(tmp_path, target):
    from flprivacy.core.parsing import to_mapping
    from flprivacy.core.publish import write_json

    _, record = target
    origin = dataclasses.replace(record.origin, feature_layer="norm")
    write_json(tmp_path / "target" / "target.json", to_mapping(dataclasses.replace(record, origin=origin)))
    with pytest.raises(TargetError, match="the record was changed"):
        verify_target(tmp_path / "target")


def test_fresh_weights_differ_by_seed_alone(tmp_path, target):
    network, _ = target
    path = tmp_path / "m.keras"
    draws = [fresh_custom(path, "embedding", seed=seed, answers="probabilities") for seed in (1, 1, 2)]
    kernels = [np.asarray(one.network.get_layer("conv").kernel) for one in draws]
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert not np.array_equal(kernels[0], kernels[2])
    assert not np.array_equal(kernels[0], np.asarray(network.get_layer("conv").kernel))
    assert kernels[0].std() == pytest.approx(kernels[2].std(), rel=0.3)
    save_custom(draws[0], tmp_path / "again.keras")
    again = load_custom(tmp_path / "again.keras", "embedding")
    np.testing.assert_array_equal(np.asarray(again.network.get_layer("conv").kernel), kernels[0])


def test_the_untrained_baseline_of_it(tmp_path, target):
    records = [
        fresh_target(tmp_path / "target", initialisations=3, seed=5, protocol="standard", out=tmp_path / name)
        for name in ("a", "b")
    ]
    assert records[0].digest == records[1].digest != target[1].digest
    record = verify_target(tmp_path / "a")
    assert (record.role, record.topology, [model.name for model in record.models]) == (
        "baseline",
        "untrained",
        ["init-0", "init-1", "init-2"],
    )
    features = [np.asarray(load_model(tmp_path / "a", record, m.name).trunk(_scans())) for m in record.models]
    assert not np.allclose(features[0], features[1])
