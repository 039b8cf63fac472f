"""Planning an audit of given data: what is behind its locations is found first, and must still be there."""

import json
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from flprivacy import presets
from flprivacy.core.cohort import Cohort
from flprivacy.core.digests import digest_file
from flprivacy.core.errors import ConfigError
from flprivacy.core.parsing import to_mapping
from flprivacy.core.parts import WITHOUT_MODEL
from flprivacy.core.publish import write_json
from flprivacy.core.target import ModelRecord, TargetRecord
from flprivacy.models.weights import TensorHeader, tensors_digest, write_tensors
from flprivacy.steps.plan_audit import plan_audit
from flprivacy.steps.resolve_inputs import resolve_inputs
from flprivacy.storage.backends.contract import ChangedObjectError
from flprivacy.study.plan import Plan
from flprivacy.targets.digests import target_digest
from tests.services.scripted_s3 import ScriptedS3
from tests.steps.source_examples import URI, serve, write_source

TARGETS = {"mine": "s3://bucket/models/mine"}


@pytest.fixture
def published(scripted: ScriptedS3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cohort:
    """A cohort and a target on a server."""
    monkeypatch.setenv("FLPRIVACY_HOME", str(tmp_path / "home"))
    cohort, folder = write_source(tmp_path / "source"), tmp_path / "target"
    folder.mkdir()
    tensors = {"conv/kernel": np.ones((3, 4, 5), np.float32)}
    weights = folder / "model.weights.h5"
    write_tensors(weights, TensorHeader(architecture="cnn3d_small", shape=(8, 32, 40), n_classes=2), tensors)
    record = TargetRecord(
        name="mine", role="target", topology="central", architecture="cnn3d_small", shape=(8, 32, 40), n_classes=2,
        protocol="standard", models=(ModelRecord(name="model", weights=weights.name, sha256=digest_file(weights)),),
        digest=target_digest(
            weights={"model": tensors_digest(tensors)}, training={}, cohort_digest="", protocol="standard"
        ),
    )  # fmt: skip
    write_json(folder / "target.json", to_mapping(record))
    serve(scripted, cohort.folder)
    serve(scripted, folder, prefix="models/mine")
    return cohort


def _now(targets: dict[str, str] = TARGETS) -> str:
    return resolve_inputs(cohort=URI, targets=targets)


@pytest.mark.parametrize("name", ["a, b", "../mine", "untrained-cnn3d_small"])
def test_a_name_that_would_mix_targets_up_is_refused_at_once(published: Cohort, tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="target name is "):
        plan_audit(
            preset="demo", overrides={}, cohort=URI, targets={name: TARGETS["mine"]}, plan=tmp_path / "plan.json",
            scans=tmp_path / "scans",
        )  # fmt: skip
    assert not (tmp_path / "plan.json").exists()


def test_neither_weights_nor_volumes_are_read_to_find_what_is_there(published: Cohort, scripted: ScriptedS3) -> None:
    assert _now() == _now()
    assert set(scripted.sent) == {"data/cohort/cohort.json", "models/mine/target.json"}


@pytest.mark.parametrize(
    "key", ["models/mine/target.json", "models/mine/model.weights.h5", "data/cohort/volumes/Site B.npy"]
)
def test_what_changed_is_planned_anew(published: Cohort, scripted: ScriptedS3, tmp_path: Path, key: str) -> None:
    before = _now()
    scripted.objects["bucket"][key] += b"\n"
    assert _now() != before
    with pytest.raises(ChangedObjectError, match="it, a target or the preset changed since it was resolved; run again"):
        plan_audit(
            preset="demo", overrides={}, cohort=URI, targets=TARGETS, resolved=before, plan=tmp_path / "plan.json",
            scans=tmp_path / "scans",
        )  # fmt: skip
    assert not (tmp_path / "plan.json").exists()
    assert not (tmp_path / "scans").exists()


def test_a_preset_in_a_store_is_planned_anew_when_it_changes(
    published: Cohort, scripted: ScriptedS3, tmp_path: Path
) -> None:
    """Nobody has to compute its digest."""
    preset, plan = "s3://bucket/mine.yaml", tmp_path / "plan.json"
    demo = (resources.files(presets) / "demo.yaml").read_bytes()
    scripted.objects["bucket"]["mine.yaml"] = demo
    before = resolve_inputs(cohort=URI, targets=TARGETS, preset=preset)
    assert before == resolve_inputs(cohort=URI, targets=TARGETS, preset=preset) != _now()
    given = {"preset": preset, "overrides": {}, "cohort": URI, "targets": TARGETS, "resolved": before}
    plan_audit(**given, plan=plan, scans=tmp_path / "scans")
    assert Plan.read(plan).study.attack.fractions == (0.1, 0.25)
    scripted.objects["bucket"]["mine.yaml"] = demo.replace(b"[0.1, 0.25]", b"[0.25]")
    assert resolve_inputs(cohort=URI, targets=TARGETS, preset=preset) != before
    with pytest.raises(ChangedObjectError, match="the preset changed since it was resolved"):
        plan_audit(**given, plan=tmp_path / "other.json", scans=tmp_path / "others")


@pytest.mark.parametrize("field", ["references_of", "site_references_of"])
def test_references_of_a_target_that_is_not_given_are_refused(published: Cohort, tmp_path: Path, field: str) -> None:
    """A re-audit plans only the targets that changed, and the preset goes on naming the others."""
    given = {
        "preset": "demo", "overrides": {"membership": {field: {"mien": 4}}}, "cohort": URI, "targets": TARGETS,
        "plan": tmp_path / "plan.json", "scans": tmp_path / "scans",
    }  # fmt: skip
    with pytest.raises(
        ConfigError, match=rf"membership\.{field} names 'mien', which is not .*: mine; correct the name"
    ):
        plan_audit(**given)
    assert not (tmp_path / "plan.json").exists()
    plan_audit(**given, changed_only=True)
    assert Plan.read(tmp_path / "plan.json").sources == TARGETS


def test_what_is_said_of_a_target_is_part_of_it(published: Cohort) -> None:
    assert _now({"other": TARGETS["mine"]}) != _now()


def test_a_networks_own_answers_are_part_of_it(published: Cohort, scripted: ScriptedS3) -> None:
    scripted.objects["bucket"]["own.npz"] = b"some"
    compared = {"mine": f"{TARGETS['mine']},own_answers=s3://bucket/own.npz"}
    before = _now(compared)
    scripted.objects["bucket"]["own.npz"] = b"others"
    assert len({before, _now(compared), _now()}) == 3


def test_the_plan_names_what_is_attacked_and_where_the_cohort_is(published: Cohort, tmp_path: Path) -> None:
    planned = plan_audit(
        preset="demo", overrides={}, cohort=URI, targets=TARGETS, resolved=_now(), plan=tmp_path / "plan.json",
        scans=tmp_path / "scans", store="s3://bucket/store",
    )  # fmt: skip
    assert planned.parameters["Output"] == [f"{WITHOUT_MODEL}, untrained-cnn3d_small, mine"]
    assert json.loads((tmp_path / "scans" / "place.json").read_text())["uri"] == URI
    assert planned.metadata["scans"]["digest"] == published.meta.digest
    assert Plan.read(tmp_path / "plan.json").sources == TARGETS
