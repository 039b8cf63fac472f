import json
import os
import subprocess
import sys
import threading

import h5py
import numpy as np
import psutil
import pytest

from flprivacy.core.errors import TargetError
from flprivacy.models import quarantine
from flprivacy.models.foreign.checkpoint import open_checkpoint
from flprivacy.models.hdf5 import open_guarded
from flprivacy.models.quarantine import vet
from flprivacy.models.weights import header_of, vet_tensors

REMEDY = "give another"


@pytest.fixture
def path(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["a/b/kernel"] = np.zeros((3, 4), np.float32)
        file["a"].attrs["names"] = ["one", "two"]
    return tmp_path / "x.h5"


def _process():
    return quarantine._WALKERS._process


def test_a_good_file_passes_and_the_process_stays(path):
    vet(path, remedy=REMEDY)
    first = _process().pid
    vet(path, remedy=REMEDY)
    assert _process().pid == first


def test_what_the_library_refuses_is_said(path, tmp_path, monkeypatch):
    path.write_bytes(path.read_bytes()[:900])
    monkeypatch.chdir(tmp_path)
    for bad, match in ((path, "damaged HDF5 file"), (path.with_name("none.h5"), "no such weights file")):
        with pytest.raises(TargetError, match=match) as caught:
            vet(bad.relative_to(tmp_path), remedy=REMEDY)
        assert str(caught.value).startswith(f"{bad.name}: ")


def _endless(path):
    """Give the free space of the heap of texts no size: HDF5's library then goes through it for ever."""
    content = bytearray(path.read_bytes())
    at = content.index(b"GCOL") + 16
    while int.from_bytes(content[at : at + 2], "little"):
        size = int.from_bytes(content[at + 8 : at + 16], "little")
        at += 16 + -(-size // 8) * 8
    content[at + 8 : at + 16] = bytes(8)
    path.write_bytes(content)


def test_a_file_that_the_library_reads_for_ever(path):
    _endless(path)
    with pytest.raises(TargetError, match=f"{path}: HDF5's library does not come to an end .* 1 s; {REMEDY}"):
        vet(path, remedy=REMEDY, seconds=1)


@pytest.mark.parametrize("reader", [header_of, vet_tensors, lambda path: open_checkpoint(path).__enter__()])
def test_nobody_opens_a_file_that_was_refused(path, reader, monkeypatch):
    _endless(path)
    monkeypatch.setattr(quarantine.vet, "__kwdefaults__", {"seconds": 1})
    with pytest.raises(TargetError, match=f"^{path}: HDF5's library does not come to an end"):
        reader(path)


def test_texts_that_are_many_more_than_the_file(path):
    """A list of texts of variable length that are all the same long one fills the memory, if it is read."""
    count, length = 1 << 14, 1 << 17
    with h5py.File(path, "w", libver="latest") as file:
        file["a"] = np.zeros(3, np.float32)
        file["a"].attrs["names"] = np.array([b"x" * length] + [b"y"] * (count - 1), h5py.string_dtype())
    content = bytearray(path.read_bytes())
    references = _references(content, count, length)
    for number in range(count):
        content[references + 16 * number : references + 16 * (number + 1)] = content[references : references + 16]
    path.write_bytes(content)
    with pytest.raises(TargetError, match=r"damaged HDF5 file .*memory allocation failed"):
        vet(path, remedy=REMEDY)


def _references(content, count, length):
    """Return where the list begins: (length, address of a heap, number in it) 16 bytes each."""
    one, at = (1).to_bytes(4, "little"), -1
    while not all(content[at + 16 * number :].startswith(one) for number in (1, 2, count - 1)):
        at = content.index(length.to_bytes(4, "little"), at + 1)
    return at


def test_links_are_not_followed_and_rounds_end(path):
    with h5py.File(path, "a") as file:
        file["soft"], file["out"] = h5py.SoftLink("/nowhere"), h5py.ExternalLink("/etc/passwd", "/")
        file["a/round"] = file["a"]
    vet(path, remedy=REMEDY)


def test_too_many_parts(path, monkeypatch):
    monkeypatch.setattr(quarantine, "MOST_PARTS", 20)
    with h5py.File(path, "a") as file:
        for number in range(20):
            file["a"].attrs[f"x{number}"] = number
    with pytest.raises(TargetError, match="too full"), open_guarded(path, remedy=REMEDY) as file:
        quarantine.walk(file)


@pytest.mark.parametrize("answer", ["9", "0", ""])
def test_a_file_that_the_library_dies_over(path, answer, monkeypatch):
    """The process says that the walker died, or dies itself: the file is refused, and the next one is walked again."""
    program = f"print('\"\"', flush=True); input(); print({answer!r})"
    quarantine._WALKERS.close()
    with monkeypatch.context() as patched:
        patched.setattr(quarantine, "_PROGRAM", program)
        with pytest.raises(TargetError, match=f"{path}: HDF5's library crashes over it; {REMEDY}"):
            vet(path, remedy=REMEDY)
    quarantine._WALKERS.close()
    vet(path, remedy=REMEDY)


def test_a_process_that_does_not_start(path, monkeypatch):
    quarantine._WALKERS.close()
    monkeypatch.setattr(quarantine, "_PROGRAM", "import sys; sys.exit(3)")
    with pytest.raises(TargetError, match=r"does not start \(exit status 3\); make room"):
        vet(path, remedy=REMEDY)


def test_an_interrupted_question_leaves_no_answer_to_the_next(path, tmp_path, monkeypatch):
    def interrupted(process, line):
        process.stdin.write(f"{line}\n")
        process.stdin.flush()
        raise KeyboardInterrupt

    vet(path, remedy=REMEDY)
    with monkeypatch.context() as patched:
        patched.setattr(quarantine, "_exchange", interrupted)
        with pytest.raises(KeyboardInterrupt):
            vet(path, remedy=REMEDY)
    with pytest.raises(TargetError, match="no such weights file"):
        vet(tmp_path / "none.h5", remedy=REMEDY)


def test_threads_take_turns(path, tmp_path):
    found = {}

    def ask(number):
        try:
            vet(path if number % 2 else tmp_path / f"none{number}.h5", remedy=REMEDY)
            found[number] = ""
        except TargetError as error:
            found[number] = str(error).partition(":")[0]

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {n: "" if n % 2 else str(tmp_path / f"none{n}.h5") for n in range(8)}


def test_the_walker_is_bounded(path, tmp_path):
    """What a walker may take, seen from inside of one; and the program that forks it imports nothing large."""
    code = (
        "import os, resource, sys\n"
        "from flprivacy.models import quarantine\n"
        "def tell(path, remedy):\n"
        "    kinds = ('AS', 'CPU', 'CORE', 'FSIZE')\n"
        "    soft = [resource.getrlimit(getattr(resource, f'RLIMIT_{kind}')) for kind in kinds]\n"
        '    return f\'{soft} {sorted({"keras", "tensorflow", "scipy", "pandas"} & set(sys.modules))}\'\n'
        "quarantine.walked = tell\n"
        "quarantine.main()\n"
    )
    memory = quarantine.MEMORY_BYTES
    question = {"walk": "flprivacy.models.quarantine:walked", "arguments": [str(path), ""], "seconds": 7}
    said = subprocess.run(
        [sys.executable, "-c", code],
        input=f"{json.dumps(question | {'memory': memory})}\n",
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert said.splitlines() == ["{}", json.dumps({"found": f"[({memory}, {memory}), (7, 8), (0, 0), (0, 0)] []"})]


def test_nothing_is_imported_from_where_somebody_works(path, tmp_path, monkeypatch):
    (tmp_path / "h5py.py").write_text("raise SystemExit(7)")
    (tmp_path / "json.py").write_text("raise SystemExit(7)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    quarantine._WALKERS.close()
    vet(path, remedy=REMEDY)


def test_a_fork_has_a_process_of_its_own(path):
    vet(path, remedy=REMEDY)
    first = _process().pid
    child = os.fork()
    if child == 0:
        try:
            vet(path, remedy=REMEDY)
            os._exit(int(_process().pid == first))
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    assert psutil.Process(first).is_running()
    vet(path, remedy=REMEDY)
    assert _process().pid == first
