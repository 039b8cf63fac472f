"""The attack on membership, and evaluate with what it leaves."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from flprivacy.attacks.membership.target import Answers
from flprivacy.core.artifacts import AUDIT_FILE, EXPOSED_FILE, MEMBERSHIP_FILE, MEMBERSHIP_FOLDER
from flprivacy.core.audit import Audit, TargetFailure
from flprivacy.core.cohort import Cohort
from flprivacy.core.digests import digest_file
from flprivacy.core.errors import AttackError, PolicyError
from flprivacy.core.parsing import to_mapping
from flprivacy.core.publish import write_json
from flprivacy.core.scores import CURVE_COLUMNS, write_scores
from flprivacy.core.target import TARGET_FILE, ModelRecord, TargetRecord
from flprivacy.execution.isolation import FAILURE_FILE
from flprivacy.steps.check_policy import check_policy
from flprivacy.steps.evaluate import evaluate
from flprivacy.study.attacking import attack_membership
from flprivacy.study.config import StudyConfig
from flprivacy.study.plan import Plan
from flprivacy.training.config import TargetConfig
from tests.auditing.score_tables import make_study
from tests.cohort_builder import build_cohort, scan_table
from tests.cohorts.tiny_cohort import META

SCANS = 1200


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    patient = np.arange(SCANS) // 2
    table = scan_table(
        SCANS,
        scan_id=[f"scan-secret-{i}" for i in range(SCANS)],
        patient_id=[f"patient-secret-{i}" for i in patient],
        site_id=patient % 3,
        split=np.where(patient // 3 % 4 == 3, "test", "train"),
    )
    return build_cohort(tmp_path_factory.mktemp("cohort"), table, META)


def _target(folder: Path) -> Path:
    folder.mkdir()
    (folder / "model.weights.h5").write_bytes(b"never read")
    model = ModelRecord(name="model", weights="model.weights.h5", sha256=digest_file(folder / "model.weights.h5"))
    record = TargetRecord(
        name="central", role="target", topology="central", architecture="cnn3d_small", shape=(3, 4, 5), n_classes=2,
        protocol="standard", digest="d" * 64, models=(model,),
    )  # fmt: skip
    write_json(folder / TARGET_FILE, to_mapping(record))
    return folder


def _scores(folder: Path, cohort: Cohort, *, memorised: bool) -> Path:
    """Answers for all scans; those of a memorised half of the training scans are certain."""
    folder.mkdir()
    rng, manifest = np.random.default_rng(0), cohort.manifest
    train = (manifest["split"] == "train").to_numpy()
    confidence = 1.0 / (1.0 + np.exp(-rng.normal(1.0, 1.0, SCANS)))
    confidence[train & (np.arange(SCANS) // 2 % 2 == 0) & memorised] = 1.0 - 1e-7
    own = np.eye(2)[manifest["label"].to_numpy()]
    probabilities = confidence[:, None] * own + (1.0 - confidence)[:, None] * (1.0 - own)
    Answers(models=("model",), rows=np.arange(SCANS), probabilities=probabilities[None].astype(np.float32)).write(
        folder
    )
    return folder


def _attacked(tmp_path: Path, cohort: Cohort, *, memorised: bool) -> Path:
    attack_membership(
        cohort.folder,
        _target(tmp_path / "target"),
        scores=_scores(tmp_path / "answers", cohort, memorised=memorised),
        membership=tmp_path / "membership",
    )
    return tmp_path / "membership"


def _evaluated(tmp_path: Path, cohort: Cohort, membership: Path) -> Audit:
    targets = {"central": TargetConfig(topology="central"), "untrained": TargetConfig(topology="untrained")}
    Plan(pipeline="study", command="", study=StudyConfig(name="x", targets=targets)).write(tmp_path / "plan.json")
    folders, tables = (tmp_path / "scores", tmp_path / "pixels"), make_study()
    for folder, some in zip(folders, (tables[:-1], tables[-1:]), strict=True):
        folder.mkdir()
        write_scores(folder, some, pd.DataFrame(columns=list(CURVE_COLUMNS)))
    shutil.copytree(membership, folders[0] / MEMBERSHIP_FOLDER)
    evaluate(
        plan=tmp_path / "plan.json",
        cohort=cohort.folder,
        target_scores=folders,
        store=str(tmp_path / "store"),
        audit=tmp_path / "audit",
    )
    return Audit.read(tmp_path / "audit" / AUDIT_FILE)


def test_a_target_that_memorised_half_of_its_members_is_a_leak_that_fails_the_run(
    tmp_path: Path, cohort: Cohort
) -> None:
    audit = _evaluated(tmp_path, cohort, _attacked(tmp_path, cohort, memorised=True))
    assert {(f.target, f.level, f.verdict) for f in audit.membership} == {
        ("central", "scan", "leak"),
        ("central", "patient", "leak"),
    }
    assert audit.membership[0].members_from == "split"
    with pytest.raises(PolicyError, match="membership of a scan in central"):
        check_policy(audit=tmp_path / "audit", report=tmp_path, fail_on_leak=True)
    text = (tmp_path / "audit" / AUDIT_FILE).read_text()
    exposed = json.loads((tmp_path / "audit" / EXPOSED_FILE).read_text())
    assert exposed["central"]["scan"]["loss"][0]["name"].startswith("scan-secret-")
    assert "secret" not in text


def test_a_target_that_memorised_nothing_is_none(tmp_path: Path, cohort: Cohort) -> None:
    audit = _evaluated(tmp_path, cohort, _attacked(tmp_path, cohort, memorised=False))
    assert "leak" not in {f.verdict for f in audit.membership}
    for finding in audit.membership:
        assert all(attack.auc.low < 0.5 < attack.auc.high for attack in finding.attacks)


def test_a_failed_attack_on_membership_leaves_the_other_numbers_and_is_named(tmp_path: Path, cohort: Cohort) -> None:
    failure = TargetFailure(target="central", step="attack_membership", reason="names 5 scan(s)", transient=False)
    folder = tmp_path / "failed"
    folder.mkdir()
    (folder / FAILURE_FILE).write_text(json.dumps(to_mapping(failure)))
    audit = _evaluated(tmp_path, cohort, folder)
    assert audit.failures == (failure,)
    assert audit.verdicts
    assert audit.membership == ()


def test_missing_answers_are_one_clear_error_and_nothing_is_left(tmp_path: Path, cohort: Cohort) -> None:
    with pytest.raises(
        AttackError, match=r"answers\.npz: no answers of a target.*run the step attack_attributes again"
    ):
        attack_membership(
            cohort.folder, _target(tmp_path / "target"), scores=tmp_path, membership=tmp_path / "membership"
        )
    assert not (tmp_path / "membership" / MEMBERSHIP_FILE).exists()
