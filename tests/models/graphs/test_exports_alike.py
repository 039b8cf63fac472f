"""One network as PyTorch's exporters write it, older and newer: other names and operators, the same twin."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from flprivacy.models.graphs.fresh import fresh_graph
from flprivacy.models.graphs.network import load_graph
from tests.onnx_networks import Builder

SHAPE = (4, 16, 20)
RNG = np.random.default_rng(5)
FIRST, SECOND = RNG.normal(0.0, 0.3, (6, 1, 3, 3, 3)), RNG.normal(0.0, 0.2, (6, 6, 3, 3, 3))
SQUARE, LAST = RNG.normal(0.0, 0.4, (6, 6)), RNG.normal(0.0, 0.4, (3, 6))  # (outputs, inputs), as PyTorch keeps them
NORM = RNG.uniform(0.5, 1.5, (4, 6))  # scale, shift, mean, variance


class Named(Builder):
    """Names weights as given, or as the older exporter does."""

    def called(self, name: str, values: object, dtype: object = np.float32) -> str:
        self.weights[name] = np.asarray(values, dtype)
        return name


def older() -> onnx.ModelProto:
    """Normalisations folded into kernels, GELU written out, matrices turned beforehand."""
    b = Named()
    scale, shift, mean, variance = NORM
    by = scale / np.sqrt(variance + 1e-5)
    kernel, bias = (
        b.called("onnx::Conv_42", FIRST * by[:, None, None, None, None]),
        b.called("onnx::Conv_43", shift - mean * by),
    )
    x = b.op("Conv", "scan", kernel, bias, pads=[1] * 6, name="/features/features.0/Conv_output_0")
    half = b.op("Mul", x, b.op("Add", b.op("Erf", b.op("Div", x, b.weight(2.0**0.5))), b.weight(1.0)))
    x = b.op("Mul", half, b.weight(0.5))
    x = b.op("Relu", b.op("Conv", x, b.called("onnx::Conv_45", SECOND), b.called("onnx::Conv_46", NORM[1])))
    x = b.op("Flatten", b.op("GlobalAveragePool", x))
    x = b.op(
        "Relu", b.op("Add", b.op("MatMul", x, b.called("onnx::MatMul_48", SQUARE.T)), b.called("fc1.bias", NORM[2]))
    )
    b.op("Gemm", x, b.called("fc.weight", LAST), b.called("fc.bias", [0.1, 0.2, 0.3]), transB=1, name="disease")
    return b.model([1, *SHAPE], ["disease"])


def newer() -> onnx.ModelProto:
    """Operators of their own for everything, and a matrix that is turned in the graph."""
    b = Named()
    parts = [b.called(f"features.1.{number}", one) for number, one in enumerate(NORM)]
    x = b.op("Conv", "scan", b.called("features.0.weight", FIRST), pads=[1] * 6, name="conv3d")
    x = b.op("Gelu", b.op("BatchNormalization", x, *parts), name="gelu")
    x = b.op("Conv", x, b.called("features.4.weight", SECOND), b.called("features.4.bias", NORM[1]), name="conv3d_1")
    x = b.op("ReduceMean", b.op("Relu", x, name="relu"), b.called("val_7", [2, 3, 4], np.int64), keepdims=0)
    matrix = b.op("Transpose", b.called("fc1.weight", SQUARE), perm=[1, 0], name="t")
    x = b.op("Relu", b.op("Add", b.op("MatMul", x, matrix), b.called("fc1.bias", NORM[2])), name="relu_1")
    matrix = b.op("Transpose", b.called("fc.weight", LAST), perm=[1, 0])
    b.op("Gemm", x, matrix, b.called("fc.bias", [0.1, 0.2, 0.3]), name="disease")
    return b.model([1, *SHAPE], ["disease"])


def answers(path: Path, model: onnx.ModelProto, **stated: str) -> dict[str, np.ndarray]:
    path.write_bytes(model.SerializeToString())
    network = load_graph(path, stated={"input_range": "0..1"} | stated, shape=None, threads=1)
    return network.forward(np.random.default_rng(1).random((4, *SHAPE, 1)).astype(np.float32))


@pytest.mark.parametrize("seed", [0, 1])
def test_the_twin_does_not_depend_on_the_exporter(tmp_path: Path, seed: int) -> None:
    given = [answers(tmp_path / "m.onnx", model()) for model in (older, newer)]
    twins = []
    for model in (older, newer):
        path = tmp_path / f"{model.__name__}.onnx"
        path.write_bytes(model().SerializeToString())
        twins.append(answers(tmp_path / "fresh.onnx", fresh_graph(path, seed=seed)))
    for one, other in (given, twins):
        for name in ("features", "outputs"):
            assert np.abs(one[name] - other[name]).max() < 1e-4 * np.abs(one[name]).max()
    assert np.abs(twins[0]["features"] - given[0]["features"]).max() > 0.01
    assert twins[0]["features"].std(axis=0).max() > 0.0


def test_weights_of_one_shape_are_not_drawn_alike(tmp_path: Path) -> None:
    b = Builder()
    x = b.op("Conv", "scan", b.weight(FIRST), pads=[1] * 6)
    for _ in range(2):
        x = b.op("Relu", b.op("Conv", x, b.weight(SECOND), pads=[1] * 6))
    b.op("Gemm", b.op("Flatten", b.op("GlobalAveragePool", x)), b.weight(SQUARE), name="disease")
    (tmp_path / "m.onnx").write_bytes(b.model([1, *SHAPE], ["disease"]).SerializeToString())
    drawn = {one.name: numpy_helper.to_array(one) for one in fresh_graph(tmp_path / "m.onnx", seed=0).graph.initializer}
    assert not (drawn["w1"] == drawn["w2"]).any()


def test_what_is_repeated_for_every_scan_is_drawn_by_what_takes_it(tmp_path: Path) -> None:
    """Scales of an instance norm, and a token that comes first, brought into the batch's shape in the graph."""
    b = Builder()
    x = b.op("Conv", "scan", b.weight(FIRST), pads=[1] * 6)
    x = b.op("Reshape", x, b.weight([0, 6, -1], np.int64))
    count = b.op("Shape", "scan", start=0, end=1)
    scale, shift = (b.op("Tile", b.weight(np.full(6, value)), b.weight([1], np.int64)) for value in (7.0, 9.0))
    x = b.op("Transpose", b.op("InstanceNormalization", x, scale, shift), perm=[0, 2, 1])
    sizes = b.op("Concat", count, b.weight([1, 6], np.int64), axis=0)
    token = b.op("Expand", b.weight(np.full((1, 1, 6), 3.0)), sizes)
    x = b.op("ReduceMax", b.op("Concat", token, x, axis=1), b.weight([1], np.int64), keepdims=0)
    b.op("Gemm", x, b.weight(SQUARE), name="disease")
    (tmp_path / "m.onnx").write_bytes(b.model([1, *SHAPE], ["disease"]).SerializeToString())
    drawn = [numpy_helper.to_array(one) for one in fresh_graph(tmp_path / "m.onnx", seed=0).graph.initializer]
    by_shape = [one for one in drawn if one.shape == (6,)]
    assert [set(one.tolist()) for one in by_shape] == [{1.0}, {0.0}]
    (token_drawn,) = (one for one in drawn if one.shape == (1, 1, 6))
    assert 0.0 < np.abs(token_drawn).max() < 0.1
