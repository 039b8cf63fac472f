"""What a network of the user's own takes and gives: order of axes, range of values, outputs, layers within."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from flprivacy.core.errors import ConfigError, TargetError
from flprivacy.core.target_source import TargetSource, parse_source
from flprivacy.models.foreign.custom import fresh_custom, load_custom
from flprivacy.targets.digests import network_facts
from flprivacy.targets.folder import load_model, verify_target
from flprivacy.targets.given import describe_match
from flprivacy.targets.importing import fresh_target, import_checkpoint

SHAPE = (4, 16, 20)


def _scans(shape=SHAPE, n=3):
    return np.random.default_rng(1).random((n, *shape, 1)).astype(np.float32)


def _body(x, scale=1.0):
    x = layers.Conv3D(4, 3, strides=2, activation="relu", name="conv", bias_initializer="ones")(x)
    return layers.GlobalAveragePooling3D(name="embedding")(x)


def _saved(tmp_path, first, answer=lambda x: layers.Dense(3, activation="softmax", name="answer")(x)):
    keras.utils.set_random_seed(4)
    scan = keras.Input((*SHAPE, 1))
    network = keras.Model(scan, answer(_body(first(scan))))
    network.save(tmp_path / "m.keras")
    return network


def _augmented(x):
    return keras.Sequential([layers.GaussianNoise(0.1), layers.Rescaling(1 / 255)], name="first")(x)


@pytest.mark.parametrize(
    ("first", "expected", "low", "high"),
    [
        (lambda x: x, "0..1", 0, 1),
        (layers.Rescaling(1 / 255), "0..255", 0, 255),
        (layers.Rescaling(1 / 127.5, offset=-1.0), "0..255", 0, 255),
        (layers.Rescaling(2.0, offset=-1.0), "0..1", 0, 1),
        (layers.Rescaling(4.0, offset=-1.0), "0..1", 0, 1),
        (layers.Rescaling(1 / 1400, offset=1000 / 1400), "hu", -1000, 400),
        (layers.Rescaling(1 / 1000), "hu", -1000, 400),
        (layers.Normalization(axis=None, mean=-300.0, variance=404.0**2), "hu", -1000, 400),
        (layers.Normalization(axis=None, mean=60.0, variance=70.0**2), "0..255", 0, 255),
        (layers.Normalization(axis=None, mean=0.3, variance=0.25**2), "0..1", 0, 1),
        (lambda x: layers.Rescaling(1 / 255)(layers.ZeroPadding3D(1)(x)), "0..255", 0, 255),
        (lambda x: (x / 255.0 - 0.4) / 0.2, "0..255", 0, 255),
        (lambda x: (x + 1000.0) * (1 / 1400), "hu", -1000, 400),
        (lambda x: layers.Concatenate()([x, x]) / 255.0, "0..255", 0, 255),
        (_augmented, "0..255", 0, 255),
        (lambda x: (ops.clip(x, -1000.0, 400.0) + 1000.0) / 1400.0, "hu", -1000, 400),
        (layers.TimeDistributed(layers.Rescaling(1 / 255)), "0..255", 0, 255),
    ],
)
def test_the_first_layers_tell_the_values_that_it_takes(tmp_path, first, expected, low, high):
    network = _saved(tmp_path, first)
    own = keras.Model(network.inputs, network.get_layer("embedding").output)(_scans() * (high - low) + low)
    custom = load_custom(tmp_path / "m.keras", "embedding")
    assert (custom.facts["input_range"] or "0..1") == expected
    np.testing.assert_allclose(np.asarray(custom.model.trunk(_scans())), np.asarray(own), rtol=1e-4, atol=1e-4)


def test_batch_statistics_at_the_input_tell_too(tmp_path):
    network = _saved(tmp_path, layers.BatchNormalization(name="first"))
    network.get_layer("first").set_weights([np.ones(1), np.zeros(1), np.full(1, -400.0), np.full(1, 350.0**2)])
    network.save(tmp_path / "m.keras")
    assert load_custom(tmp_path / "m.keras", "embedding").facts["input_range"] == "hu"


def test_what_the_first_layers_do_not_tell_is_asked_for(tmp_path):
    network = _saved(tmp_path, layers.Rescaling(1 / 20000))
    with pytest.raises(
        TargetError, match=r"does not tell the values .* input_range=0\.\.1, 0\.\.255, hu or LOW\.\.HIGH"
    ):
        load_custom(tmp_path / "m.keras", "embedding")
    own = keras.Model(network.inputs, network.get_layer("embedding").output)(_scans() * 21000 - 1000)
    model = load_custom(tmp_path / "m.keras", "embedding", input_range="-1000..20000").model
    np.testing.assert_allclose(np.asarray(model.trunk(_scans())), np.asarray(own), atol=1e-4)


def test_hounsfield_units_follow_the_window_of_the_cohort(tmp_path):
    network = _saved(tmp_path, layers.Rescaling(1 / 1000))
    source = TargetSource(location="m.keras", feature_layer="embedding")
    record = import_checkpoint(source, tmp_path / "m.keras", name="m", out=tmp_path / "t")
    model = load_model(tmp_path / "t", record, "model", window_hu=(-1350.0, 150.0))
    own = keras.Model(network.inputs, network.get_layer("embedding").output)(_scans() * 1500 - 1350)
    np.testing.assert_allclose(np.asarray(model.trunk(_scans())), np.asarray(own), atol=1e-4)


@pytest.mark.parametrize(
    ("sizes", "stated", "axes", "shape", "assumed", "on_word"),
    [
        ((16, 16, 8), "", "hwd", (8, 16, 16), False, False),
        ((16, 16, 8), "hwd", "hwd", (8, 16, 16), False, False),
        ((8, 16, 16), "", "dhw", (8, 16, 16), False, False),
        ((8, 16, 16), "dwh", "dwh", (8, 16, 16), False, True),
        ((8, 8, 8), "", "dhw", (8, 8, 8), True, False),
        ((8, 8, 8), "hwd", "hwd", (8, 8, 8), False, True),
        ((16, 16, 8), "dhw", "dhw", (16, 16, 8), False, True),
        ((12, 16, 8), "wdh", "wdh", (16, 8, 12), False, True),
    ],
)
def test_the_order_of_axes(tmp_path, sizes, stated, axes, shape, assumed, on_word):
    scan = keras.Input((*sizes, 1))
    profile = layers.Flatten(name="embedding")(ops.mean(scan, axis=[n + 1 for n in range(3) if axes[n] != "d"]))
    keras.Model(scan, layers.Dense(2, activation="softmax")(profile)).save(tmp_path / "m.keras")
    source = TargetSource(location="m.keras", feature_layer="embedding", axes=stated)
    record = import_checkpoint(source, tmp_path / "m.keras", name="m", out=tmp_path / "t")
    assert (record.shape, network_facts(record.origin)["axes"]) == (shape, axes)
    assert ("axes" in record.origin.assumed, "axes" in record.origin.stated) == (assumed, on_word)
    bright = np.zeros((1, *shape, 1), np.float32)
    bright[:, 5] = 1.0  # one axial slice
    seen = np.asarray(load_model(tmp_path / "t", record, "model").trunk(bright))[0]
    np.testing.assert_allclose(seen, np.arange(shape[0]) == 5, atol=1e-6)


def _nested():
    scan, within = keras.Input((*SHAPE, 1)), keras.Input((*SHAPE, 1))
    inner = keras.Model(within, _body(within), name="inner")
    outside = keras.Input((*SHAPE, 1))
    backbone = keras.Model(outside, layers.Dense(5, activation="tanh", name="dense")(inner(outside)), name="backbone")
    return keras.Model(scan, layers.Dense(3, activation="softmax", name="answer")(backbone(scan))), backbone, inner


@pytest.mark.parametrize("layer", ["backbone", "backbone/dense", "backbone/inner", "backbone/inner/embedding"])
def test_layers_of_networks_within(tmp_path, layer):
    keras.utils.set_random_seed(2)
    network, backbone, inner = _nested()
    network.save(tmp_path / "m.keras")
    wanted = inner(_scans()) if "inner" in layer else backbone(_scans())
    model = load_custom(tmp_path / "m.keras", layer).model
    np.testing.assert_allclose(np.asarray(model.trunk(_scans())), np.asarray(wanted), atol=1e-6)
    np.testing.assert_allclose(np.asarray(model.model(_scans())), np.asarray(network(_scans())), atol=1e-6)
    before = [w.path for w in model.trunk.trainable_weights]
    assert before == [w.path for w in load_custom(tmp_path / "m.keras", layer).model.trunk.trainable_weights] != []


def test_a_sequential_backbone(tmp_path):
    inner = keras.Sequential([layers.Conv3D(3, 3), layers.GlobalAveragePooling3D(name="pool")], name="backbone")
    network = keras.Sequential([keras.Input((*SHAPE, 1)), inner, layers.Dense(2, activation="softmax")])
    network.save(tmp_path / "m.keras")
    for layer in ("backbone", "backbone/pool"):
        model = load_custom(tmp_path / "m.keras", layer).model
        np.testing.assert_allclose(np.asarray(model.trunk(_scans())), np.asarray(inner(_scans())), atol=1e-6)


def test_names_within_are_offered(tmp_path):
    _nested()[0].save(tmp_path / "m.keras")
    for name in ("embedding", "answer/embedding", "backbone/none"):
        with pytest.raises(TargetError, match=r"may be one of: .*backbone, .*backbone/inner/embedding.*answer"):
            load_custom(tmp_path / "m.keras", name)


def test_one_of_several_outputs_is_named(tmp_path):
    heads = lambda x: [  # noqa: E731
        layers.Dense(3, activation="softmax", name="dx")(x),
        layers.Dense(1, name="age")(x),
    ]
    network = _saved(tmp_path, lambda x: x, heads)
    with pytest.raises(TargetError, match=r"has 2 outputs \(dx, age\); say which one is audited with output=NAME"):
        load_custom(tmp_path / "m.keras", "embedding")
    with pytest.raises(TargetError, match=r"no output 'sex'; output may be one of: dx, age"):
        load_custom(tmp_path / "m.keras", "embedding", output="sex")
    for name, answers, place in (("dx", "probabilities", 0), ("age", "logit", 1)):
        source = parse_source(f"m.keras,feature_layer=embedding,output={name}")
        record = import_checkpoint(source, tmp_path / "m.keras", name="m", out=tmp_path / name)
        assert (record.origin.output, record.origin.answers) == (name, answers)
        assert verify_target(tmp_path / name) == record
        given = np.asarray(load_model(tmp_path / name, record, "model").model(_scans()))
        raw = np.asarray(network(_scans())[place])
        np.testing.assert_allclose(given if place == 0 else np.log(given[:, 1:] / given[:, :1]), raw, atol=1e-4)
    baseline = fresh_target(tmp_path / "age", initialisations=1, seed=1, protocol="standard", out=tmp_path / "fresh")
    assert baseline.origin == record.origin


def test_what_is_stated_goes_before_what_the_file_tells(tmp_path):
    _saved(tmp_path, layers.Rescaling(1 / 255))
    stated = {"input_range": "0..1", "answers": "none", "axes": "dhw"}
    custom = load_custom(tmp_path / "m.keras", "embedding", **stated)
    facts = custom.facts
    assert facts == dict.fromkeys(("output", *stated), "")
    assert custom.contract.contradicted == "0..255"
    source = TargetSource(location="m.keras", feature_layer="embedding", input_range="0..1")
    record = import_checkpoint(source, tmp_path / "m.keras", name="m", out=tmp_path / "t")
    assert "takes 0..1 (stated; its first layers are made for 0..255)" in describe_match(record)
    assert fresh_custom(tmp_path / "m.keras", "embedding", seed=1, **stated).facts == facts


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"axes": "hw"}, "give the order of d, h and w"),
        ({"input_range": "255..0"}, "give 0..1, 0..255, hu"),
        ({"answers": "softmax"}, "must be one of probabilities"),
        ({"feature_layer": "", "output": "dx"}, "is a fact of a network of your own"),
    ],
)
def test_wrong_facts(facts, words):
    with pytest.raises(ConfigError, match=words):
        TargetSource(location="m.keras", **({"feature_layer": "embedding"} | facts))


@pytest.mark.parametrize("axes", ["dhw", "hwd", "wdh"])
def test_scans_of_another_grid_are_resampled_axis_by_axis(tmp_path, axes):
    """Means of slices: finer scans of the same anatomy give the same features, whatever the network's own order."""
    shape = {"d": 4, "h": 10, "w": 6}
    scan = keras.Input((*(shape[axis] for axis in axes), 1))
    profile = layers.Flatten(name="embedding")(ops.mean(scan, axis=[n + 1 for n in range(3) if axes[n] != "d"]))
    keras.Model(scan, layers.Dense(2, activation="softmax")(profile)).save(tmp_path / "m.keras")
    model = load_custom(tmp_path / "m.keras", "embedding", axes=axes, input_range="0..1").model
    assert model.shape == (4, 10, 6)
    own = _scans((4, 10, 6))
    means = own.mean(axis=(2, 3, 4))
    np.testing.assert_allclose(np.asarray(model.trunk(own)), means, atol=1e-6)
    wider = own.repeat(2, axis=2).repeat(3, axis=3)
    np.testing.assert_allclose(np.asarray(model.trunk(wider)), means, atol=0.01)
    bright = np.zeros((1, 8, 5, 12, 1), np.float32)
    bright[:, 2:4] = 1.0  # the second quarter from the head
    seen = np.asarray(model.trunk(bright))[0]
    assert seen.argmax() == 1
    assert seen[1] > 2 * np.delete(seen, 1).max()
    slope = np.broadcast_to(np.linspace(0, 1, 16)[:, None, None, None], (1, 16, 3, 3, 1)).astype(np.float32)
    np.testing.assert_allclose(np.diff(np.asarray(model.trunk(slope))[0]), 4 / 15, atol=0.02)
