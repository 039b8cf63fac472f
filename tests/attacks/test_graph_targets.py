"""Networks in ONNX files that are not shown what they were trained on are refused, or not cleared."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from attack_examples import SHAPE, written_cohort
from onnx import numpy_helper

from flprivacy.attacks.attribute import attack_attributes
from flprivacy.attacks.config import AttackConfig
from flprivacy.cohorts.format import read_volumes
from flprivacy.core.cohort import Cohort
from flprivacy.core.errors import AttackError
from flprivacy.core.scores import ScoreTable
from flprivacy.core.target_source import TargetSource
from flprivacy.models.graphs.runtime import Session
from flprivacy.targets.importing import import_checkpoint
from tests.onnx_networks import Builder, monai_densenet, monai_resnet

CONFIG = AttackConfig(fractions=(0.5,), seeds=(0, 1), attributes=("sex",), accesses=("features",))


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return written_cohort(tmp_path_factory.mktemp("cohort") / "tiny")


def attacked(folder: Path, model: onnx.ModelProto, cohort: Cohort, **facts: str) -> ScoreTable:
    (folder / "m.onnx").write_bytes(model.SerializeToString())
    source = TargetSource(location=str(folder / "m.onnx"), **facts)
    import_checkpoint(source, folder / "m.onnx", name="mine", out=folder / "own")
    return attack_attributes(CONFIG, cohort, folder / "own", protocol="standard", work=folder / "work")[0]


def _trained_on(cohort: Cohort, scale: float) -> onnx.ModelProto:
    """A DenseNet whose first normalisation keeps the statistics of these scans as 0..scale."""
    model = monai_densenet(SHAPE)
    first = next(node for node in model.graph.node if node.op_type == "BatchNormalization")
    model.graph.output.add().name = first.input[0]
    scans = read_volumes(cohort, np.arange(12))[:, None].astype(np.float32) / 255.0 * scale
    values = Session(model, Path("m.onnx"), threads=2).run("scan", scans, [first.input[0]])[0]
    del model.graph.output[-1]
    for place, statistic in ((3, values.mean(axis=(0, 2, 3, 4))), (4, values.var(axis=(0, 2, 3, 4)))):
        tensor = next(one for one in model.graph.initializer if one.name == first.input[place])
        tensor.CopyFrom(numpy_helper.from_array(statistic.astype(np.float32), tensor.name))
    return model


def test_statistics_bear_out_what_was_assumed_or_refuse_it(cohort: Cohort, tmp_path: Path) -> None:
    assert attacked(tmp_path, _trained_on(cohort, 1.0), cohort, axes="cdhw").doubt == ""
    with pytest.raises(AttackError, match=r"takes 0\.\.1, but was trained on 0\.\.255"):
        attacked(tmp_path, _trained_on(cohort, 255.0), cohort, axes="cdhw")
    assert attacked(tmp_path, _trained_on(cohort, 255.0), cohort, axes="cdhw", input_range="0..255").doubt == ""
    stated = attacked(tmp_path, _trained_on(cohort, 255.0), cohort, axes="cdhw", input_range="0..1")
    assert "was trained on 0..255" in stated.doubt  # its owner insists


def _without_normalisation() -> onnx.ModelProto:
    """A convolution whose rectifier lets other parts of a scan through on each range."""
    b, rng = Builder(), np.random.default_rng(2)
    kernels, biases = b.weight(rng.normal(0.0, 0.3, (16, 1, 3, 3, 3))), b.weight(rng.normal(0.0, 0.3, 16))
    x = b.op("Relu", b.op("Conv", "scan", kernels, biases, pads=[1] * 6))
    b.op("Flatten", b.op("GlobalAveragePool", x), name="pooled")
    b.op("Gemm", "pooled", b.weight(rng.normal(0.0, 1.0, (16, 3))), name="logits")
    return b.model((1, *SHAPE), ["logits"])


def test_without_statistics_an_assumption_is_a_doubt_and_so_is_a_statement(cohort: Cohort, tmp_path: Path) -> None:
    model = _without_normalisation()
    assert "input_range=0..1 was assumed" in attacked(tmp_path, model, cohort, axes="cdhw").doubt
    stated = attacked(tmp_path, model, cohort, axes="cdhw", input_range="0..1")
    assert stated.doubt.startswith("that it takes 0..1 is its owner's word alone")


def test_a_mute_network_is_refused(cohort: Cohort, tmp_path: Path) -> None:
    model = monai_resnet(SHAPE)
    for node in model.graph.node:
        if node.op_type == "InstanceNormalization":
            scale = next(one for one in model.graph.initializer if one.name == node.input[1])
            scale.CopyFrom(numpy_helper.from_array(np.zeros(list(scale.dims), np.float32), scale.name))
    with pytest.raises(AttackError, match="its features are the same for every scan"):
        attacked(tmp_path, model, cohort, axes="cdhw", input_range="0..1")


def test_scans_of_another_grid_are_brought_to_its_own(cohort: Cohort, tmp_path: Path) -> None:
    table = attacked(tmp_path, monai_resnet((4, 16, 20)), cohort, axes="cdhw", input_range="0..1")
    assert table.notes["resampled"] == "scans of (8, 32, 40) to its own (4, 16, 20)"
    assert "coarser" not in table.doubt
