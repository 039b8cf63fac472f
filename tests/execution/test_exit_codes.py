"""Exit codes tell a leak, a refused input and a defect apart: of steps, of local runs and of the command line."""

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from flprivacy.cli import main
from flprivacy.core.errors import ConfigError, FlprivacyError, PolicyError, StorageError
from flprivacy.core.events import ENVIRONMENT_VARIABLE
from flprivacy.execution.run_step import run_step
from flprivacy.launch.local import _failure
from flprivacy.launch.progress import Watch
from tests.reporting.example_audit import example_audit


def _step(folder: Path, monkeypatch: pytest.MonkeyPatch, *, audit: str, fail_on_leak: bool) -> tuple[int, Watch]:
    """Run step check_policy in a process, and return its exit code and what a watcher saw."""
    (folder / "audit").mkdir()
    (folder / "audit" / "audit.json").write_text(audit)
    (folder / "events").mkdir()
    inputs = {name: {"artifacts": [{"name": name, "uri": str(folder / "audit")}]} for name in ("audit", "report")}
    task = {
        "inputs": {"parameterValues": {"fail_on_leak": fail_on_leak}, "artifacts": inputs},
        "outputs": {"outputFile": str(folder / "out.json")},
    }
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, str(folder / "events"))
    command = [sys.executable, "-m", "flprivacy.steps", "check_policy", "--executor_input", json.dumps(task)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    watch = Watch(folder / "events", Console(file=io.StringIO()))
    watch.update()
    return done.returncode, watch


@pytest.fixture(scope="module")
def leaking(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("a") / "audit.json"
    keep = ("central", "untrained", "pixels")
    example_audit(n_sites=3, keep=keep, attributes=("site",), accesses=("features",)).write(path)
    return path.read_text()


@pytest.mark.parametrize(("damage", "fail", "code"), [(False, False, 0), (False, True, 4), (True, True, 2)])
def test_a_steps_exit_code_becomes_that_of_the_run(
    damage: bool, fail: bool, code: int, leaking: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    audit = leaking[:100] if damage else leaking
    found, watch = _step(tmp_path, monkeypatch, audit=audit, fail_on_leak=fail)
    assert found == code
    if code:
        assert _failure(RuntimeError("a task failed"), watch, tmp_path / "log.txt").exit_code == code


def test_a_step_that_breaks_is_a_defect(tmp_path: Path) -> None:
    watch = Watch(tmp_path, Console(file=io.StringIO()))
    broke = _failure(RuntimeError("a task failed"), watch, tmp_path / "log.txt")
    assert broke.exit_code == 1
    assert "please report it" in str(broke)


def test_a_step_leaves_its_last_words_where_kubernetes_reads_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = tmp_path / "termination-log"
    monkeypatch.setattr("flprivacy.execution.run_step.LAST_WORDS", words)

    def pull_cohort(uri: str) -> None:
        raise StorageError(f"{uri}: no such object;\n check the URI") if uri else KeyError("MUELLER")

    with pytest.raises(SystemExit):
        run_step(pull_cohort, {"uri": "s3://b/c"})
    assert not words.exists()  # not in a container: no place to leave them
    words.touch()
    with pytest.raises(SystemExit):
        run_step(pull_cohort, {"uri": "s3://b/c"})
    assert words.read_text() == "s3://b/c: no such object; check the URI (exit code 2)\n"
    assert capsys.readouterr().err.splitlines()[-1] == " check the URI"  # and last in its log
    with pytest.raises(KeyError):
        run_step(pull_cohort, {"uri": ""})
    assert (
        words.read_text() == "pull_cohort broke: KeyError; its log says where (exit code 1)\n"
    )  # no word of a foreign message


@pytest.mark.parametrize(("error", "code"), [(PolicyError("3 attacks leak"), 4), (ConfigError("x"), 2)])
def test_a_command_ends_with_the_errors_code(error: FlprivacyError, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> None:
        raise error

    monkeypatch.setattr("flprivacy.launch.compiled.read_compiled", refuse)
    done = CliRunner().invoke(main, ["run", "study"])
    assert done.exit_code == code
    assert done.output.strip() == f"flprivacy: {error}"


def test_a_defect_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def defect(name: str) -> None:
        raise KeyError("x")

    monkeypatch.setattr("flprivacy.launch.compiled.read_compiled", defect)
    done = CliRunner().invoke(main, ["run", "study"])
    assert done.exit_code == 1
    assert isinstance(done.exception, KeyError)
