"""An audit of answers is the audit of the network that gave them, and answers that are of other scans clear nobody."""

from pathlib import Path

import numpy as np
import pytest
from attack_examples import SHAPE, written_cohort

from flprivacy.attacks.attribute import attack_attributes
from flprivacy.attacks.config import AttackConfig
from flprivacy.cohorts.format import read_volumes
from flprivacy.cohorts.preprocessing import test_view
from flprivacy.core.cohort import Cohort
from flprivacy.core.errors import AttackError
from flprivacy.core.scores import ScoreTable
from flprivacy.core.target_source import TargetSource
from flprivacy.targets.folder import load_network, read_target
from flprivacy.targets.importing import fresh_target, import_checkpoint
from tests.onnx_networks import monai_resnet

CONFIG = AttackConfig(fractions=(0.5,), seeds=(0, 1), attributes=("site", "sex"))


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return written_cohort(tmp_path_factory.mktemp("cohort") / "tiny")


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A target from an ONNX file in ``own``, and its twin in ``fresh``."""
    folder = tmp_path_factory.mktemp("network")
    (folder / "m.onnx").write_bytes(monai_resnet(SHAPE).SerializeToString())
    source = TargetSource(location=str(folder / "m.onnx"), input_range="0..1", axes="cdhw")
    import_checkpoint(source, folder / "m.onnx", name="mine", out=folder / "own")
    fresh_target(folder / "own", initialisations=2, seed=4, protocol="standard", out=folder / "fresh")
    return folder


@pytest.fixture(scope="module")
def answers(cohort: Cohort, network: Path) -> dict[str, np.ndarray]:
    """What both say of every scan."""
    scans = test_view(read_volumes(cohort, np.arange(len(cohort.manifest))), protocol="standard")
    found = {}
    for prefix, folder in (("", "own"), ("untrained_", "fresh")):
        record = read_target(network / folder)
        said = [load_network(network / folder, record, model.name).forward(scans) for model in record.models]
        for name in ("features", "outputs"):
            stacked = np.stack([one[name] for one in said])
            found[f"{prefix}{name}"] = stacked if prefix else stacked[0]
    return found | {"scan_ids": cohort.manifest["scan_id"].to_numpy().astype(str)}


def attacked(
    folder: Path, arrays: dict[str, np.ndarray], cohort: Cohort, config: AttackConfig = CONFIG, *, checked: bool = False
) -> ScoreTable:
    np.savez(folder / "a.npz", **arrays)
    source = TargetSource(location=str(folder / "a.npz"), input_checked=checked)
    import_checkpoint(source, folder / "a.npz", name="mine", out=folder / "own")
    return attack_attributes(config, cohort, folder / "own", protocol="standard", work=folder / "work")[0]


def same(one: ScoreTable, other: ScoreTable) -> None:
    assert [block.key for block in one.blocks] == [block.key for block in other.blocks]
    for a, b in zip(one.blocks, other.blocks, strict=True):
        assert np.array_equal(a.scores, b.scores)
        assert np.array_equal(a.truth, b.truth)


def test_the_numbers_are_those_of_the_network_itself(
    cohort: Cohort, network: Path, answers: dict[str, np.ndarray], tmp_path: Path
) -> None:
    itself = attack_attributes(CONFIG, cohort, network / "own", protocol="standard", work=tmp_path / "itself")[0]
    same(attacked(tmp_path, answers, cohort), itself)
    assert {block.attack.access for block in itself.blocks} == {"features", "outputs", "joint"}
    twin = attack_attributes(CONFIG, cohort, network / "fresh", protocol="standard", work=tmp_path / "twin")[0]
    fresh_target(tmp_path / "own", initialisations=9, seed=9, protocol="standard", out=tmp_path / "fresh")
    same(attack_attributes(CONFIG, cohort, tmp_path / "fresh", protocol="standard", work=tmp_path / "again")[0], twin)


def test_what_training_alone_could_attack_is_not_attacked(
    cohort: Cohort, answers: dict[str, np.ndarray], tmp_path: Path
) -> None:
    config = AttackConfig(
        fractions=(0.5,), seeds=(0, 1), attributes=("sex",), accesses=("features", "outputs", "finetune")
    )
    arrays = {name: answers[name] for name in ("scan_ids", "outputs")}
    table = attacked(tmp_path, arrays, cohort, config)
    assert {block.attack.access for block in table.blocks} == {"outputs"}
    assert table.notes["features"] == "not attacked: the arrays hold none"
    assert "neither an ONNX file nor arrays can be trained on" in table.notes["finetune"]
    with pytest.raises(AttackError, match=r"finetune not attacked: .*; attack outputs"):
        attacked(tmp_path, arrays, cohort, AttackConfig(accesses=("finetune",), seeds=(0, 1)))


def test_features_of_other_scans_are_refused(cohort: Cohort, answers: dict[str, np.ndarray], tmp_path: Path) -> None:
    order = np.random.default_rng(6).permutation(len(answers["scan_ids"]))
    wrong = {"scan_ids": answers["scan_ids"], "features": answers["features"][order]}
    with pytest.raises(AttackError, match="its features have nothing to do with what the scans look like"):
        attacked(tmp_path, wrong, cohort)


@pytest.mark.parametrize("names", [("outputs",), ("features", "outputs")])
def test_outputs_to_other_scans_leave_a_doubt(
    cohort: Cohort, answers: dict[str, np.ndarray], tmp_path: Path, names: tuple[str, ...]
) -> None:
    config = AttackConfig(fractions=(0.5,), seeds=(0, 1), attributes=("sex",), accesses=("outputs",))
    right = {"scan_ids": answers["scan_ids"]} | {name: answers[name] for name in names}
    table = attacked(tmp_path, right, cohort, config)
    assert table.doubt.startswith("arrays do not tell what values the network was shown")
    assert "no better than guessing" in table.doubt  # it never learnt anything
    assert "state input_checked=true" in table.doubt
    checked = attacked(tmp_path, right, cohort, config, checked=True)
    assert checked.doubt == table.unconfirmed == ""
    assert "its owner states that some of them were compared" in checked.unconfirmed
    order = np.random.default_rng(6).permutation(len(answers["scan_ids"]))
    wrong = right | {"outputs": answers["outputs"][order]}
    doubt = attacked(tmp_path, wrong, cohort, config, checked=True).doubt
    assert doubt.startswith("its outputs have nothing to do with what the scans look like that they are filed under")


def test_outputs_that_know_the_task_are_not_called_guesses(
    cohort: Cohort, answers: dict[str, np.ndarray], tmp_path: Path
) -> None:
    config = AttackConfig(fractions=(0.5,), seeds=(0, 1), attributes=("sex",), accesses=("features",))
    diseases = np.eye(3)[cohort.manifest["label"].to_numpy()]
    knowing = {name: answers[name] for name in ("scan_ids", "features")}
    knowing["outputs"] = 0.2 * answers["outputs"] + 0.8 * diseases
    doubt = attacked(tmp_path, knowing, cohort, config).doubt
    assert doubt.startswith("arrays do not tell")
    assert "guessing" not in doubt


def test_missing_scans_are_counted(cohort: Cohort, answers: dict[str, np.ndarray], tmp_path: Path) -> None:
    some = {name: answers[name][3:] for name in ("scan_ids", "features")}
    with pytest.raises(AttackError, match=r"the arrays lack \d of \d+ scans that an attack needs"):
        attacked(tmp_path, some, cohort)
    others = {"scan_ids": np.array([f"x{one}" for one in answers["scan_ids"]]), "features": answers["features"]}
    with pytest.raises(AttackError, match=r"lack (\d+) of \1 .*96 of the 96 in the arrays are not among them"):
        attacked(tmp_path, others, cohort)


def test_arrays_hold_one_view(cohort: Cohort, answers: dict[str, np.ndarray], tmp_path: Path) -> None:
    config = AttackConfig(fractions=(0.5,), seeds=(0, 1), attributes=("sex",), views=2)
    with pytest.raises(AttackError, match=r"mine: attack.views is 2, but arrays hold answers to one view"):
        attacked(tmp_path, {name: answers[name] for name in ("scan_ids", "features")}, cohort, config)
