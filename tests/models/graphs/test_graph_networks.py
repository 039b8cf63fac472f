"""What a graph takes and gives: exported networks of ours are the same; axes, ranges, features, outputs are found."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from flprivacy.core.errors import TargetError
from flprivacy.models.graphs.looking import look_at
from flprivacy.models.graphs.network import load_graph
from flprivacy.models.graphs.runtime import Session
from flprivacy.models.registry import build
from tests.onnx_networks import Builder, monai_densenet, monai_resnet, of_keras

SHAPE = (8, 32, 40)
UNIT = {"input_range": "0..1"}


def scans(shape=SHAPE, n=3):
    return np.random.default_rng(1).random((n, *shape, 1)).astype(np.float32)


def saved(path: Path, model: onnx.ModelProto) -> Path:
    path.write_bytes(model.SerializeToString())
    return path


def loaded(path: Path, model: onnx.ModelProto, shape=None, **stated: str):
    return load_graph(saved(path, model), stated=UNIT | stated, shape=shape, threads=1)


@pytest.mark.parametrize("architecture", ["i3d", "cnn3d", "slices2d", "cnn3d_small"])
def test_networks_of_ours_give_the_features_and_answers_of_keras(tmp_path: Path, architecture: str) -> None:
    target = build(architecture, shape=SHAPE, n_classes=3, seed=5)
    network = loaded(tmp_path / "m.onnx", of_keras(target.model), feature_layer="features")
    answers = network.forward(scans())
    features = target.trunk.predict(scans(), verbose=0)
    assert np.abs(answers["features"] - features).max() < 1e-4
    assert np.abs(answers["outputs"] - target.model.predict(scans(), verbose=0)).max() < 1e-4
    assert (network.shape, network.n_classes, network.facts["axes"]) == (SHAPE, 3, "dhwc")


def _sums_along_axes(sizes: list[int | str], batch: int | str = "n") -> onnx.ModelProto:
    """A network whose features are sums weighted by the position along each of its input's axes."""
    b, rank = Builder(batch), len(sizes)
    parts = []
    for axis in range(rank):
        ramp = np.arange(7.0 if isinstance(sizes[axis], str) else sizes[axis], dtype=np.float32)
        weighted = b.op("Mul", "scan", b.weight(ramp.reshape([-1 if a == axis else 1 for a in range(rank)])))
        parts.append(b.op("ReduceMean", weighted, b.weight(np.arange(1, rank + 1), np.int64), keepdims=0))
    stacked = [b.op("Unsqueeze", part, b.weight([1], np.int64)) for part in parts]
    b.op("Concat", *stacked, axis=1, name="sums")
    b.op("Gemm", "sums", b.weight(np.eye(rank)), name="answer")
    return b.model(sizes, ["answer"])


@pytest.mark.parametrize(
    ("sizes", "axes", "order", "on_word"),
    [
        ([1, 4, 16, 20], "", "cdhw", ()),
        ([1, 4, 16, 20], "cdhw", "cdhw", ()),
        ([3, 4, 16, 20], "", "cdhw", ()),
        ([4, 16, 20, 1], "", "dhwc", ()),
        ([4, 16, 20], "", "dhw", ()),
        ([1, 16, 20, 4], "chwd", "chwd", ("axes",)),
        ([1, 20, 16, 4], "cwhd", "cwhd", ("axes",)),
        ([16, 20, 4, 1], "hwdc", "hwdc", ("axes",)),
    ],
)
@pytest.mark.parametrize("batch", ["n", 1, 2])
def test_scans_are_turned_as_the_network_takes_them(
    tmp_path: Path, sizes: list[int | str], axes: str, order: str, on_word: tuple[str, ...], batch: int | str
) -> None:
    network = loaded(tmp_path / "m.onnx", _sums_along_axes(sizes, batch), axes=axes)
    assert (network.facts["axes"], network.shape) == (order, (4, 16, 20))
    assert network.stated == (*on_word, "input_range")
    found = network.forward(scans((4, 16, 20)))["features"]
    volumes = scans((4, 16, 20))[..., 0]
    ramps = {"d": np.arange(4)[:, None, None], "h": np.arange(16)[:, None], "w": np.arange(20)}
    for axis, ramp in ramps.items():
        assert np.allclose(found[:, order.index(axis)], (volumes * ramp).mean(axis=(1, 2, 3)), rtol=1e-4)


def test_a_network_for_scans_of_any_size_is_told_theirs(tmp_path: Path) -> None:
    model = _sums_along_axes([1, "d", "h", "w"])
    for stated, shape, match in (
        ({}, None, r"takes \(any, 1, any, any, any\), which does not tell the order of its axes; give axes=cdhw"),
        ({"axes": "cdhw"}, None, "takes scans of any size; give theirs, such as shape=24x256x256"),
        ({"axes": "dhw"}, (7, 7, 7), r"is not \(n, d, h, w\) with 1 or 3 channels"),
    ):
        with pytest.raises(TargetError, match=match):
            loaded(tmp_path / "m.onnx", model, shape=shape, **stated)
    network = loaded(tmp_path / "m.onnx", model, shape=(7, 7, 7), axes="cdhw")
    assert network.shape == (7, 7, 7)
    assert network.stated == ("axes", "input_range", "shape")
    with pytest.raises(TargetError, match=r"takes scans of shape \(4, 16, 20\), not \(5, 16, 20\); leave shape out"):
        loaded(tmp_path / "m.onnx", _sums_along_axes([1, 4, 16, 20]), shape=(5, 16, 20))
    with pytest.raises(TargetError, match="networks of slices are not read"):
        loaded(tmp_path / "m.onnx", _sums_along_axes([1, 16, 20]))


def _normalised(*steps: tuple[str, float], turned: bool = False) -> onnx.ModelProto:
    b, x = Builder(), "scan"
    x = b.op("Cast", b.op("Identity", x), to=onnx.TensorProto.FLOAT)
    for kind, number in steps:
        x = b.op(kind, *((b.weight(number), x) if turned else (x, b.weight(number))))
    x = b.op("Conv", x, b.weight(np.random.default_rng(0).normal(size=(4, 1, 3, 3, 3))))
    pooled = b.op("Flatten", b.op("GlobalAveragePool", x))
    b.op("Gemm", pooled, b.weight(np.ones((4, 2))), name="answer")
    return b.model([1, 4, 16, 20], ["answer"])


@pytest.mark.parametrize(
    ("steps", "expected", "assumed"),
    [
        ([("Div", 255.0)], "0..255", ()),
        ([("Sub", 127.5), ("Mul", 1 / 127.5)], "0..255", ()),
        ([("Add", 1000.0), ("Div", 1400.0)], "hu", ()),
        ([("Mul", 2.0), ("Sub", 1.0)], "0..1", ()),
        ([("Clip", -1000.0), ("Add", 1000.0), ("Div", 1400.0)], "hu", ()),
        ([], "0..1", ("input_range",)),
    ],
)
def test_the_first_operators_tell_the_values_that_it_takes(
    tmp_path: Path, steps: list[tuple[str, float]], expected: str, assumed: tuple[str, ...]
) -> None:
    path = saved(tmp_path / "m.onnx", _normalised(*steps))
    network = load_graph(path, stated={}, shape=None, threads=1)
    assert (network.facts["input_range"], network.assumed) == (expected, assumed)
    low, high = {"0..255": (0.0, 255.0), "hu": (-1000.0, 400.0), "0..1": (0.0, 1.0)}[expected]
    shifted = load_graph(path, stated={"input_range": f"{low}..{high}"}, shape=None, threads=1)
    assert np.array_equal(
        network.forward(scans((4, 16, 20)))["features"], shifted.forward(scans((4, 16, 20)))["features"]
    )


@pytest.mark.parametrize(("kind", "steps", "expected"), [("UINT8", [("Div", 255.0)], "0..255"), ("INT16", [], "hu")])
def test_whole_numbers_are_rounded_not_cut_off(
    tmp_path: Path, kind: str, steps: list[tuple[str, float]], expected: str
) -> None:
    model = _normalised(*steps)
    model.graph.node.insert(0, helper.make_node("Cast", ["raw"], ["scan"], to=onnx.TensorProto.FLOAT))
    model.graph.input[0].name = "raw"
    model.graph.input[0].type.tensor_type.elem_type = getattr(onnx.TensorProto, kind)
    path, stated = saved(tmp_path / "m.onnx", model), {"input_range": "" if steps else expected}
    network = load_graph(path, stated=stated, shape=None, threads=1)
    assert network.facts["input_range"] == expected
    low, high = {"0..255": (0.0, 255.0), "hu": (-1000.0, 400.0)}[expected]
    some = scans((4, 16, 20))
    rounded = (np.rint(low + (high - low) * some) - low) / (high - low)
    plain = load_graph(saved(tmp_path / "p.onnx", _normalised(*steps)), stated=stated, shape=None, threads=1)
    wanted = plain.forward(rounded.astype(np.float32))["features"]
    np.testing.assert_allclose(network.forward(some)["features"], wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())
    with pytest.raises(TargetError, match=rf"takes {kind.lower()}, which does not hold values of 0\.\.1"):
        load_graph(path, stated={"input_range": "0..1"}, shape=None, threads=1)


def test_values_that_make_no_sense_are_asked_for(tmp_path: Path) -> None:
    path = saved(tmp_path / "m.onnx", _normalised(("Mul", 1e-6)))
    with pytest.raises(TargetError, match="give input_range="):
        load_graph(path, stated={}, shape=None, threads=1)


def _two_heads(last: str = "", units: int = 3) -> onnx.ModelProto:
    b = Builder()
    x = b.op("Conv", "scan", b.weight(np.random.default_rng(0).normal(size=(4, 1, 3, 3, 3))), name="maps")
    pooled = b.op("Flatten", b.op("GlobalAveragePool", x), name="pooled")
    hidden = b.op("Relu", b.op("Gemm", pooled, b.weight(np.eye(4))), name="hidden")
    answer = b.op("Gemm", hidden, b.weight(np.ones((4, units)) * np.arange(units)), name="disease" if not last else "")
    if last:
        b.op(last, answer, name="disease")
    b.op("Gemm", pooled, b.weight(np.ones((4, 1))), name="age")
    return b.model([1, 4, 16, 20], ["disease", "age"])


def test_features_and_outputs_are_named_or_guessed(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match=r"has 2 outputs \(disease, age\); say which one is audited with output=NAME"):
        loaded(tmp_path / "m.onnx", _two_heads())
    with pytest.raises(TargetError, match=r"has no output 'sex'; output may be one of: disease, age"):
        loaded(tmp_path / "m.onnx", _two_heads(), output="sex")
    with pytest.raises(TargetError, match=r"has no tensor 'x'; feature_layer may be .*pooled"):
        loaded(tmp_path / "m.onnx", _two_heads(), output="age", feature_layer="x")
    assert loaded(tmp_path / "m.onnx", _two_heads(), output="disease").facts["feature_layer"] == "hidden"
    assert loaded(tmp_path / "m.onnx", _two_heads(), output="age").facts["feature_layer"] == "pooled"
    maps = loaded(tmp_path / "m.onnx", _two_heads(), output="age", feature_layer="maps")
    pooled = loaded(tmp_path / "m.onnx", _two_heads(), output="age")
    one, other = (network.forward(scans((4, 16, 20)))["features"] for network in (maps, pooled))
    assert np.allclose(one, other, atol=1e-6)  # maps are averaged over space


@pytest.mark.parametrize(
    ("last", "units", "expected"),
    [
        ("", 3, "logits"),
        ("", 1, "logit"),
        ("Softmax", 3, "probabilities"),
        ("Sigmoid", 3, "labels"),
        ("Sigmoid", 1, "probability"),
        ("LogSoftmax", 3, "logits"),
        ("Tanh", 3, "none"),
    ],
)
def test_the_last_operator_tells_what_it_answers_with(tmp_path: Path, last: str, units: int, expected: str) -> None:
    network = loaded(tmp_path / "m.onnx", _two_heads(last, units), output="disease")
    assert network.facts["answers"] == expected
    answers = network.forward(scans((4, 16, 20)))
    assert ("outputs" in answers) == (expected != "none")
    if expected not in ("none", "labels"):
        assert answers["outputs"].shape == (3, max(units, 2))
        assert np.allclose(answers["outputs"].sum(axis=1), 1.0)


@pytest.mark.parametrize(
    ("kind", "first", "expected"),
    [("Mul", "", "logits"), ("Div", "", "logits"), ("Mul", "Sigmoid", "none"), ("Mul", "wide", "none")],
)
def test_logits_that_are_scaled_are_logits(tmp_path: Path, kind: str, first: str, expected: str) -> None:
    """Cosine classifiers and calibrated ones end so; a probability times a number is none."""
    b = Builder()
    x = b.op("Gemm", b.op("Flatten", b.op("GlobalAveragePool", "scan")), b.weight(np.ones((1, 3))))
    x = b.op("Sigmoid", x) if first == "Sigmoid" else x
    scale = b.weight([2.0, 3.0, 4.0] if first == "wide" else 16.0)
    b.op("Identity", b.op(kind, *((scale, x) if kind == "Mul" else (x, scale))), name="answer")
    network = loaded(tmp_path / "m.onnx", b.model([1, 4, 16, 20], ["answer"]), feature_layer="flatten_1")
    assert network.facts["answers"] == expected


def test_an_ending_without_dense_layer_is_asked_for_its_features(tmp_path: Path) -> None:
    b = Builder()
    b.op("Conv", "scan", b.weight(np.ones((2, 1, 1, 1, 1))), name="maps")
    b.op("Flatten", b.op("GlobalAveragePool", "maps"), name="answer")
    with pytest.raises(TargetError, match=r"ends in no dense layer.* give feature_layer, such as maps"):
        loaded(tmp_path / "m.onnx", b.model([1, 4, 16, 20], ["answer"]))


def test_a_network_that_still_trains_is_refused(tmp_path: Path) -> None:
    model = monai_resnet((4, 16, 20), norm="batch")
    for node in model.graph.node:
        if node.op_type == "BatchNormalization":
            node.attribute.append(onnx.helper.make_attribute("training_mode", 1))
            node.output.extend([f"{node.output[0]}_mean", f"{node.output[0]}_variance"])
    with pytest.raises(TargetError, match=r"'BatchNormalization' still trains; .* as it answers \(model.eval\(\)\)"):
        look_at(saved(tmp_path / "m.onnx", model), stated=UNIT, shape=None)
    b = Builder()
    x = b.op("Flatten", b.op("AveragePool", "scan", kernel_shape=[2, 8, 10], strides=[2, 8, 10]))
    centred = b.op("Sub", x, b.op("ReduceMean", x, b.weight([0], np.int64), keepdims=1))  # over the batch
    b.op("Gemm", centred, b.weight(np.ones((8, 2))), name="answer")
    with pytest.raises(TargetError, match=r"alone than among others, .* export it as it answers \(model.eval\(\)\)"):
        look_at(saved(tmp_path / "m.onnx", b.model([1, 4, 16, 20], ["answer"])), stated=UNIT, shape=None)


@pytest.mark.parametrize("training", [None, False, True, "computed"])
def test_dropout_that_goes_on_is_refused_and_no_other(tmp_path: Path, training: bool | str | None) -> None:
    """Some exporters leave dropout in the graph, with a constant that says whether it still happens."""
    b = Builder()
    x = b.op("Relu", b.op("Gemm", b.op("Flatten", "scan"), b.weight(np.ones((1280, 4)))))
    flag = b.weight(training is True, bool)
    flag = b.op("Not", b.op("IsNaN", b.op("ReduceMax", "scan", keepdims=0))) if training == "computed" else flag
    b.op(
        "Gemm",
        b.op("Dropout", x, b.weight(0.001), *([] if training is None else [flag])),
        b.weight(np.ones((4, 2))),
        name="y",
    )
    path = saved(tmp_path / "m.onnx", b.model([1, 4, 16, 20], ["y"]))
    if training:
        with pytest.raises(TargetError, match=r"'Dropout' still trains; .* as it answers \(model.eval\(\)\)"):
            load_graph(path, stated=UNIT, shape=None, threads=1)
    else:
        assert load_graph(path, stated=UNIT, shape=None, threads=1).facts["answers"] == "logits"


@pytest.mark.parametrize("size", [0, -1])
def test_sizes_below_one_are_any(tmp_path: Path, size: int) -> None:
    model = monai_resnet((4, 16, 20))
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = size
    assert loaded(tmp_path / "m.onnx", model).forward(scans((4, 16, 20), 3))["features"].shape == (3, 32)


def test_a_tensor_that_is_not_one_for_each_scan(tmp_path: Path) -> None:
    model = monai_resnet((4, 16, 20))
    model.graph.node.append(onnx.helper.make_node("ReduceMean", ["pooled"], ["mean"], keepdims=0))
    with pytest.raises(TargetError, match="tensor 'mean' is not one for each scan; name another"):
        loaded(tmp_path / "m.onnx", model, feature_layer="mean")


def test_a_version_that_is_too_new_is_told_with_its_remedy(tmp_path: Path) -> None:
    model = monai_resnet((4, 16, 20))
    model.ir_version = 99
    with pytest.raises(
        TargetError, match=r"FAIL : Unsupported model IR version: 99, .*older opset_version, or upgrade"
    ):
        loaded(tmp_path / "m.onnx", model)


def test_statistics_of_training_tell_other_values(tmp_path: Path) -> None:
    """A batch normalisation whose statistics are those of 0..1 scans fits these, and not bytes."""
    model = monai_densenet((4, 16, 20))
    path = saved(tmp_path / "m.onnx", model)
    kernel = onnx.numpy_helper.to_array(model.graph.initializer[0])
    x = scans((4, 16, 20), n=8)
    network = load_graph(path, stated=UNIT, shape=None, threads=1)
    first = model.graph.node[0].output[0]
    model.graph.output.add().name = first
    taken = np.ascontiguousarray(x[None, ..., 0].transpose(1, 0, 2, 3, 4))
    values = Session(model, path, threads=1).run("scan", taken, [first])[0]
    assert kernel.shape[0] == values.shape[1]
    for at, statistic in ((3, values.mean(axis=(0, 2, 3, 4))), (4, values.var(axis=(0, 2, 3, 4)))):
        name = next(node for node in model.graph.node if node.op_type == "BatchNormalization").input[at]
        tensor = next(one for one in model.graph.initializer if one.name == name)
        tensor.CopyFrom(onnx.numpy_helper.from_array(statistic.astype(np.float32), name))
    del model.graph.output[-1]
    trained = load_graph(saved(path, model), stated=UNIT, shape=None, threads=1)
    assert trained.misfit(x) < 1e-3
    assert trained.misfit(x * 255.0) > 100.0
    assert network.misfit(x) > trained.misfit(x)
    assert loaded(path, monai_resnet((4, 16, 20))).misfit(x) is None  # keeps none
