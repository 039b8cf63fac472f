"""Descriptions of networks that would fill the memory or the time: refused in one line, before they do."""

import json
import resource
import zipfile

import keras
import numpy as np
import pytest
from keras import layers, ops

from flprivacy.core.errors import TargetError
from flprivacy.models.foreign.checkpoint import open_checkpoint
from flprivacy.models.foreign.custom import load_custom

SHAPE = (4, 16, 20)
_MEMORY = 150 << 20


def _save(path, *middle):
    """Save a network of which some layers stand between the scan and the features."""
    scan = x = keras.Input((*SHAPE, 1))
    for layer in middle:
        x = layer(x)
    if len(x.shape) > 2:
        x = ops.max(x, axis=tuple(range(1, len(x.shape) - 1)))
    keras.Model(scan, layers.Dense(2, name="answer")(layers.Dense(3, name="embedding")(x))).save(path)
    return path


def _changed(path, change):
    """Change the description in an archive by hand."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    text = change(config)
    members["config.json"] = text if isinstance(text, (str, bytes)) else json.dumps(config)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def _layer(config, name):
    return next(layer for layer in config["config"]["layers"] if layer["class_name"] == name)


def _refused(path, match):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(TargetError, match=match) as caught:
        load_custom(path, "embedding")
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10 < _MEMORY
    assert str(caught.value).startswith(str(path))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1500


@pytest.fixture
def path(tmp_path):
    return tmp_path / "m.keras"


@pytest.mark.parametrize(
    ("middle", "match"),
    [
        (lambda: [lambda x: ops.tile(x, (1, 1, 1, 1, 70_000))], r"has shape .* 70000\]"),  # an operation, no layer
        (lambda: [layers.UpSampling3D(40)], r"has shape .*160, 640, 800, 1\]"),
        (
            lambda: [
                layers.TimeDistributed(
                    keras.Sequential([keras.Input((16, 20, 1)), layers.UpSampling2D(300), layers.GlobalMaxPooling2D()])
                )
            ],
            "layer 'up_sampling2d' takes 115200000 numbers",
        ),
        (
            lambda: [_many, lambda x: layers.MultiHeadAttention(2, 1)(x, x)],
            "layer 'multi_head_attention' takes 209715200",
        ),
        (lambda: [_many, lambda x: layers.Attention()([x, x])], "layer 'attention' takes 104857600 numbers"),
        (lambda: [_many, lambda x: layers.AdditiveAttention()([x, x])], "layer 'additive_attention' takes 104857600"),
        (lambda: [layers.Conv3D(1, 3, dilation_rate=300, padding="same")], "layer 'conv3d' takes [0-9]+ "),
        (lambda: [layers.Conv3D(1, 2, strides=10**9)], "layer 'conv3d' takes [0-9]+ "),  # found by `make fuzz`
        (lambda: [layers.AveragePooling3D(10**9, padding="same")], "layer 'average_pooling3d' takes [0-9]+ "),
        (
            lambda: [lambda x: ops.conv(x, np.ones((3, 3, 3, 1, 1)), padding="same", dilation_rate=300)],
            "layer 'conv' takes [0-9]+ ",
        ),
    ],
)
def test_what_one_scan_would_take(path, middle, match):
    keras.backend.clear_session()
    _refused(_save(path, *middle()), f"{match}.*at most 67108864 .*can be held")


def _many(x):
    return layers.Reshape((-1, 1))(layers.UpSampling3D((2, 2, 2))(x))  # 10,240 positions


def test_what_all_layers_together_would_take(path):
    scan = keras.Input((*SHAPE, 1))
    large = layers.UpSampling3D((16, 16, 16))(scan)  # 5 million numbers
    for _ in range(210):
        large = layers.Activation("relu")(large)
    keras.Model(scan, layers.Dense(2, name="embedding")(layers.GlobalMaxPooling3D()(large))).save(path)
    _refused(path, "its layers take 11.* numbers for one scan; at most 1073741824 can be held")


def test_constants_are_not_computed_with(path):
    """A call on constants alone runs while the network is built, whatever it makes of them."""

    def change(config):
        tile = _layer(config, "Tile")
        tile["inbound_nodes"][0]["args"][0] = {
            "class_name": "__numpy__",
            "config": {"value": [1.0], "dtype": "float32"},
        }
        tile["config"]["repeats"] = [10**11]

    _refused(_changed(_save(path, lambda x: ops.tile(x, (1, 1, 1, 1, 2))), change), "on no other layer's output")


@pytest.mark.parametrize("dtype", ["S1000000000", "object", None])
def test_constants_are_numbers(path, dtype):
    def change(config):
        constant = {"class_name": "__numpy__", "config": {"value": [1, 2, 3], "dtype": dtype}}
        _layer(config, "Dense")["inbound_nodes"][0]["kwargs"]["training"] = constant

    _refused(_changed(_save(path, layers.Conv3D(2, 2)), change), "holds a constant of type")


@pytest.mark.parametrize("where", ["input", "build", "tensor"])
def test_shapes_that_only_the_description_has(path, where):
    huge = [None, 1 << 14, 1 << 14, 1 << 14, 1]

    def change(config):
        norm = _layer(config, "Normalization")
        norm["config"]["axis"] = [1, 2, 3, 4]  # its mean is spread over all of them while it is built
        if where == "input":
            _layer(config, "InputLayer")["config"]["batch_shape"] = huge
        elif where == "build":
            norm["build_config"] = {"input_shape": huge}
        else:
            norm["inbound_nodes"][0]["args"][0]["config"]["shape"] = huge

    _refused(_changed(_save(path, layers.Normalization(mean=0.5, variance=2.0)), change), "at most 67108864")


def test_layers_that_make_more_than_the_description_says(path):
    def change(config):
        _layer(config, "UpSampling3D")["config"]["size"] = [1 << 12, 1 << 12, 1 << 12]

    _refused(_changed(_save(path, layers.UpSampling3D(1)), change), r"a tensor of shape .*; at most 67108864")


def test_loops_are_not_unrolled(path):
    def change(config):
        lstm = _layer(config, "GRU")
        lstm["config"]["unroll"] = True

    _refused(_changed(_save(path, _many, layers.GRU(2)), change), "is unrolled")


@pytest.mark.parametrize("word", ["NaN", "-Infinity"])
def test_numbers_that_are_none(path, word):
    _save(path, layers.Dropout(0.123))
    _changed(path, lambda config: json.dumps(config).replace("0.123", word))
    _refused(path, f"unreadable description of the network .{word} is no number")


def test_answers_that_are_not_finite(path):
    huge = layers.Conv3D(2, 2), layers.Rescaling(1e38), layers.Rescaling(1e38)
    _refused(_save(path, *huge), "answers a scan with values that are not fin")


def test_errors_of_the_backend_are_the_files(path):
    """What the library that computes raises is no crash."""
    _refused(_save(path, lambda x: ops.take(x, 99, axis=1)), "Keras cannot build its network .*99")


def test_descriptions_of_many_parts(path, tmp_path):
    many = "[" + "{}," * (1 << 18) + "{}]"
    _save(path, layers.Conv3D(2, 2))
    _changed(path, lambda config: json.dumps(config).replace('"trainable": true', f'"trainable": {many}', 1))
    _refused(path, "too many parts")
    with pytest.raises(TargetError, match="too many parts"), open_checkpoint(path):
        pass
