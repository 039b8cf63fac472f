"""Where a run on this machine logs to, unless the environment names a server."""

import contextlib
import sqlite3
from pathlib import Path

import pytest

from flprivacy.launch.local import default_tracking


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FLPRIVACY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://nobody")  # so that what is set here is undone
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    return tmp_path / "home"


def journal_of(database: Path) -> str:
    with contextlib.closing(sqlite3.connect(database)) as connection:
        return str(connection.execute("PRAGMA journal_mode").fetchone()[0])


def test_a_new_database_writes_ahead(home: Path) -> None:
    assert default_tracking() == f"sqlite:///{home / 'mlflow.db'}"
    assert journal_of(home / "mlflow.db") == "wal"


def test_a_database_that_is_there_stays_as_it_is(home: Path) -> None:
    home.mkdir()
    with contextlib.closing(sqlite3.connect(home / "mlflow.db")) as connection:
        connection.execute("CREATE TABLE there (x)")
    default_tracking()
    assert journal_of(home / "mlflow.db") == "delete"


def test_a_named_server_needs_no_database(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow:5000")
    assert default_tracking() == "http://mlflow:5000"
    assert not (home / "mlflow.db").exists()
