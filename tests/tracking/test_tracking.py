"""Filing audits in a real MLflow store on SQLite: layout, once only, no run left open, no secret shown."""

import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from flprivacy.core.audit import Audit
from flprivacy.core.errors import TrackingError
from flprivacy.steps.log_mlflow import log_mlflow
from flprivacy.tracking import attempts, audits, spool
from flprivacy.tracking.filing import Filing, run_name
from flprivacy.tracking.history import filed_by
from flprivacy.tracking.results import sync, sync_spool
from tests.reporting.example_audit import example_audit


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask a server that is away twice, not for as long as MLflow by itself waits."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")


@pytest.fixture(scope="module")
def audit() -> Audit:
    found = example_audit(
        n_sites=3,
        keep=("central", "untrained", "pixels", "majority"),
        accesses=("features", "joint"),
        remembers="central",
    )
    return replace(found, verdicts=tuple(v for v in found.verdicts if v.attack.attribute != "age_band"))


@pytest.fixture(scope="module")
def folders(audit: Audit, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("run")
    audit.write(root / "audit" / "audit.json")
    (root / "report" / "figures").mkdir(parents=True)
    (root / "report" / "report.html").write_text("<html></html>")
    (root / "report" / "verdicts.md").write_text("**Nothing is settled.**\n")
    (root / "report" / "figures" / "confusion-site-features-central.png").write_bytes(b"png")
    return root / "audit", root / "report"


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"


@pytest.fixture(scope="module")
def parent(audit: Audit, folders: tuple[Path, Path], uri: str) -> Run:
    os.environ["MLFLOW_TRACKING_URI"] = uri
    try:
        logged = sync(audit=folders[0], report=folders[1], filing=Filing(kfp_run="kfp-1"))
        assert not logged.found
        again = sync(audit=folders[0], report=folders[1], filing=Filing(kfp_run="kfp-2"))
        assert again.found
        assert again.run_id == logged.run_id
    finally:
        del os.environ["MLFLOW_TRACKING_URI"]
    return MlflowClient(uri).get_run(logged.run_id)


def _children(uri: str, parent: Run) -> list[Run]:
    query = f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'"
    return list(MlflowClient(uri).search_runs([parent.info.experiment_id], query))


def test_the_experiment_is_the_cohort_and_the_parent_tells_what_leaks(audit: Audit, uri: str, parent: Run) -> None:
    assert MlflowClient(uri).get_experiment(parent.info.experiment_id).name == audit.cohort_name
    assert parent.data.tags["audit.cohort_digest"] == audit.cohort_digest
    assert parent.data.tags["audit.kfp_run"] == "kfp-1"
    verdict = next(
        v
        for v in audit.verdicts
        if (v.attack.target, v.attack.attribute, v.attack.access, v.question)
        == ("central", "site", "features", "training")
    )
    assert parent.data.metrics["central.site.features.excess_f1"] == pytest.approx(verdict.excess)
    remembered = next(v for v in audit.verdicts if (v.attack.attribute, v.question) == ("site", "memorised"))
    assert parent.data.metrics["central.site.features.members.excess_f1"] == pytest.approx(remembered.excess)
    assert parent.data.tags["audit.verdict"] == "leak"
    assert parent.data.tags["audit.verdict.memorised"] == "leak"
    assert parent.data.metrics["central.utility.auc_ovr"] > 0.5
    assert parent.inputs.dataset_inputs[0].dataset.digest == audit.cohort_digest[:36]


def test_every_pipeline_run_that_came_to_a_result_finds_it(
    uri: str, folders: tuple[Path, Path], parent: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    for run in ("kfp-1", "kfp-2", "kfp-3"):
        assert sync(audit=folders[0], report=folders[1], filing=Filing(kfp_run=run)).found
        assert [one.run_id for one in filed_by(run)] == [parent.info.run_id]
    tags = MlflowClient(uri).get_run(parent.info.run_id).data.tags
    assert (tags["audit.kfp_run"], tags["audit.more_kfp_runs"]) == ("kfp-1", "kfp-2 kfp-3")
    assert filed_by("kfp-9") == []


def test_a_list_of_runs_tells_pipeline_day_and_verdict_and_a_run_its_first_line(uri: str, parent: Run) -> None:
    assert re.fullmatch(r"demo \d{4}-\d\d-\d\d leak", parent.info.run_name)
    command = "flprivacy run privacy_audit --preset demo --cohort x"
    assert run_name(command, "demo", "no leak found").startswith("privacy_audit demo 20")
    assert run_name("dp_check", "private", "").split()[:2] == ["dp_check", "private"]
    assert parent.data.tags["mlflow.note.content"] == "**Nothing is settled.**\n"
    kind = MlflowClient(uri).get_experiment(parent.info.experiment_id).tags["mlflow.experimentKind"]
    assert kind == "custom_model_development"


def test_each_target_and_attack_is_a_child_with_its_figures(audit: Audit, uri: str, parent: Run) -> None:
    children = _children(uri, parent)
    assert len(children) == len(audit.verdicts)
    names = {(v.attack.target, v.attack.attribute, v.attack.access, v.question): v for v in audit.verdicts}
    assert {v.question for v in audit.verdicts} == {"training", "holding", "memorised"}
    for child in children:
        tags, metrics = child.data.tags, child.data.metrics
        verdict = names[(tags["audit.target"], tags["audit.attribute"], tags["audit.access"], tags["audit.question"])]
        assert tags["audit.verdict"] == verdict.verdict
        stem = f"{verdict.attack.attribute}.{verdict.metric}"
        assert metrics[stem] == pytest.approx(verdict.value)
        assert metrics[f"{stem}.ci_low"] == pytest.approx(verdict.value_ci_low)
        assert f"{stem}.at_fraction_0.1" in metrics


def test_curves_are_steps_and_artifacts_are_filed(audit: Audit, uri: str, parent: Run) -> None:
    client = MlflowClient(uri)
    child = next(
        c
        for c in _children(uri, parent)
        if [c.data.tags[f"audit.{k}"] for k in ("attribute", "access", "question")] == ["site", "features", "training"]
    )
    curve = next(
        c
        for c in audit.curves
        if (c.attack.target, c.attack.attribute, c.attack.access, c.attack.fraction)
        == ("central", "site", "features", 0.25)
    )
    history = sorted(client.get_metric_history(child.info.run_id, "curve.site.f1_weighted"), key=lambda m: m.step)
    assert [m.step for m in history] == list(curve.epochs)
    assert [m.value for m in history] == pytest.approx(list(curve.mean))
    assert "audit.json" in {f.path for f in client.list_artifacts(parent.info.run_id)}
    assert [f.path for f in client.list_artifacts(child.info.run_id)] == ["confusion-site-features-central.png"]


def test_artifacts_lie_beside_the_database_wherever_the_caller_stands(uri: str, parent: Run) -> None:
    folder = Path(uri.removeprefix("sqlite:///")).parent / "mlartifacts"
    assert parent.info.artifact_uri.startswith(folder.as_uri())
    assert list(folder.rglob("report.html"))


def test_no_run_is_left_open(uri: str, parent: Run) -> None:
    runs = MlflowClient(uri).search_runs([parent.info.experiment_id])
    assert {r.info.status for r in runs} == {"FINISHED"}


def test_a_failure_while_logging_ends_the_run_as_failed(
    audit: Audit, folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(audits, "_log_child", fail)
    uri = f"sqlite:///{tmp_path / 'm.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(TrackingError, match="cannot be reached"):
        audits.log_audit(audit, digest="d", report=folders[1], folder=folders[0])
    client = MlflowClient(uri)
    runs = client.search_runs([e.experiment_id for e in client.search_experiments()])
    assert [r.info.status for r in runs] == ["FAILED"]


def test_a_run_of_a_killed_process_is_closed_by_the_next(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'm.db'}"
    script = (
        "import sys, time; from mlflow import MlflowClient; from flprivacy.tracking import attempts\n"
        f"client = MlflowClient({uri!r}); e = client.create_experiment('c')\n"
        "with attempts.open_run(client, e, 'open', {}, parent=None):\n"
        "    print(e, flush=True); time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    experiment = process.stdout.readline().strip()
    client = MlflowClient(uri)
    assert attempts.close_stale_runs(client, [experiment]) == 0, "its owner still lives"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert attempts.close_stale_runs(client, [experiment]) == 1
    assert [r.info.status for r in client.search_runs([experiment])] == ["KILLED"]


def test_an_unreachable_server_loses_nothing_and_says_what_to_do(
    folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:hunter2@127.0.0.1:9")
    store = str(tmp_path / "store")
    assert log_mlflow(audit=folders[0], report=folders[1], kfp_run="kfp-9", store=store) == ""
    assert "not logged: http://127.0.0.1:9: MLflow cannot be reached" in caplog.text
    assert f"log it later with: flprivacy mlflow sync --store {store}" in caplog.text
    assert "hunter2" not in caplog.text
    assert len(spool.waiting(store)) == 1
    assert log_mlflow(audit=folders[0], report=folders[1], kfp_run="kfp-9", store=store) == ""
    assert len(spool.waiting(store)) == 1, "the same result is kept once"

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'm.db'}")
    monkeypatch.setenv("MLFLOW_RUN_ID", "")
    (logged,) = sync_spool(store)
    assert not logged.found
    run = MlflowClient().get_run(logged.run_id)
    assert run.data.tags["audit.kfp_run"] == "kfp-9", "filed for the run that made it"
    assert spool.waiting(store) == []
    assert list(sync_spool(store)) == []


def test_a_later_step_files_what_an_earlier_one_could_not(
    audit: Audit, folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = str(tmp_path / "store")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert log_mlflow(audit=folders[0], report=folders[1], store=store) == ""
    later = tmp_path / "later"
    replace(audit, name="later").write(later / "audit.json")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'm.db'}")
    assert log_mlflow(audit=later, report=folders[1], store=store) != ""
    assert spool.waiting(store) == []
    parents = _parents(MlflowClient())
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    names = sorted(run.info.run_name.partition(f" {today} ") for run in parents)
    assert [name.split()[-1] for name, _, _ in names] == ["demo", "later"]
    assert {verdict for _, _, verdict in names} == {run.data.tags["audit.verdict"] for run in parents}


def test_an_unwritable_store_still_loses_nothing(
    folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert log_mlflow(audit=folders[0], report=folders[1], store=str(tmp_path / "file" / "store")) == ""
    assert f"log it later with: flprivacy mlflow sync --audit {folders[0]}" in caplog.text


def _parents(client: MlflowClient) -> list[Run]:
    experiments = [e.experiment_id for e in client.search_experiments()]
    return list(client.search_runs(experiments, "tags.`audit.kind` = 'audit'"))


def test_no_server_named_is_said(folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(TrackingError, match="no MLflow server is given; set MLFLOW_TRACKING_URI"):
        sync(audit=folders[0], report=folders[1])


def test_an_audit_that_settles_nothing_does_not_read_as_harmless(audit: Audit) -> None:
    nothing = replace(audit, verdicts=tuple(replace(v, verdict="inconclusive") for v in audit.verdicts))
    tags = audits._parent_tags(nothing, None)
    assert (tags["audit.leaks"], tags["audit.verdict"]) == ("0", "inconclusive")
