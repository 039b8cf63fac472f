"""Damaged checkpoints and records are read or refused with the project's own errors, in bounded memory and one line."""

import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from checkpoint_mutations import fuzz, places, rezipped, with_member, with_nasty_value
from file_mutations import SCALE, mutations
from keras import layers

from flprivacy.core.parsing import to_mapping
from flprivacy.core.publish import write_json
from flprivacy.core.target_source import TargetSource
from flprivacy.models.foreign.checkpoint import open_checkpoint
from flprivacy.models.foreign.custom import load_custom
from flprivacy.models.foreign.loading import wanted_tensors
from flprivacy.models.foreign.naming import (
    Wanted,
    guess_architecture,
    head_block,
    head_classes,
    match_block,
    trunk_blocks,
)
from flprivacy.models.registry import build
from flprivacy.targets.folder import read_target, verify_target
from flprivacy.targets.importing import import_checkpoint

SHAPE = (4, 16, 20)


@pytest.fixture(scope="module")
def network() -> keras.Model:
    """A small network of a user's own, one network in another."""
    inner_in = keras.Input((*SHAPE, 1))
    inner = keras.Model(
        inner_in,
        layers.GlobalAveragePooling3D()(layers.BatchNormalization()(layers.Conv3D(3, 2)(inner_in))),
        name="body",
    )
    scan = keras.Input((*SHAPE, 1))
    x = layers.Dense(4, name="embedding")(inner(scan))
    return keras.Model(scan, layers.Dense(2, activation="softmax")(x))


@pytest.fixture(scope="module")
def wanted() -> tuple[Wanted, ...]:
    return tuple(wanted_tensors(build("cnn3d_small", shape=SHAPE, n_classes=2, seed=0).trunk))


def _look(wanted: tuple[Wanted, ...]) -> Callable[[Path], None]:
    """Do with a file what an import does, without the price of building a network."""

    def look(path: Path) -> None:
        with open_checkpoint(path) as checkpoint:
            held = sum(values.nbytes for values in checkpoint.read(checkpoint.places).values())
            assert held <= path.stat().st_size
            guess_architecture(checkpoint)
            for block in trunk_blocks("cnn3d_small", [tensor.layer for tensor in wanted]):
                match_block(block, wanted, checkpoint)
            head_classes(head_block("i3d", ["head_bottleneck"]), checkpoint)

    return look


def test_legacy_whole_models(tmp_path: Path, network: keras.Model, wanted: tuple[Wanted, ...]) -> None:
    path = tmp_path / "model.h5"
    network.save(path)
    data = path.read_bytes()
    assert fuzz(path, mutations(data, 250, seed=11, head=len(data)), _look(wanted))["read"] > 0


def test_legacy_weights(tmp_path: Path, network: keras.Model, wanted: tuple[Wanted, ...]) -> None:
    network.save(tmp_path / "model.h5")
    path = tmp_path / "weights.h5"
    with h5py.File(tmp_path / "model.h5") as whole, h5py.File(path, "w") as file:
        for name in whole["model_weights"]:
            whole.copy(f"model_weights/{name}", file)
        file.attrs["layer_names"] = whole["model_weights"].attrs["layer_names"]
    data = path.read_bytes()
    assert fuzz(path, mutations(data, 150, seed=12, head=len(data)), _look(wanted))["read"] > 0


def test_keras3_weights(tmp_path: Path, network: keras.Model, wanted: tuple[Wanted, ...]) -> None:
    path = tmp_path / "model.weights.h5"
    network.save_weights(path)
    data = path.read_bytes()
    assert fuzz(path, mutations(data, 200, seed=13, head=len(data)), _look(wanted))["read"] > 0


@pytest.mark.parametrize(
    ("member", "count", "seed"), [("config.json", 120, 14), ("model.weights.h5", 100, 15), ("", 100, 16)]
)
def test_archives(tmp_path: Path, network: keras.Model, member: str, count: int, seed: int) -> None:
    path = tmp_path / "model.keras"
    network.save(path)
    data = path.read_bytes()
    copies = rezipped(data, member, count, seed) if member else mutations(data, count, seed=seed, head=256)
    load_custom(path, "embedding")  # undamaged
    outcomes = fuzz(path, copies, lambda file: load_custom(file, "embedding"))
    assert outcomes["read"] > 0 or not member


def test_descriptions_with_other_values(tmp_path: Path, network: keras.Model) -> None:
    """Descriptions that stay JSON, with a value replaced by one of another kind or size."""
    path = tmp_path / "model.keras"
    network.save(path)
    data = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        description = archive.read("config.json")
    config = json.loads(description)
    found = list(places(config))
    rng = np.random.default_rng(17)

    def copies() -> Iterator[bytes]:
        for _ in range(120 * SCALE):
            spoiled = with_nasty_value(description, found[int(rng.integers(len(found)))], rng)
            yield with_member(data, "config.json", spoiled)

    outcomes = fuzz(path, copies(), lambda file: load_custom(file, "embedding"))
    assert outcomes["read"] > 0


def test_records(tmp_path: Path, network: keras.Model) -> None:
    network.save(tmp_path / "model.keras")
    folder = tmp_path / "target"
    source = TargetSource(location=str(tmp_path / "model.keras"), feature_layer="embedding", topology="central")
    record = import_checkpoint(source, tmp_path / "model.keras", name="mine", out=folder)
    assert verify_target(folder) == record
    path = folder / "target.json"
    write_json(path, to_mapping(record))
    data = path.read_bytes()
    outcomes = fuzz(path, mutations(data, 250, seed=18, head=len(data)), lambda file: read_target(file.parent))
    assert outcomes["read"] > 0
