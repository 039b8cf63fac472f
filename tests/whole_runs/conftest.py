"""One finished study and the servers, for all tests of whole runs."""

import fcntl
import os
from pathlib import Path

import pytest

from tests.packaging.wheel import unpack_wheel
from tests.services.fixtures import bucket, ceph, clean_environment
from tests.whole_runs.commands import STUDY, flprivacy

__all__ = ["bucket", "ceph", "clean_environment", "finished"]


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of one finished study, made once for all workers; what it printed is in ``stdout.txt``.

    The wheel alone made it, unpacked beside it as ``site``, from an empty folder.
    Only test_study.py runs in it again, what leaves it as it is; all others run in a copy of its store.
    """
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    home = shared / "study"
    with (shared / "study.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home / "stdout.txt").exists():
            unpack_wheel(shared / "source", shared / "site")
            (shared / "empty").mkdir()
            wheel = {"PYTHONPATH": str(shared / "site"), "PYTHONDONTWRITEBYTECODE": ""}  # what is run leaves its traces
            result = flprivacy(home, *STUDY, cwd=shared / "empty", **wheel)
            assert result.returncode == 0, result.stdout + result.stderr
            (home / "stdout.txt").write_text(result.stdout)
    return home
