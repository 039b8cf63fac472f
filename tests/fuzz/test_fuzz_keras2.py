"""Damaged ``.keras`` files of Keras 2: what is translated is read or refused as any other file is."""

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tf_keras
from checkpoint_mutations import fuzz, places, rezipped, with_member, with_nasty_value
from file_mutations import SCALE
from tf_keras import layers

from flprivacy.models.foreign.custom import load_custom

SHAPE = (4, 16, 20)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A network with all that is translated: networks within, one used twice, settings that Keras 3 does not know."""
    scan = tf_keras.Input((*SHAPE, 3))
    inner = tf_keras.Model(scan, layers.ReLU()(layers.Conv3D(3, 1)(scan)), name="inner")
    row = tf_keras.Sequential([tf_keras.Input((*SHAPE, 3)), layers.BatchNormalization(axis=[-1])], name="row")
    scan = tf_keras.Input((*SHAPE, 1))
    x = layers.Add()([row(inner(inner(layers.Concatenate()([scan, scan, scan])))), scan])
    x = layers.TimeDistributed(layers.GlobalAveragePooling2D())(x)
    x = layers.GRU(4, name="embedding")(x)
    network = tf_keras.Model(scan, layers.Dense(2, activation="softmax")(x))
    network.compile("adam", "mse")
    path = tmp_path_factory.mktemp("keras2") / "m.keras"
    network.save(path)
    with zipfile.ZipFile(path) as found:
        config = found.read("config.json").replace(b"tf_keras.src.", b"keras.src.")
    return with_member(path.read_bytes(), "config.json", config)


@pytest.mark.parametrize(("member", "count", "seed"), [("config.json", 30, 41), ("model.weights.h5", 15, 42)])
def test_archives(tmp_path: Path, archive: bytes, member: str, count: int, seed: int) -> None:
    path = tmp_path / "m.keras"
    path.write_bytes(archive)
    assert load_custom(path, "embedding").keras2
    outcomes = fuzz(path, rezipped(archive, member, count, seed), lambda file: load_custom(file, "embedding"))
    assert outcomes["read"] > 0


def test_descriptions_with_other_values(tmp_path: Path, archive: bytes) -> None:
    """Half of the values that are replaced are of places that the translation changes."""
    path = tmp_path / "m.keras"
    path.write_bytes(archive)
    with zipfile.ZipFile(path) as found:
        config = found.read("config.json")
    known = list(places(json.loads(config)))
    changed_by = ("module", "class_name", "inbound_nodes", "input_layers", "output_layers", "batch_input_shape", "axis")
    changed = [way for way in known if any(name in way for name in changed_by)]
    rng = np.random.default_rng(43)

    def copies() -> Iterator[bytes]:
        for number in range(30 * SCALE):
            some = changed if number % 2 else known
            spoiled = with_nasty_value(config, some[int(rng.integers(len(some)))], rng)
            yield with_member(archive, "config.json", spoiled)

    outcomes = fuzz(path, copies(), lambda file: load_custom(file, "embedding"))
    assert outcomes["read"] > 0
