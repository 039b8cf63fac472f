"""Fresh weights of a graph: nothing that was learnt stays, and the twin of a network of ours is as mute as Keras's."""

from pathlib import Path

import keras
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from flprivacy.core.errors import TargetError
from flprivacy.models.graphs.fresh import fresh_graph
from flprivacy.models.graphs.network import load_graph
from flprivacy.models.registry import build
from tests.onnx_networks import Builder, monai_densenet, monai_resnet, of_keras

SHAPE = (4, 16, 20)


def saved(path: Path, model: onnx.ModelProto) -> Path:
    path.write_bytes(model.SerializeToString())
    return path


def weights(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}


@pytest.mark.parametrize("model", [monai_resnet(SHAPE), monai_resnet(SHAPE, norm="batch"), monai_densenet(SHAPE)])
def test_every_weight_is_drawn_by_what_it_is_for(tmp_path: Path, model: onnx.ModelProto) -> None:
    path = saved(tmp_path / "m.onnx", model)
    fresh = fresh_graph(path, seed=3)
    given, drawn = weights(model), weights(fresh)
    assert list(given) == list(drawn)
    for node in model.graph.node:
        if node.op_type == "Conv":
            kernel = drawn[node.input[1]]
            assert not (kernel == given[node.input[1]]).any()
            deviation = kernel.std() * np.prod(kernel.shape[1:]) ** 0.5
            assert deviation == pytest.approx(2.0**0.5, rel=0.3) or deviation == pytest.approx(1.0, rel=0.3)
        elif node.op_type.endswith("Normalization"):
            assert [set(drawn[name].tolist()) for name in node.input[1:]] == [{1.0}, {0.0}, {0.0}, {1.0}][
                : len(node.input) - 1
            ]
        elif node.op_type == "Gemm":
            assert not (drawn[node.input[1]] == given[node.input[1]]).any()
            assert not drawn[node.input[2]].any()
    assert fresh_graph(path, seed=3).SerializeToString() == fresh.SerializeToString()
    kernel = model.graph.node[0].input[1]
    assert not (weights(fresh_graph(path, seed=4))[kernel] == drawn[kernel]).any()


def _with_constants() -> onnx.ModelProto:
    """Normalised by three channels; then constants of every other purpose."""
    b = Builder()
    x = b.op("Div", b.op("Sub", "scan", b.weight(np.full((3, 1, 1, 1), 0.4))), b.weight(np.full((3, 1, 1, 1), 0.2)))
    x = b.op("Conv", x, b.weight(np.random.default_rng(0).normal(size=(4, 3, 3, 3, 3))))
    x = b.op("Add", b.op("Mul", x, b.weight(np.full((4, 1, 1, 1), 7.0))), b.weight(np.full((4, 1, 1, 1), 5.0)))
    x = b.op("Mul", x, b.weight(0.125))
    x = b.op("PRelu", x, b.weight(np.full((4, 1, 1, 1), 0.9)))
    x = b.op("Flatten", b.op("GlobalAveragePool", x))
    x = b.op(
        "Add", b.op("MatMul", x, b.op("Transpose", b.weight(np.full((6, 4), 3.0)), perm=[1, 0])), b.weight([9.0] * 6)
    )
    x = b.op("Max", x, b.weight([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]))
    b.op("Gemm", x, b.weight(np.ones((6, 2))), name="answer")
    return b.model([3, 4, 16, 20], ["answer"])


def test_constants_of_other_purposes(tmp_path: Path) -> None:
    model = _with_constants()
    given, drawn = weights(model), weights(fresh_graph(saved(tmp_path / "m.onnx", model), seed=1))
    mean, deviation, kernel, scale, shift, number, slope, matrix, bias, other, last = (
        drawn[f"w{i}"] for i in range(11)
    )
    assert (mean == given["w0"]).all()
    assert (deviation == given["w1"]).all()
    assert (scale == 1.0).all()
    assert (shift == 0.0).all()
    assert number == np.float32(0.125)
    assert (slope == np.float32(0.25)).all()
    assert matrix.std() == pytest.approx(0.5, rel=0.4)  # one of 4 inputs, seen through a transposition
    assert (bias == 0.0).all()
    assert sorted(other.tolist()) == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    assert other.tolist() != [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    assert len(np.unique(last)) == last.size
    assert len(np.unique(kernel)) == kernel.size


def test_weights_that_are_whole_numbers_cannot_be_drawn(tmp_path: Path) -> None:
    b = Builder()
    kernel = b.op("Cast", b.weight(np.ones((2, 1, 3, 3, 3)), np.int8), to=onnx.TensorProto.FLOAT)
    x = b.op("Flatten", b.op("GlobalAveragePool", b.op("Conv", "scan", kernel)))
    b.op("Gemm", x, b.weight(np.ones((2, 2))), name="answer")
    path = saved(tmp_path / "m.onnx", b.model([1, 4, 16, 20], ["answer"]))
    with pytest.raises(TargetError, match="'w0' are whole numbers, which cannot be drawn anew"):
        fresh_graph(path, seed=0)


@pytest.mark.parametrize("architecture", ["cnn3d_small", "cnn3d"])
def test_the_twin_of_a_network_like_ours_tells_what_keras_s_own_does(tmp_path: Path, architecture: str) -> None:
    """How well a linear probe reads a planted brightness, over initialisations: the two differ by chance alone."""
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.arange(80) % 2)
    brightness = np.where(labels == 1, 0.4, 0.3) + rng.normal(0.0, 0.05, 80)
    scans = (brightness[:, None, None, None, None] + 0.2 * rng.random((80, 8, 32, 40, 1))).astype(np.float32)
    target = build(architecture, shape=(8, 32, 40), n_classes=3, seed=0)
    unlike = keras.Model(target.model.input, keras.layers.Dense(2)(target.model.output))  # else its weights were ours
    path = saved(tmp_path / "m.onnx", of_keras(unlike))
    stated = {"input_range": "0..1", "feature_layer": "features", "answers": "none"}

    def of_graph(seed: int) -> np.ndarray:
        fresh = saved(tmp_path / f"{seed}.onnx", fresh_graph(path, seed=seed))
        return load_graph(fresh, stated=stated, shape=None, threads=2).forward(scans)["features"]

    def of_keras_(seed: int) -> np.ndarray:
        network = build(architecture, shape=(8, 32, 40), n_classes=3, seed=seed)
        return network.trunk.predict(scans, verbose=0)

    ours, keras_s = (np.array([_probe(of(seed), labels) for seed in range(1, 7)]) for of in (of_graph, of_keras_))
    error = np.sqrt((ours.var(ddof=1) + keras_s.var(ddof=1)) / 6 + 1e-4)
    assert abs(ours.mean() - keras_s.mean()) < 3.0 * error
    assert min(ours.mean(), keras_s.mean()) > 0.6  # neither is mute


def _probe(features: np.ndarray, labels: np.ndarray) -> float:
    """Return the accuracy of ridge regression on the half that it did not learn from."""
    x = (features - features.mean(axis=0)) / (features.std(axis=0) + 1e-6)
    half = np.arange(len(x)) % 4 < 2
    gram = x[half] @ x[half].T + 10.0 * np.eye(half.sum())
    scores = x[~half] @ x[half].T @ np.linalg.solve(gram, labels[half] - 0.5)
    return float(((scores > 0.0) == (labels[~half] == 1)).mean())
