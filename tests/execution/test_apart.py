"""Work in a process of its own: its errors come back, and it ends with the one that began it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flprivacy.core.errors import TrainingError
from flprivacy.execution.apart import LostProcessError, do_apart


def work(*, folder: Path, how: str) -> None:
    """Leave the process's number, and end as asked."""
    (folder / "pid").write_text(str(os.getpid()))
    if how == "refuses":
        raise TrainingError("the loss is no number")
    if how == "breaks":
        raise ZeroDivisionError("patient MUELLER")
    if how == "is killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "is stopped":
        os.kill(os.getpid(), signal.SIGTERM)
    if how == "takes long":
        time.sleep(60)


def test_it_is_another_process(tmp_path: Path) -> None:
    do_apart(work, {"folder": tmp_path, "how": "works"})
    assert int((tmp_path / "pid").read_text()) != os.getpid()


def test_its_refusal_is_raised_here(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"^the loss is no number$"):
        do_apart(work, {"folder": tmp_path, "how": "refuses"})


@pytest.mark.parametrize(("how", "code"), [("breaks", 1), ("is killed", -9)])
def test_a_defect_is_left_to_its_log(tmp_path: Path, capfd: pytest.CaptureFixture[str], how: str, code: int) -> None:
    with pytest.raises(LostProcessError, match=rf"^its process ended with {code}$"):
        do_apart(work, {"folder": tmp_path, "how": how})
    assert ("ZeroDivisionError" in capfd.readouterr().err) == (how == "breaks")


def test_one_that_is_asked_to_stop_stops_this_one(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        do_apart(work, {"folder": tmp_path, "how": "is stopped"})
    assert ended.value.code == 143


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_it_ends_with_the_process_that_began_it(tmp_path: Path, number: int, code: int) -> None:
    words = (
        "import sys; from pathlib import Path; from flprivacy.execution.apart import do_apart;"
        "from flprivacy.execution.run_step import set_process_up; from tests.execution.test_apart import work;"
        "set_process_up(); do_apart(work, {'folder': Path(sys.argv[1]), 'how': 'takes long'})"
    )
    began = subprocess.Popen([sys.executable, "-c", words, str(tmp_path)], cwd=Path(__file__).parents[2])
    deadline = time.monotonic() + 60
    while not (tmp_path / "pid").is_file() or not (tmp_path / "pid").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(began.pid, number)
    assert began.wait(30) == code
    inner = Path("/proc") / (tmp_path / "pid").read_text() / "status"
    while inner.exists() and "zombie" not in inner.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
