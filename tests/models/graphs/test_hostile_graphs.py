"""Hostile ONNX files end in one clear error, in bounded memory."""

import os
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from flprivacy.core.errors import TargetError
from flprivacy.core.extras import MissingExtraError
from flprivacy.models.graphs import looking
from flprivacy.models.graphs.files import read_graph
from flprivacy.models.graphs.looking import look_at
from tests.onnx_networks import Builder, monai_resnet

SHAPE = (4, 16, 20)


def saved(path: Path, model: onnx.ModelProto) -> Path:
    path.write_bytes(model.SerializeToString())
    return path


def refused(path: Path, match: str) -> None:
    before = time.process_time()
    with pytest.raises(TargetError, match=match) as caught:
        look_at(path, stated={"input_range": "0..1"}, shape=None)
    text = str(caught.value)
    assert text.startswith(str(path))
    assert text.isprintable()
    assert len(text) < 1500
    assert time.process_time() - before < 5.0


@pytest.fixture
def beside(tmp_path: Path) -> Path:
    """A good network with its tensors in a file beside it."""
    path = tmp_path / "given" / "m.onnx"
    path.parent.mkdir()
    onnx.save_model(monai_resnet(SHAPE), path, save_as_external_data=True, location="m.onnx.data", size_threshold=0)
    return path


def test_tensors_beside_the_file_are_those_within(beside: Path, tmp_path: Path) -> None:
    assert look_at(beside, stated={}, shape=None)["facts"]["feature_layer"] == "pooled"
    inside = read_graph(saved(tmp_path / "inside.onnx", monai_resnet(SHAPE)))
    assert read_graph(beside).SerializeToString(deterministic=True) == inside.SerializeToString(deterministic=True)


def _redirected(path: Path, **entries: str) -> Path:
    model = onnx.load(path, load_external_data=False)
    for entry in model.graph.initializer[0].external_data:
        entry.value = entries.get(entry.key, entry.value)
    return saved(path, model)


@pytest.mark.parametrize(
    "place", ["/etc/passwd", "../secret", "a/b", "..", ".", "", "..\\secret", "\x1b[31m", "m.onnx.data/../../secret"]
)
def test_data_elsewhere_is_not_followed(beside: Path, place: str) -> None:
    (beside.parent.parent / "secret").write_bytes(b"x" * 100_000)
    refused(_redirected(beside, location=place), "only the bare name of a file beside it is followed")


def test_links_that_leave_the_folder_are_not_followed(beside: Path) -> None:
    data = beside.with_name("m.onnx.data")
    data.rename(beside.parent.parent / "secret")
    refused(beside, "keeps tensors in 'm.onnx.data', which is no file beside it; bring it there, too")
    data.symlink_to("../secret")
    refused(beside, "keeps tensors in 'm.onnx.data', which is no file beside it")
    data.unlink()
    os.mkfifo(data)
    refused(beside, "keeps tensors in 'm.onnx.data', which is no file beside it")


@pytest.mark.parametrize("entries", [{"offset": "99999999"}, {"offset": "-4"}, {"length": "7"}, {"offset": "1" * 40}])
def test_stretches_that_are_not_there(beside: Path, entries: dict[str, str]) -> None:
    refused(_redirected(beside, **entries), "is not in 'm.onnx.data' as it says")


def test_one_stretch_by_many_names(beside: Path) -> None:
    model = onnx.load(beside, load_external_data=False)
    for _ in range(200):
        tensor = model.graph.initializer.add()
        tensor.CopyFrom(model.graph.initializer[2])
        tensor.name = f"copy{len(model.graph.initializer)}"
    refused(saved(beside, model), r"claims \d+ bytes of 'm.onnx.data', which has")


def test_giant_tensors_are_not_believed(tmp_path: Path) -> None:
    model = monai_resnet(SHAPE)
    for dims in ([1 << 40], [1 << 20, 1 << 20, 1 << 20], [-1]):
        del model.graph.initializer[0].dims[:]
        model.graph.initializer[0].dims.extend(dims)
        refused(saved(tmp_path / "m.onnx", model), "claims|unusual number format or size")


def test_values_that_are_no_numbers(tmp_path: Path) -> None:
    model = monai_resnet(SHAPE)
    values = numpy_helper.to_array(model.graph.initializer[0]).copy()
    values[0] = np.nan
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(values, model.graph.initializer[0].name))
    refused(saved(tmp_path / "m.onnx", model), "holds values that are not finite")


def test_truncated_and_foreign_files(tmp_path: Path) -> None:
    data = monai_resnet(SHAPE).SerializeToString()
    for content in (data[: len(data) // 2], data[:7], b"", b"PK\x03\x04" + data, os.urandom(1000)):
        (tmp_path / "m.onnx").write_bytes(content)
        refused(tmp_path / "m.onnx", "not an ONNX file, or damaged|holds no network|is empty")


def test_a_network_that_answers_nothing(tmp_path: Path) -> None:
    model = monai_resnet(SHAPE)
    del model.graph.output[:]
    refused(saved(tmp_path / "m.onnx", model), "has no output; export the network again")


def _node(kind: str, domain: str = "", **attributes: object) -> onnx.ModelProto:
    b = Builder()
    b.nodes.append(helper.make_node(kind, ["scan"], ["x"], domain=domain, **attributes))
    b.op("Gemm", b.op("Flatten", "x"), b.weight(np.ones((1280, 2))), name="answer")
    return b.model([1, *SHAPE], ["answer"])


BODY = helper.make_graph([helper.make_node("Identity", ["a"], ["b"])], "body", [], [])


@pytest.mark.parametrize(
    ("model", "match"),
    [
        (_node("Loop", body=BODY), "'Loop' runs parts of the network in a loop or on a condition"),
        (_node("Scan", body=BODY, num_scan_inputs=1), "'Scan' runs parts"),
        (_node("If", then_branch=BODY, else_branch=BODY), "'If' runs parts"),
        (_node("SequenceMap", body=BODY), "'SequenceMap' runs parts"),
        (_node("Evil", domain="org.evil"), "operator 'Evil' of domain 'org.evil' is not ONNX's own"),
        (_node("FusedConv", domain="com.microsoft"), "of domain 'com.microsoft' is not ONNX's own"),
        (_node("Evil"), "operator 'Evil' of domain '' is not ONNX's own"),
        (_node("RandomNormalLike"), "'RandomNormalLike' draws random numbers"),
        (_node("DynamicQuantizeLinear"), "'DynamicQuantizeLinear' belongs to quantised weights"),
    ],
)
def test_operators_that_do_more_than_compute(tmp_path: Path, model: onnx.ModelProto, match: str) -> None:
    refused(saved(tmp_path / "m.onnx", model), match)


def test_functions_of_a_file(tmp_path: Path) -> None:
    model = monai_resnet(SHAPE)
    model.functions.append(helper.make_function("own", "f", ["a"], ["b"], [], [helper.make_opsetid("", 21)]))
    refused(saved(tmp_path / "m.onnx", model), "defines functions of its own")


@pytest.mark.parametrize("size", [1 << 20, 1 << 40])
def test_operators_that_ask_for_any_amount_of_memory(tmp_path: Path, size: int) -> None:
    b = Builder()
    vast = b.op("ConstantOfShape", b.weight([size, 8192], np.int64))
    total = b.op("ReduceSum", vast, b.weight([0, 1], np.int64), keepdims=0)
    x = b.op("Add", "scan", total)
    b.op("Gemm", b.op("Flatten", x), b.weight(np.ones((1280, 2))), name="answer")
    refused(saved(tmp_path / "m.onnx", b.model([1, *SHAPE], ["answer"])), "onnxruntime c|needs more than")


def test_bytes_that_become_many_objects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two bytes of protobuf are an object of fifty: the walker runs out of its memory, this process of nothing."""
    monkeypatch.setattr(looking, "_MEMORY_BYTES", 600 << 20)
    monkeypatch.setattr(looking, "_COPIES", 1)
    graph = onnx.GraphProto().SerializeToString() + b"\x0a\x00" * (8 << 20)  # empty nodes
    size, varint = len(graph), b""
    while size:
        varint += bytes([(size & 0x7F) | (0x80 if size >> 7 else 0)])
        size >>= 7
    path = tmp_path / "m.onnx"
    path.write_bytes(
        b"\x3a" + varint + graph + helper.make_model(helper.make_graph([], "g", [], [])).SerializeToString()
    )
    refused(path, "not an ONNX file, or damaged|needs more than|crashes over it")


def test_a_name_in_the_place_of_a_type(tmp_path: Path) -> None:
    model = monai_resnet(SHAPE)
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.STRING
    refused(saved(tmp_path / "m.onnx", model), "takes what are no numbers")


def test_a_missing_runtime_names_its_extra(beside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'flprivacy\[onnx\]'"):
        look_at(beside, stated={}, shape=None)
