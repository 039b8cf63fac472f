"""A study of two targets that is killed again and again, or one of whose targets fails."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flprivacy.cohorts.format import open_cohort
from flprivacy.core.audit import Audit
from pipelines import COMPILED
from tests.services.artifact_bucket import ArtifactBucket, traces
from tests.whole_runs.commands import STUDY, TINY, events, flprivacy, kill_when

_CHANGES = ("targets.siloed=null", "targets.federated=null", "attack.attributes=[site]", "attack.accesses=[features]")
_PAIR = (*STUDY, *(word for change in _CHANGES for word in ("--set", change)))
_AUDIT = Path("reports") / "tiny" / "audit.json"


@pytest.fixture(scope="module")
def home(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the undisturbed audit, of targets from the finished study's store; ``undisturbed.json`` keeps it."""
    folder = tmp_path_factory.mktemp("home")
    shutil.copytree(finished / "store", folder / "store")
    result = flprivacy(folder, *_PAIR)
    assert result.returncode == 0, result.stdout + result.stderr
    shutil.copyfile(folder / _AUDIT, folder / "undisturbed.json")
    return folder


def test_killed_again_and_again_it_carries_on_to_the_same_result(home: Path, tmp_path: Path) -> None:
    def training(event: dict[str, object]) -> bool:
        return event["kind"] == "progress" and "rain" in str(event["description"]) and int(str(event["done"])) > 0

    def step(name: str) -> Callable[[dict[str, Any]], bool]:
        return lambda event: event["kind"] == "step" and event["step"] == name

    for moment in (training, step("attack_target"), step("evaluate"), step("report_audit")):
        assert kill_when(tmp_path, moment, *_PAIR)
        assert not (tmp_path / "reports").exists()
    result = flprivacy(tmp_path, *_PAIR)
    assert result.returncode == 0, result.stdout + result.stderr
    assert json.loads((tmp_path / _AUDIT).read_text()) == json.loads((home / "undisturbed.json").read_text())
    assert not list((tmp_path / "store" / "work").iterdir())


def test_one_failed_target_does_not_lose_the_others(home: Path) -> None:
    before = Audit.read(home / "undisturbed.json")
    broken = 'targets.broken={"topology": "central", "epochs": 2, "learning_rate": 1.0e+30}'
    for _ in range(2):  # and the failure is not taken for a result the next time
        result = flprivacy(home, *_PAIR, "--set", broken)
        assert result.returncode == 2
        assert "1 target(s) could not be audited, the others were: broken: " in result.stderr
        assert "broken was not audited, because training failed: " in " ".join(result.stdout.split())
        assert any(e["kind"] == "step" and e["detail"] == "broken" for e in events(home))
    audit = Audit.read(home / _AUDIT)
    assert [f.target for f in audit.failures] == ["broken"]
    assert (audit.metrics, audit.verdicts) == (before.metrics, before.verdicts)
    assert "broken was not audited" in (home / "reports" / "tiny" / "report.html").read_text()


def test_a_study_on_a_backend_leaves_nothing_of_a_patient_in_its_bucket(home: Path, tmp_path: Path) -> None:
    """The same study, from the same store, so that nothing is computed again: what steps pass on is looked at."""
    overrides: dict[str, Any] = {"targets": {"siloed": None, "federated": None}, "attack": {"batch_size": 24}}
    overrides["attack"] |= {"attributes": ["site"], "accesses": ["features"]}
    bucket = ArtifactBucket.make(tmp_path, MLFLOW_TRACKING_URI=f"sqlite:///{home / 'mlflow.db'}")
    kept = {path for kind in ("target", "scores") for path in (home / "store" / kind).iterdir()}
    given = {"preset": str(TINY), "overrides": overrides, "store": f"file://{home / 'store'}", "train_gpus": "0"}
    outputs = bucket.run(COMPILED / "study.yaml", given)
    assert {path for kind in ("target", "scores") for path in (home / "store" / kind).iterdir()} == kept
    (audit,) = outputs.artifacts["audit"]
    found = Audit.read(bucket.path(audit["uri"]) / "audit.json")
    before = Audit.read(home / "undisturbed.json")
    assert (found.metrics, found.membership) == (before.metrics, before.membership)

    (cohort,) = (open_cohort(path) for path in (home / "store" / "cohort").iterdir())
    assert bucket.strange(but=["make-cohort"]) == set()
    assert bucket.holders(traces(cohort), but=["make-cohort"]) == set()
    assert bucket.holders(traces(cohort))  # made-up patients, who may be looked for
    lists = [json.loads(path.read_text()) for path in (home / "store" / "target").glob("*/private/members.json")]
    members = {name.encode() for models in lists for names in models.values() for name in names}
    assert len(members) > 20
    assert bucket.holders(members) == set()
    assert audit["metadata"]["kept_in"] == given["store"]
