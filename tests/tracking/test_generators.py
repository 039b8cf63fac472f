"""The audit of a generator is filed once: its numbers, its page, its figures, and no patient."""

from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient
from PIL import Image

from flprivacy.core.artifacts import (
    AUDIT_FILE,
    AUDITORS_ONLY,
    FIGURES_FOLDER,
    GENERATOR_AUDIT_FILE,
    MEMBERSHIP_FILE,
    PATIENTS_PAGE,
    REPORT_FILE,
)
from flprivacy.core.generator_audit import NO_COPIES
from flprivacy.steps.log_mlflow import log_mlflow
from flprivacy.steps.report_audit import report_audit
from flprivacy.tracking import spool
from flprivacy.tracking.results import sync_spool
from tests.generator_audits import example
from tests.reporting.example_audit import example_audit


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    audit = tmp_path / "audit"
    example().without_patients().write(audit / GENERATOR_AUDIT_FILE)
    (audit / REPORT_FILE).write_text("<html></html>")
    (audit / PATIENTS_PAGE).write_text("patients")
    (audit / MEMBERSHIP_FILE).write_text("patients")
    (audit / FIGURES_FOLDER).mkdir()
    (audit / FIGURES_FOLDER / "generator-samples.png").write_bytes(b"png")
    return audit


def test_it_is_filed_once_without_patients(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = tmp_path / "store"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")  # a server that is away is not waited for
    assert log_mlflow(audit=folder, kfp_run="k", store=str(store)) == ""
    assert not [file for file in store.rglob("*") if file.name in AUDITORS_ONLY]
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


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """The audit of a study whose generator makes scans for one target, with what belongs to the auditors alone."""
    found = example_audit(
        n_sites=3, keep=("untrained", "central", "pixels"), attributes=("site",), accesses=("features",),
        fractions=(0.1,),
    )  # fmt: skip
    targets = tuple(replace(one, synthetic_share=0.5 * (one.name == "central")) for one in found.targets)
    folder = tmp_path / "study"
    replace(found, targets=targets, generator=example().without_patients()).write(folder / AUDIT_FILE)
    for name in AUDITORS_ONLY:
        (folder / name).write_text("patients")
    return folder


def test_with_the_study_that_it_belongs_to_its_numbers_and_pictures_are_filed(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'm.db'}")
    filed = report_audit(
        audit=study, store=str(tmp_path / "store"), report=tmp_path / "report", page=tmp_path / "page.html",
        verdicts=tmp_path / "verdicts.md", kfp_run="k",
    )  # fmt: skip
    client = MlflowClient()
    run = client.get_run(filed)
    assert run.data.tags["audit.generator.memorisation"] == NO_COPIES
    assert run.data.metrics["generator.memorisation.p_value"] == 0.4
    assert run.data.metrics["generator.agreement.site.network.ci_low"] == 0.7
    files = {one.path for folder in ("", FIGURES_FOLDER) for one in client.list_artifacts(filed, folder)}
    assert {AUDIT_FILE, REPORT_FILE, f"{FIGURES_FOLDER}/generator-samples.png"} <= files
    assert f"{FIGURES_FOLDER}/generator-nearest.png" not in files  # it shows patients
    assert not files & set(AUDITORS_ONLY)
    drawn = client.download_artifacts(filed, f"{FIGURES_FOLDER}/generator-samples.png", str(tmp_path))
    with Image.open(drawn) as image:
        assert min(image.size) > 100
