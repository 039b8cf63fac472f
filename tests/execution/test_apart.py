"""Work in a process of its own: its errors come back, and it ends with the one that began it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flprivacy.core.errors import TrainingError
from flprivacy.core.extras import MissingExtraError
from flprivacy.execution.apart import LostProcessError, do_apart


def work(*, folder: Path, how: str) -> None:
    """Leave the process's number, and end as asked."""
    (folder / "pid").write_text(str(os.getpid()))
    if how == "refuses":
        raise TrainingError("the loss is no number")
    if how == "needs a library":
        raise ModuleNotFoundError("No module named 'keras'", name="keras")
    if how == "breaks":
        raise ZeroDivisionError("patient MUELLER")
    if how == "is killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "is stopped":
        os.kill(os.getpid(), signal.SIGTERM)
    if how == "goes on":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if how in ("takes long", "goes on"):
        try:
            (folder / "at work").touch()
            time.sleep(60)
        finally:
            time.sleep(2)  # as what is under way takes to close
            (folder / "closed").touch()


def test_it_is_another_process(tmp_path: Path) -> None:
    do_apart(work, {"folder": tmp_path, "how": "works"})
    assert int((tmp_path / "pid").read_text()) != os.getpid()


def test_its_refusal_is_raised_here(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"^the loss is no number$"):
        do_apart(work, {"folder": tmp_path, "how": "refuses"})


def test_a_library_that_is_missing_there_is_named_here(tmp_path: Path) -> None:
    with pytest.raises(MissingExtraError, match="needs the extra 'train': pip install"):
        do_apart(work, {"folder": tmp_path, "how": "needs a library"})


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("breaks", "its process ended with code 1; its log says where"),
        (
            "is killed",
            r"its process was killed \(signal 9\); if its node ran out of memory, give .* \('train_memory'\)",
        ),
    ],
)
def test_a_defect_is_left_to_its_log(tmp_path: Path, capfd: pytest.CaptureFixture[str], how: str, said: str) -> None:
    with pytest.raises(LostProcessError, match=rf"^{said}$"):
        do_apart(work, {"folder": tmp_path, "how": how})
    assert ("ZeroDivisionError" in capfd.readouterr().err) == (how == "breaks")


def test_one_that_is_asked_to_stop_stops_this_one(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        do_apart(work, {"folder": tmp_path, "how": "is stopped"})
    assert ended.value.code == 143


def begin(folder: Path, how: str) -> subprocess.Popen[bytes]:
    """Begin a process that does the work in one of its own, and wait until that is at work."""
    words = (
        "import sys; from pathlib import Path; from flprivacy.execution import apart;"
        "from flprivacy.execution.run_step import set_process_up; from tests.execution.test_apart import work;"
        # Whoever began the tests in the background may have had all that they begin ignore this one.
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "apart.TO_STOP_SECONDS = 4.0; set_process_up();"
        "apart.do_apart(work, {'folder': Path(sys.argv[1]), 'how': sys.argv[2]})"
    )
    root = Path(__file__).parents[2]
    began = subprocess.Popen([sys.executable, "-c", words, str(folder), how], cwd=root, start_new_session=True)
    deadline = time.monotonic() + 60
    while not (folder / "at work").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return began


def wait_for_end_of_work(folder: Path) -> None:
    deadline = time.monotonic() + 30
    inner = Path("/proc") / (folder / "pid").read_text() / "status"
    while inner.exists() and "zombie" not in inner.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_it_ends_with_the_process_that_began_it(tmp_path: Path, number: int, code: int) -> None:
    began = begin(tmp_path, "takes long")
    os.kill(began.pid, number)
    assert began.wait(30) == code
    wait_for_end_of_work(tmp_path)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, -2)])
def test_where_both_are_asked_to_stop_it_closes_what_is_under_way(tmp_path: Path, number: int, code: int) -> None:
    """It is asked twice then: by whoever asks all, and by the process that began it."""
    began = begin(tmp_path, "takes long")
    inner = int((tmp_path / "pid").read_text())
    os.kill(inner, number)
    time.sleep(0.2)
    os.kill(began.pid, number)
    assert began.wait(30) == code
    assert (tmp_path / "closed").exists()


def test_one_that_is_still_loading_does_no_work_for_nobody(tmp_path: Path) -> None:
    loads = "import os, pathlib, time\nhere = pathlib.Path(__file__).parent\n"
    loads += "if 'began' in os.environ:\n    (here / 'pid').write_text(str(os.getpid()))\n    time.sleep(2)\n"
    loads += "def work(): (here / 'worked').touch()\n"
    (tmp_path / "slow_to_load.py").write_text(loads)
    words = (
        "import os; from flprivacy.execution.apart import do_apart; from slow_to_load import work;"
        "os.environ['began'] = '1'; do_apart(work, {})"
    )
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    began = subprocess.Popen([sys.executable, "-c", words], env=os.environ | {"PYTHONPATH": path})
    deadline = time.monotonic() + 60
    while not (tmp_path / "pid").is_file() or not (tmp_path / "pid").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    began.kill()
    began.wait()
    wait_for_end_of_work(tmp_path)
    assert not (tmp_path / "worked").exists()


def test_one_that_does_not_stop_is_ended(tmp_path: Path) -> None:
    began = begin(tmp_path, "goes on")
    os.kill(began.pid, signal.SIGTERM)
    assert began.wait(20) == 143
    wait_for_end_of_work(tmp_path)
