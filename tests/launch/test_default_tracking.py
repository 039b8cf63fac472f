"""Where a run on this machine logs to, unless the environment names a server."""

from pathlib import Path

import pytest

from flprivacy.launch.local import default_tracking


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FLPRIVACY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://nobody")  # so that what is set here is undone
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    return tmp_path / "home"


def test_runs_are_logged_in_the_home_folder(home: Path) -> None:
    assert default_tracking() == f"sqlite:///{home / 'mlflow.db'}"
    assert home.is_dir()


def test_a_named_server_needs_no_database(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow:5000")
    assert default_tracking() == "http://mlflow:5000"
    assert not (home / "mlflow.db").exists()
