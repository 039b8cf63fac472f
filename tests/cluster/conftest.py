"""A server of Kubeflow Pipelines' API and the command line in this process, with nothing of this machine's own."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from flprivacy.cli import main
from tests.cluster.command import Command
from tests.services.kfp_api import kfp_api
from tests.services.kfp_state import KfpState

_FOREIGN = ("KFP_", "KF_PIPELINES_", "KUBERNETES_", "FLPRIVACY_", "MLFLOW_", "AWS_")


@pytest.fixture
def kfp(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[KfpState]:
    """Serve the API; fail the test if a request or an answer broke the published description."""
    from kfp.client import Client

    for name in [name for name in os.environ if name.startswith(_FOREIGN)]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(Client, "_LOCAL_KFP_CONTEXT", str(tmp_path / "no-context.json"))
    monkeypatch.setattr("flprivacy.cluster.api.sleep", lambda seconds: None)
    with kfp_api() as state:
        yield state
    assert state.violations == []


@pytest.fixture
def flprivacy(kfp: KfpState) -> Command:
    """Return a function that runs the command line against the server."""

    def run(*words: str, code: int = 0) -> Result:
        where = ("--host", kfp.url)
        result = CliRunner().invoke(main, [*words, *where], env={"COLUMNS": "200"}, catch_exceptions=False)
        assert result.exit_code == code, result.output
        return result

    return run


@pytest.fixture
def pipelines(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return a folder with a copy of the compiled pipelines that the command line takes its own from."""
    from flprivacy.launch.compiled import PIPELINES_VARIABLE, compiled_file

    folder = tmp_path / "compiled"
    folder.mkdir()
    for file in compiled_file("study").parent.glob("*.yaml"):
        (folder / file.name).write_bytes(file.read_bytes())
    monkeypatch.setenv(PIPELINES_VARIABLE, str(folder))
    return folder
