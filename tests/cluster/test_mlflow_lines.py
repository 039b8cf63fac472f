"""The MLflow runs of a pipeline's run are found by their tag, and a server that is away costs one line."""

import socket
from pathlib import Path

import pytest
from mlflow import MlflowClient

from flprivacy.cluster.watching import mlflow_lines
from flprivacy.tracking.history import filed_by
from flprivacy.tracking.server import table_of_runs


def test_pages_are_those_of_the_audits_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    client = MlflowClient(tracking_uri=uri)
    ids = [client.create_experiment(name) for name in ("one", "two")]
    kinds = [("k1", "audit"), ("k1", "attack"), ("k2", "audit")]
    runs = [
        client.create_run(ids[i % 2], tags={"audit.kfp_run": run, "audit.kind": kind}).info.run_id
        for i, (run, kind) in enumerate(kinds)
    ]
    assert [filed.page for filed in filed_by("k1")] == [f"{uri}/#/experiments/{ids[0]}/runs/{runs[0]}"]
    assert filed_by("k3") == []
    table = f"/#/experiments/{ids[0]}/runs?workflowType=machine_learning"
    assert mlflow_lines("k1", {}) == [f"{uri}/#/experiments/{ids[0]}/runs/{runs[0]}", f"{table} (all runs)"]
    assert table_of_runs("https://me:hunter2@mlflow.example.org/", ids[0]) == f"https://mlflow.example.org{table}"


def test_without_an_answer_the_tag_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    given = {"mlflow run url": "https://mlflow.example.org/#/runs/1"}
    first, second = mlflow_lines("k1", given)
    assert first == "mlflow run url: https://mlflow.example.org/#/runs/1"
    assert "audit.kfp_run = k1" in second
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:hunter2@127.0.0.1:{taken.getsockname()[1]}")
        (line,) = mlflow_lines("k1", {})
    assert "MLflow cannot be reached" in line
    assert "audit.kfp_run = k1" in line
    assert "hunter2" not in line
