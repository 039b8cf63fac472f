"""Arrays come out of a pickle; nothing else does, and nothing runs."""

import datetime
import os
import pickle
import resource
import struct
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

from flprivacy.cohorts.importing.array_pickle import read_array_pickle
from flprivacy.core.errors import CohortError

MARKER = "ran.txt"


class Evil:
    """Runs a command when it is unpickled."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self.function, self.arguments


def dump(path: Path, value: object, protocol: int = 4) -> Path:
    path.write_bytes(pickle.dumps(value, protocol=protocol))
    return path


@pytest.mark.parametrize("protocol", [3, 4, 5])
@pytest.mark.parametrize(
    "array",
    [
        np.arange(24, dtype=np.uint8).reshape(2, 3, 4),
        np.asfortranarray(np.arange(24, dtype=np.uint8).reshape(2, 3, 4)),
        np.arange(300_000, dtype=np.uint8).reshape(3, 100_000),
        np.arange(6, dtype=">i4"),
        np.arange(6, dtype=np.float64),
        np.array([True, False]),
    ],
)
def test_what_pickle_wrote_is_read(tmp_path: Path, array: np.ndarray, protocol: int) -> None:
    stored = read_array_pickle(dump(tmp_path / "a", {"c0_x": array, "c0_y": array[:1]}, protocol))
    np.testing.assert_array_equal(stored["c0_x"].map(), array)
    assert stored["c0_x"].dtype == array.dtype
    np.testing.assert_array_equal(stored["c0_y"].map(), array[:1])


def test_names_of_older_numpy_are_admitted(tmp_path: Path) -> None:
    data = pickle.dumps({"a": np.arange(5, dtype=np.uint8)}, protocol=3)
    assert b"numpy._core.multiarray\n" in data
    (tmp_path / "a").write_bytes(data.replace(b"numpy._core.multiarray\n", b"numpy.core.multiarray\n"))
    np.testing.assert_array_equal(read_array_pickle(tmp_path / "a")["a"].map(), np.arange(5))


def test_nothing_runs(tmp_path: Path) -> None:
    marker = tmp_path / MARKER
    command = f"touch {marker}"
    hostile = [
        Evil(os.system, command),
        {"c0_x": Evil(os.system, command)},
        {"c0_x": np.array([Evil(os.system, command)], dtype=object)},
        {Evil(os.system, command): 1},
        Evil(eval, f"open({str(marker)!r}, 'w')"),
        Evil(exec, f"open({str(marker)!r}, 'w')"),
        Evil(getattr, "os", "system"),
        Evil(np.load, str(marker)),
        Evil(np.save, str(marker), np.arange(3)),
        Evil(np.ndarray, (1 << 40,), "u1"),
        {"c0_x": np.arange(3), "c0_y": Evil(os.system, command)},
    ]
    for number, value in enumerate(hostile):
        for protocol in (0, 2, 3, 4, 5):
            with pytest.raises(CohortError) as caught:
                read_array_pickle(dump(tmp_path / "a", value, protocol))
            assert "\n" not in str(caught.value), number
    assert not marker.exists()


def test_hand_written_programs_do_not_run(tmp_path: Path) -> None:
    marker = tmp_path / MARKER
    programs = [
        b"cos\nsystem\n(S'touch %s'\ntR." % os.fsencode(marker),
        b"cposix\nsystem\n(X\x05\0\0\0touchtR.",
        b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x04true\x85R.",
        b"\x80\x04cnumpy\nload\n.",
        b"\x80\x04cnumpy\n__builtins__\n.",
        b"\x80\x04cnumpy._core.multiarray\nfromfile\n.",
        b"\x80\x04\x97.",  # next buffer
        b"\x80\x04Pid\n.",  # persistent id
        b"\x80\x04\x82\x01.",  # extension registry
        b"(i__builtin__\neval\n.",
        b"\x80\x04}(}}u.",
        b"\x80\x04" + b"(" * 3000 + b".",
        b"\x80\x04" + b"\x85" * 10 + b".",
        b"\x80\x04}" + b"\x94" * 5000,
        b"h\x07.",
        b".",
        b"",
        b"\x93NUMPY\x01\x00",
        b"\x80\x04K\x01.",
        b"}.",
    ]
    for program in programs:
        (tmp_path / "a").write_bytes(program)
        with pytest.raises(CohortError) as caught:
            read_array_pickle(tmp_path / "a")
        assert "\n" not in str(caught.value)
    assert not marker.exists()


@pytest.mark.parametrize(
    "value",
    [
        [1, 2],
        {"a": [np.arange(3)]},
        {"a": {"b": np.arange(3)}},
        {"a": np.array(["x"], dtype=object)},
        {"a": np.array(["x"])},
        {"a": np.array([1 + 2j])},
        {"a": np.array([(1, 2)], dtype=[("x", "i4"), ("y", "i4")])},
        {"a": np.array(["2024-01-01"], dtype="M8[D]")},
        {"a": np.float64(3)},
        {"a": datetime.date(2024, 1, 1)},
        OrderedDict(a=np.arange(3)),
        {1: np.arange(3)},
        {"a": np.zeros((0, 3))},
        {"a": None},
    ],
)
def test_anything_but_plain_arrays_by_name_is_refused(tmp_path: Path, value: object) -> None:
    with pytest.raises(CohortError):
        read_array_pickle(dump(tmp_path / "a", value))


def test_huge_claimed_shapes_take_no_memory(tmp_path: Path) -> None:
    data = pickle.dumps({"a": np.arange(60000, dtype=np.uint8)}, protocol=4)
    shape = b"M" + struct.pack("<H", 60000) + b"\x85"
    assert data.count(shape) == 1
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for claimed in (b"J" + struct.pack("<i", 2**31 - 1) + b"\x85", b"\x8a\x08" + struct.pack("<q", 1 << 60) + b"\x85"):
        (tmp_path / "a").write_bytes(data.replace(shape, claimed))
        with pytest.raises(CohortError, match="takes"):
            read_array_pickle(tmp_path / "a")
    at = data.index(b"B" + struct.pack("<I", 60000)) if b"B" + struct.pack("<I", 60000) in data else -1
    assert at > 0
    (tmp_path / "a").write_bytes(data[:at] + b"\x8e" + struct.pack("<Q", 1 << 50) + data[at + 5 :])
    with pytest.raises(CohortError, match="truncated"):
        read_array_pickle(tmp_path / "a")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 10 << 10


def test_the_name_of_what_was_asked_for_is_shown_safely(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"c" + b"\x1b[31m" + b"x" * 500 + b"\nsystem\n.")
    with pytest.raises(CohortError, match="only numpy arrays are admitted") as caught:
        read_array_pickle(tmp_path / "a")
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_memory_holds_no_array(tmp_path: Path) -> None:
    import tracemalloc

    dump(tmp_path / "a", {"a": np.zeros((64, 1 << 18), dtype=np.uint8)})
    tracemalloc.start()
    stored = read_array_pickle(tmp_path / "a")["a"]
    assert stored.map()[5].sum() == 0
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 18
