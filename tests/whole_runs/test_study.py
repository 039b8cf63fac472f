"""The main job, from the command line to the report: runs, reuses what is there, refuses bad input."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient

from flprivacy.core.audit import Audit
from tests.whole_runs.commands import STUDY, TINY, events, flprivacy


def test_the_terminal_ends_with_the_table_and_the_reports_path(finished: Path) -> None:
    text = (finished / "stdout.txt").read_text()
    for name in ("siloed", "central", "federated"):
        assert name in text
    last = text.strip().splitlines()[-1]
    assert last.startswith("report: ")
    assert (finished / "reports" / "tiny" / "report.html").is_file()
    assert last.endswith("report.html")


def test_the_wheel_alone_ran_it_and_left_nothing_where_it_was_run(finished: Path) -> None:
    site = finished.parent / "site"
    for step in ("make_cohort", "train_target", "attack_target", "report_audit"):
        assert list((site / "flprivacy" / "steps" / "__pycache__").glob(f"{step}.*.pyc")), step
    assert not list((finished.parent / "empty").iterdir())


def test_the_first_line_is_of_membership_and_says_why_nobody_is_left_to_ask_about(finished: Path) -> None:
    """The tiny study's attackers of attributes hold scans of everybody."""
    lines = [line for line in (finished / "stdout.txt").read_text().splitlines() if line.startswith("• ")]
    assert lines[0].startswith(
        "• Who was trained on: central, federated and siloed were not judged. Hospital, sex and age: "
    )
    audit = Audit.read(finished / "reports" / "tiny" / "audit.json")
    assert {f.target for f in audit.membership} == {"siloed", "central", "federated"}
    assert all("no training scan is left" in f.reason for f in audit.membership)


def test_the_audit_covers_the_whole_grid(finished: Path) -> None:
    audit = Audit.read(finished / "reports" / "tiny" / "audit.json")
    assert {t.name for t in audit.targets} == {"siloed", "central", "federated", "untrained", "pixels", "majority"}
    grid = {(v.attack.target, v.attack.attribute, v.attack.access) for v in audit.verdicts}
    attributes, accesses = ("site", "sex", "age_band", "age_years"), ("features", "outputs", "joint")
    several = {("siloed", attribute, "together") for attribute in attributes}
    assert grid == several | {
        (t, a, c) for t in ("siloed", "central", "federated") for a in attributes for c in accesses
    }
    assert {m.attack.fraction for m in audit.metrics} == {0.3, 0.6}
    siloed = next(m for m in audit.metrics if m.attack.target == "siloed")
    assert (siloed.n_models, siloed.n_seeds, len(siloed.per_model)) == (3, 5, 3)
    assert all(np.isfinite([e.value, e.ci_low, e.ci_high, e.p_value]).all() for e in audit.excesses)


def test_every_step_said_how_far_it_was(finished: Path) -> None:
    seen = events(finished)
    told = {e["step"] for e in seen if e["kind"] == "done"}
    assert {"make_cohort", "train_target", "attack_target", "attack_baselines"} <= told
    assert {"evaluate", "report_audit", "synthesize"} <= told
    assert "train_generator" not in told  # the tiny study has no generator
    assert {e["pid"] for e in seen if e["kind"] == "progress"} >= {
        e["pid"] for e in seen if e["kind"] == "step" and e["step"] in {"train_target", "attack_target"}
    }


def test_mlflow_holds_one_finished_audit_and_nothing_open(finished: Path) -> None:
    client = MlflowClient(f"sqlite:///{finished / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("phantom-tiny")
    runs = client.search_runs([experiment.experiment_id])
    assert {r.info.status for r in runs} == {"FINISHED"}
    assert sum(r.data.tags["audit.kind"] == "audit" for r in runs) == 1
    assert sum(r.data.tags["audit.kind"] == "attack" for r in runs) == 40


def test_a_second_run_makes_nothing_again(finished: Path) -> None:
    before = (finished / "reports" / "tiny" / "audit.json").read_bytes()
    result = flprivacy(finished, *STUDY)
    assert result.returncode == 0, result.stdout + result.stderr
    assert (finished / "reports" / "tiny" / "audit.json").read_bytes() == before
    assert {e["step"] for e in events(finished) if e["kind"] == "step"} == {
        "resolve_inputs",
        "report_audit",
        "check_policy",
    }
    assert "already logged" in result.stdout


def test_without_caches_and_mlflow_server_a_run_takes_what_is_in_the_store_and_loses_no_audit(
    finished: Path, tmp_path: Path
) -> None:
    shutil.copytree(finished / "store", tmp_path / "store")
    away = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
    result = flprivacy(tmp_path, *STUDY, **away)
    assert result.returncode == 0, result.stdout + result.stderr
    reused = {e["artifact"] for e in events(tmp_path) if e["kind"] == "reused"}
    assert reused == {"cohort", "target", "scores", "audit", "report"}
    report = Path("reports") / "tiny" / "audit.json"
    assert (tmp_path / report).read_bytes() == (finished / report).read_bytes()
    assert "the audit was not logged" in result.stdout
    assert "log it later with: flprivacy mlflow sync" in result.stdout.replace("\n", " ")
    synced = flprivacy(tmp_path, "mlflow", "sync")
    assert synced.returncode == 0, synced.stderr
    assert "logged as run study tiny " in synced.stdout
    assert "already logged" not in synced.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--set", "attack.fractions=[0]"), "exposed fraction is 0.0; must be above 0"),
        (("--set", "attack.fractions=[1.5]"), "exposed fraction is 1.5; must be above 0 and at most 1"),
        (("--set", "targets.untrained=null"), "has no untrained target to compare with"),
        (("--preset", "nonsense"), "preset 'nonsense' is unknown; choose demo"),
        (("--cohort", "x"), "--cohort is not for study"),
    ],
)
def test_bad_input_gets_one_line_and_exit_code_2(tmp_path: Path, words: tuple[str, ...], message: str) -> None:
    result = flprivacy(tmp_path, *STUDY, *words)
    assert result.returncode == 2
    assert message in result.stderr
    assert "Traceback" not in result.stdout + result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_an_unwritable_home_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = flprivacy(tmp_path / "file" / "home", *STUDY)
    assert result.returncode == 2
    assert "cannot create this folder" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_damaged_cohort_stops_an_audit_with_one_line(finished: Path, tmp_path: Path) -> None:
    cohort = tmp_path / "cohort"
    shutil.copytree(next((finished / "store" / "cohort").iterdir()), cohort)
    volume = next((cohort / "volumes").glob("*.npy"))
    volume.write_bytes(volume.read_bytes()[:-1])
    target = next((finished / "store" / "target").iterdir())
    words = ("--cohort", str(cohort), "--target", f"a={target}", "--preset", str(TINY))
    result = flprivacy(tmp_path / "home", "run", "privacy_audit", *words)
    assert result.returncode == 2
    assert volume.name in result.stderr
    assert "Traceback" not in result.stdout + result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "home" / "reports").exists()
