"""A check of private training is filed once, as one run, and waits in the spool like an audit."""

from pathlib import Path

import pytest
from mlflow import MlflowClient

from flprivacy.core.dp_check import CONTRADICTED, DpCheck, EpsilonBound
from flprivacy.steps.log_mlflow import log_mlflow
from flprivacy.tracking import spool
from flprivacy.tracking.results import sync_spool


@pytest.fixture
def check(tmp_path: Path) -> Path:
    bounds = tuple(
        EpsilonBound(score=score, method="one-run", assumes="", epsilon_lower=low, confidence=0.975)
        for score, low in (("dot-product", 3.5), ("loss", 0.4))
    )
    DpCheck(
        name="central-dp",
        target_digest="t" * 64,
        cohort_digest="c" * 64,
        claim="any one scan",
        claimed_epsilon=2.0,
        delta=1e-5,
        unit="scan",
        canaries="gradient",
        n_included=500,
        n_excluded=500,
        confidence=0.95,
        bounds=bounds,
        epsilon_lower=3.5,
        verdict=CONTRADICTED,
        reason="3.5 is above 2",
        scores={},
        provenance={"cohort": "phantom"},
    ).write(tmp_path / "check" / "dp_check.json")
    (tmp_path / "check" / "report.html").write_text("<html></html>")
    return tmp_path / "check"


def test_it_is_filed_once_beside_the_audits_of_its_cohort(
    check: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = str(tmp_path / "store")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")  # a server that is away is not waited for
    assert log_mlflow(audit=check, report=check, kfp_run="k", store=store) == ""
    assert len(spool.waiting(store)) == 1
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'm.db'}")
    (late,) = sync_spool(store)
    assert log_mlflow(audit=check, report=check, kfp_run="other", store=store) == late.run_id
    client = MlflowClient()
    (run,) = client.search_runs([client.get_experiment_by_name("phantom").experiment_id])
    assert run.data.tags["audit.kind"] == "dp_check"
    assert run.data.tags["audit.verdict"] == CONTRADICTED
    assert run.data.tags["audit.kfp_run"] == "k"
    metrics = run.data.metrics
    assert (metrics["epsilon_claimed"], metrics["epsilon_lower"]) == (2.0, 3.5)
    assert metrics["epsilon_lower.loss.one-run"] == 0.4
    assert {f.path for f in client.list_artifacts(run.info.run_id)} == {"dp_check.json", "report.html"}
