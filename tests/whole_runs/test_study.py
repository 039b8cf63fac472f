"""The main job, from the command line to the report: runs, reuses, carries on after kill -9, refuses bad input."""

import json
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient

from flprivacy.core.audit import Audit
from flprivacy.core.change import AuditChange
from tests.whole_runs.commands import STUDY, TINY, events, flprivacy, kill_when


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    result = flprivacy(folder, *STUDY)
    assert result.returncode == 0, result.stdout + result.stderr
    (folder / "stdout.txt").write_text(result.stdout)
    return folder


def test_the_terminal_ends_with_the_table_and_the_reports_path(home: Path) -> None:
    text = (home / "stdout.txt").read_text()
    for name in ("siloed", "central", "federated"):
        assert name in text
    last = text.strip().splitlines()[-1]
    assert last.startswith("report: ")
    assert (home / "reports" / "tiny" / "report.html").is_file()
    assert last.endswith("report.html")


def test_the_audit_covers_the_whole_grid(home: Path) -> None:
    audit = Audit.read(home / "reports" / "tiny" / "audit.json")
    assert {t.name for t in audit.targets} == {"siloed", "central", "federated", "untrained", "pixels", "majority"}
    grid = {(v.attack.target, v.attack.attribute, v.attack.access) for v in audit.verdicts}
    attributes, accesses = ("site", "sex", "age_band", "age_years"), ("features", "outputs")
    assert grid == {(t, a, c) for t in ("siloed", "central", "federated") for a in attributes for c in accesses}
    assert {m.attack.fraction for m in audit.metrics} == {0.3, 0.6}
    siloed = next(m for m in audit.metrics if m.attack.target == "siloed")
    assert (siloed.n_models, siloed.n_seeds, len(siloed.per_model)) == (3, 5, 3)
    assert all(np.isfinite([e.value, e.ci_low, e.ci_high, e.p_value]).all() for e in audit.excesses)


def test_every_step_said_how_far_it_was(home: Path) -> None:
    seen = events(home)
    told = {e["step"] for e in seen if e["kind"] == "done"}
    assert {"make_cohort", "train_target", "attack_attributes", "attack_baselines", "evaluate", "log_mlflow"} <= told
    assert {e["pid"] for e in seen if e["kind"] == "progress"} >= {
        e["pid"] for e in seen if e["kind"] == "step" and e["step"] in {"train_target", "attack_attributes"}
    }


def test_mlflow_holds_one_finished_audit_and_nothing_open(home: Path) -> None:
    client = MlflowClient(f"sqlite:///{home / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("phantom-tiny")
    runs = client.search_runs([experiment.experiment_id])
    assert {r.info.status for r in runs} == {"FINISHED"}
    assert sum(r.data.tags["audit.kind"] == "audit" for r in runs) == 1
    assert sum(r.data.tags["audit.kind"] == "attack" for r in runs) == 24


def test_a_second_run_makes_nothing_again(home: Path) -> None:
    before = (home / "reports" / "tiny" / "audit.json").read_bytes()
    started = time.monotonic()
    result = flprivacy(home, *STUDY)
    assert result.returncode == 0, result.stdout + result.stderr
    assert time.monotonic() - started < 30
    assert (home / "reports" / "tiny" / "audit.json").read_bytes() == before
    assert {e["step"] for e in events(home) if e["kind"] == "step"} == {"log_mlflow", "check_policy"}
    assert "already logged" in result.stdout


def test_a_run_without_its_caches_still_takes_finished_artifacts_from_the_store(home: Path) -> None:
    shutil.rmtree(home / "cache")
    result = flprivacy(home, *STUDY)
    assert result.returncode == 0, result.stdout + result.stderr
    reused = {e["artifact"] for e in events(home) if e["kind"] == "reused"}
    assert reused == {"cohort", "target", "scores", "audit", "report"}


def test_killed_again_and_again_it_carries_on_to_the_same_result(home: Path, tmp_path: Path) -> None:
    def training(event: dict[str, object]) -> bool:
        return event["kind"] == "progress" and "rain" in str(event["description"]) and int(str(event["done"])) > 0

    def step(name: str):  # type: ignore[no-untyped-def]
        return lambda event: event["kind"] == "step" and event["step"] == name

    for moment in (training, step("attack_attributes"), step("evaluate"), step("write_report")):
        assert kill_when(tmp_path, moment, *STUDY)
        assert not (tmp_path / "reports").exists()
    result = flprivacy(tmp_path, *STUDY)
    assert result.returncode == 0, result.stdout + result.stderr
    undisturbed = json.loads((home / "reports" / "tiny" / "audit.json").read_text())
    carried_on = json.loads((tmp_path / "reports" / "tiny" / "audit.json").read_text())
    assert carried_on == undisturbed
    assert not list((tmp_path / "store" / "work").iterdir())


def test_one_failed_target_does_not_lose_the_others(home: Path) -> None:
    before = Audit.read(home / "reports" / "tiny" / "audit.json")
    broken = 'targets.broken={"topology": "central", "epochs": 2, "learning_rate": 1.0e+30}'
    for _ in range(2):  # and the failure is not taken for a result the next time
        result = flprivacy(home, *STUDY, "--set", broken)
        assert result.returncode == 2
        assert "1 target(s) could not be audited, the others were: broken: " in result.stderr
        assert "broken was not audited, because training failed: " in " ".join(result.stdout.split())
        assert any(e["kind"] == "step" and e["detail"] == "broken" for e in events(home))
    audit = Audit.read(home / "reports" / "tiny" / "audit.json")
    assert [f.target for f in audit.failures] == ["broken"]
    assert (audit.metrics, audit.verdicts) == (before.metrics, before.verdicts)
    assert "broken was not audited" in (home / "reports" / "tiny" / "report.html").read_text()


def test_given_targets_are_audited_with_a_baseline_of_their_architecture(home: Path) -> None:
    cohort = next((home / "store" / "cohort").iterdir())
    targets = {json.loads((f / "target.json").read_text())["name"]: f for f in (home / "store" / "target").iterdir()}
    words = ("--cohort", str(cohort), "--target", f"mine={targets['central']}", "--preset", str(TINY))
    result = flprivacy(home, "run", "privacy_audit", *words)
    assert result.returncode == 0, result.stdout + result.stderr
    audit = Audit.read(home / "reports" / "tiny" / "audit.json")
    roles = {t.name: t.role for t in audit.targets}
    assert roles == {
        "mine": "target",
        "untrained-cnn3d_small": "baseline",
        "pixels": "baseline",
        "majority": "baseline",
    }
    assert f"--target mine={targets['central']}" in audit.provenance["command"]


def test_a_re_audit_passes_over_what_was_audited_and_compares_what_was_published_since(home: Path) -> None:
    cohort = next((home / "store" / "cohort").iterdir())
    targets = {json.loads((f / "target.json").read_text())["name"]: f for f in (home / "store" / "target").iterdir()}
    words = ("run", "re_audit", "--cohort", str(cohort), "--preset", str(TINY))
    words = (*words, "--targets-from", str(home / "published"))
    shutil.copytree(targets["central"], home / "published" / "mine" / "2026-11-10")
    started = time.monotonic()
    result = flprivacy(home, *words)  # the test before has audited it, under this name
    assert result.returncode == 0, result.stdout + result.stderr
    assert time.monotonic() - started < 60
    assert {e["step"] for e in events(home) if e["kind"] == "step"} == {"find_targets", "notify"}
    assert "since the last audit: no evidence of change" in result.stdout

    shutil.copytree(targets["federated"], home / "published" / "mine" / "2026-11-17")
    result = flprivacy(home, *words)
    assert result.returncode == 0, result.stdout + result.stderr
    folder = home / "reports" / "tiny"
    (change,) = AuditChange.read(folder / "change.json").targets
    assert change.previous is not None
    assert (change.target, change.audited, len(change.attacks)) == ("mine", True, 8)
    assert f"mine: {change.verdict}" in " ".join(result.stdout.split())
    assert "Since the last audit" in (folder / "report.html").read_text()
    (run,) = MlflowClient(f"sqlite:///{home / 'mlflow.db'}").search_runs(
        [MlflowClient(f"sqlite:///{home / 'mlflow.db'}").get_experiment_by_name("phantom-tiny").experiment_id],
        "tags.`audit.change.mine` != ''",
    )
    assert run.data.tags["audit.change"] == change.verdict


def test_an_unreachable_mlflow_server_does_not_lose_the_audit(home: Path) -> None:
    result = flprivacy(home, *STUDY, MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "the audit was not logged" in result.stdout
    assert "log it later with: flprivacy mlflow sync" in result.stdout.replace("\n", " ")
    synced = flprivacy(home, "mlflow", "sync")
    assert synced.returncode == 0, synced.stderr
    assert "logged as run tiny-" in synced.stdout


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


def test_a_damaged_cohort_stops_an_audit_with_one_line(home: Path, tmp_path: Path) -> None:
    cohort = tmp_path / "cohort"
    shutil.copytree(next((home / "store" / "cohort").iterdir()), cohort)
    volume = next((cohort / "volumes").glob("*.npy"))
    volume.write_bytes(volume.read_bytes()[:-1])
    target = next((home / "store" / "target").iterdir())
    words = ("--cohort", str(cohort), "--target", f"a={target}", "--preset", str(TINY))
    result = flprivacy(tmp_path / "home", "run", "privacy_audit", *words)
    assert result.returncode == 2
    assert volume.name in result.stderr
    assert "Traceback" not in result.stdout + result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "home" / "reports").exists()
