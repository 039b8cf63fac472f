"""Beside the backend's own MLflow plugin: our runs nest under its run, in its experiment, and share no key with it."""

from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from flprivacy.core.audit import Audit
from flprivacy.tracking.audits import log_audit
from flprivacy.tracking.filing import Filing, filing_from_environment
from tests.reporting.example_audit import example_audit


@pytest.fixture(scope="module")
def audit() -> Audit:
    return example_audit(
        n_sites=3, keep=("central", "untrained", "pixels"), attributes=("site",), accesses=("features",)
    )


@pytest.fixture
def uri(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


@pytest.fixture
def plugin(uri: str, tmp_path: Path) -> tuple[Run, Run]:
    """Return the runs that the plugin makes: one for the pipeline's run, nested one for our step's task."""
    client = MlflowClient(uri)
    experiment = client.create_experiment("KFP-Default", artifact_location=(tmp_path / "kfp").as_uri())
    parent = client.create_run(experiment, tags={"kfp.pipeline_run_id": "r"}, run_name="privacy-audit")
    task = client.create_run(experiment, tags={"mlflow.parentRunId": parent.info.run_id}, run_name="log-mlflow")
    client.log_param(task.info.run_id, "kfp_run", '"r"')  # as the launcher logs it
    return parent, task


def _log(audit: Audit, folder: Path, uri: str, filing: Filing, digest: str = "d") -> Run:
    audit.write(folder / "audit.json")
    (folder / "report").mkdir(exist_ok=True)
    logged = log_audit(audit, digest=digest, folder=folder, report=folder / "report", filing=filing)
    return MlflowClient(uri).get_run(logged.run_id)


def test_ours_nests_under_the_plugins_task_in_its_experiment(
    audit: Audit, uri: str, plugin: tuple[Run, Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, task = plugin
    monkeypatch.setenv("MLFLOW_RUN_ID", task.info.run_id)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", task.info.experiment_id)
    run = _log(audit, tmp_path, uri, filing_from_environment("r"))
    assert run.info.experiment_id == task.info.experiment_id
    assert run.data.tags["mlflow.parentRunId"] == task.info.run_id
    assert run.data.tags["audit.cohort"] == audit.cohort_name
    children = MlflowClient(uri).search_runs(
        [task.info.experiment_id], f"tags.`mlflow.parentRunId` = '{run.info.run_id}'"
    )
    assert len(children) == len(audit.verdicts)
    after = MlflowClient(uri).get_run(task.info.run_id)
    assert after.info.status == "RUNNING", "the plugin ends its own run"
    assert after.data.params == {"kfp_run": '"r"'}
    assert not after.data.metrics
    assert all(key.startswith("audit.") for one in (run, *children) for key in one.data.params)


def test_without_the_plugin_ours_stands_alone(audit: Audit, uri: str, tmp_path: Path) -> None:
    run = _log(audit, tmp_path, uri, Filing())
    assert "mlflow.parentRunId" not in run.data.tags
    assert MlflowClient(uri).get_experiment(run.info.experiment_id).name == audit.cohort_name


def test_a_run_that_the_server_does_not_have_is_said_and_passed_over(
    audit: Audit, uri: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = _log(audit, tmp_path, uri, Filing(plugin_run="0" * 32))
    assert "mlflow.parentRunId" not in run.data.tags
    assert "MLFLOW_RUN_ID is 00000000000000000000000000000000" in caplog.text


def test_an_audit_filed_alone_is_found_when_the_plugin_is_on(
    audit: Audit, uri: str, plugin: tuple[Run, Run], tmp_path: Path
) -> None:
    first = _log(audit, tmp_path, uri, Filing())
    again = _log(audit, tmp_path, uri, Filing(plugin_run=plugin[1].info.run_id))
    assert again.info.run_id == first.info.run_id
