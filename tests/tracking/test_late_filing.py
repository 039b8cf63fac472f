"""What waits in the spool is filed in the right place, and leaves the spool once MLflow has given it back."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from mlflow import MlflowClient

from flprivacy.cli import main
from flprivacy.core.audit import LEAK
from flprivacy.core.errors import PolicyError, TrackingError
from flprivacy.steps.check_policy import check_policy
from flprivacy.steps.log_mlflow import log_mlflow
from flprivacy.tracking import history, spool
from flprivacy.tracking.filing import Filing
from flprivacy.tracking.results import sync_spool
from tests.reporting.example_audit import example_audit
from tests.tracking.mlflow_server import Server


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with an audit that leaks, a score table and a report."""
    folder = tmp_path_factory.mktemp("audited")
    audit = example_audit(
        n_sites=3, keep=("central", "untrained", "pixels"), attributes=("site",), accesses=("features",)
    )
    assert LEAK in {verdict.verdict for verdict in audit.verdicts}
    audit.write(folder / "audit.json")
    (folder / "scores").mkdir()
    (folder / "scores" / "central.parquet").write_bytes(b"scores")
    (folder / "report.html").write_text("<html>")
    return folder


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    uri = f"sqlite:///{tmp_path / 'm.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    return uri


def _sync(*words: str) -> Result:
    return CliRunner().invoke(main, ["mlflow", "sync", *words])


def _runs(uri: str) -> list[str]:
    client = MlflowClient(uri)
    return [run.info.status for run in client.search_runs([e.experiment_id for e in client.search_experiments()])]


@pytest.mark.parametrize("named", [None, "sqlite", "file"])
def test_what_waits_in_a_shared_store_goes_to_a_server_alone(
    named: str | None, audited: Path, gcs: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLPRIVACY_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    if named is not None:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"{named}:///{tmp_path}/m.db")
    store = f"{gcs}/{named}"
    assert _sync("--store", store).output.strip() == f"nothing waits to be logged in {store}/spool"
    spool.put(audit=audited, report=audited, filing=Filing(), store=store)
    refused = _sync("--store", store)
    assert refused.exit_code == 2, refused.output
    assert "1 result(s) wait here for an MLflow server" in refused.output
    assert len(spool.waiting(store)) == 1
    assert not (tmp_path / "m.db").exists()


def test_a_step_leaves_it_there_too(audited: Path, gcs: str, database: str) -> None:
    spool.put(audit=audited, report=audited, filing=Filing(kfp_run="another"), store=f"{gcs}/step")
    assert log_mlflow(audit=audited, store=f"{gcs}/step") != ""
    assert len(spool.waiting(f"{gcs}/step")) == 1


def test_a_named_server_gets_it(audited: Path, gcs: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(tmp_path / "server")
    server.start()
    try:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
        spool.put(audit=audited, report=audited, filing=Filing(), store=f"{gcs}/served")
        done = _sync("--store", f"{gcs}/served")
    finally:
        server.kill()
    assert done.exit_code == 0, done.output
    assert f"at {server.uri}" in done.output
    assert spool.waiting(f"{gcs}/served") == []


@pytest.mark.parametrize("part", ["audit.json", "scores"])
def test_what_mlflow_does_not_give_back_stays(
    part: str, audited: Path, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = str(tmp_path / "store")
    spool.put(audit=audited, report=audited, filing=Filing(), store=store)
    real = history.download_artifacts

    def losing(*, artifact_path: str, dst_path: str, **more: Any) -> str:
        found = Path(real(artifact_path=artifact_path, dst_path=dst_path, **more))
        if artifact_path == part:
            shutil.rmtree(found) if found.is_dir() else found.write_text("{}")
        return str(found)

    monkeypatch.setattr(history, "download_artifacts", losing)
    with pytest.raises(TrackingError, match="is missing or not the one that was filed"):
        list(sync_spool(store))
    assert len(spool.waiting(store)) == 1
    monkeypatch.undo()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", database)
    assert len(list(sync_spool(store))) == 1
    assert spool.waiting(store) == []
    assert _runs(database).count("FINISHED") == 2  # the audit's and its attack's


@pytest.mark.parametrize("trouble", ["no credentials", "out of reach"])
def test_an_artifact_store_that_fails_changes_no_verdict(
    trouble: str,
    audited: Path,
    database: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The server answers, the bucket behind it does not: the audit waits, and the policy decides as ever."""
    settings = {"AWS_EC2_METADATA_DISABLED": "true", "AWS_MAX_ATTEMPTS": "1", "AWS_CONFIG_FILE": "/dev/null"}
    settings |= {"AWS_SHARED_CREDENTIALS_FILE": "/dev/null", "MLFLOW_S3_ENDPOINT_URL": "http://127.0.0.1:9"}
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    if trouble == "out of reach":
        settings |= {"AWS_ACCESS_KEY_ID": "TESTACCESSKEY", "AWS_SECRET_ACCESS_KEY": "very-secret-key"}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    cohort = example_audit(n_sites=3, keep=("central", "untrained", "pixels"), attributes=("site",)).cohort_name
    MlflowClient(database).create_experiment(cohort, artifact_location=f"s3://nobody/{trouble.replace(' ', '-')}")
    store = str(tmp_path / "store")
    assert log_mlflow(audit=audited, store=store) == ""
    assert "its artifacts cannot be moved to or from their store" in caplog.text
    assert f"log it later with: flprivacy mlflow sync --store {store}" in caplog.text
    assert "very-secret-key" not in caplog.text
    assert len(spool.waiting(store)) == 1
    assert _runs(database) == ["FAILED"]
    assert check_policy(audit=audited, report=audited) > 0
    with pytest.raises(PolicyError, match="attack\\(s\\) leak"):
        check_policy(audit=audited, report=audited, fail_on_leak=True)
