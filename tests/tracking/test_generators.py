"""The audit of a generator is filed once: its numbers, its page, its figures, and no patient."""

from pathlib import Path

import pytest
from mlflow import MlflowClient

from flprivacy.core.artifacts import FIGURES_FOLDER, GENERATOR_AUDIT_FILE, PATIENTS_PAGE, REPORT_FILE
from flprivacy.core.generator_audit import NO_COPIES
from flprivacy.steps.log_mlflow import log_mlflow
from flprivacy.tracking import spool
from flprivacy.tracking.results import sync_spool
from tests.generator_audits import example


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    audit = tmp_path / "audit"
    example().without_patients().write(audit / GENERATOR_AUDIT_FILE)
    (audit / REPORT_FILE).write_text("<html></html>")
    (audit / PATIENTS_PAGE).write_text("patients")
    (audit / FIGURES_FOLDER).mkdir()
    (audit / FIGURES_FOLDER / "generator-samples.png").write_bytes(b"png")
    return audit


def test_it_is_filed_once_without_patients(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = tmp_path / "store"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")  # a server that is away is not waited for
    assert log_mlflow(audit=folder, kfp_run="k", store=str(store)) == ""
    assert not list(store.rglob(PATIENTS_PAGE))
    assert len(spool.waiting(str(store))) == 1
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'm.db'}")
    (late,) = sync_spool(str(store))
    assert log_mlflow(audit=folder, kfp_run="other", store=str(store)) == late.run_id
    client = MlflowClient()
    (run,) = client.search_runs([client.get_experiment_by_name("tiny").experiment_id])
    assert run.data.tags["audit.kind"] == "generator"
    assert run.data.tags["audit.verdict"] == NO_COPIES
    assert run.data.metrics["generator.memorisation.p_value"] == 0.4
    assert run.data.metrics["generator.frechet.ci_high"] == 0.9
    files = {one.path for one in client.list_artifacts(run.info.run_id)}
    assert files == {GENERATOR_AUDIT_FILE, REPORT_FILE, FIGURES_FOLDER}
