"""Damaged ONNX files and arrays are read or refused with the project's own errors, in bounded memory and one line."""

from pathlib import Path

import numpy as np
from checkpoint_mutations import fuzz
from file_mutations import mutations

from flprivacy.models.graphs.files import read_graph
from flprivacy.models.graphs.looking import look_at
from flprivacy.models.graphs.tracing import Graph
from flprivacy.targets.array_files import read_arrays
from tests.onnx_networks import monai_resnet


def _network() -> bytes:
    return monai_resnet((4, 16, 20)).SerializeToString()


def test_reading_graphs(tmp_path: Path) -> None:
    data = _network()
    damaged = mutations(data, 500, seed=31, head=len(data))
    assert fuzz(tmp_path / "m.onnx", damaged, lambda path: Graph(read_graph(path), path))["read"] > 0


def test_answers_of_graphs(tmp_path: Path) -> None:
    """The structure alone, so that much of what is damaged gets as far as being run."""
    data = _network()
    small = monai_resnet((4, 16, 20))
    del small.graph.initializer[:]
    damaged = mutations(data, 25, seed=32, head=len(small.SerializeToString()))
    look = fuzz(tmp_path / "m.onnx", damaged, lambda path: look_at(path, stated={"input_range": "0..1"}, shape=None))
    assert look["read"] > 0


def test_arrays(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "a.npz", scan_ids=[f"s{i}" for i in range(8)], features=rng.normal(size=(8, 4)))
    data = (tmp_path / "a.npz").read_bytes()
    assert fuzz(tmp_path / "a.npz", mutations(data, 400, seed=33, head=len(data)), read_arrays)["read"] > 0
