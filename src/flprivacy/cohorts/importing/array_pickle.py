"""Arrays out of a pickle, without unpickling it.

A pickle is a program, and unpickling runs it. This module reads the few instructions that a dictionary of plain NumPy
arrays is made of and carries out none of them: it notes where in the file each array's bytes lie, and what their type
and shape are said to be. Anything else - another class, another function, object arrays - is refused by name. Memory
holds no array: volumes are mapped from the file when they are read.
"""

import math
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from flprivacy.core.errors import CohortError

_MAX_STEPS, _MAX_TEXT, _MAX_DIMENSIONS = 2000, 1024, 8
_TYPES = {f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8)} | {"f2", "f4", "f8", "b1"}
_REMEDY = "give the file as FLPrivacy wrote it: a dictionary of plain NumPy arrays, pickled with protocol 3 or later"
_MODULES = ("numpy.core.multiarray", "numpy._core.multiarray", "numpy.core.numeric", "numpy._core.numeric", "numpy")


@dataclass(frozen=True, kw_only=True)
class StoredArray:
    """An array in a file."""

    path: Path
    offset: int  # where its bytes start
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool  # whether its first axis varies fastest

    def map(self) -> npt.NDArray[Any]:
        """Return the array as a read-only map of the file.

        Raises:
            CohortError: the file was changed since its pickle was read.
        """
        try:
            order: Literal["F", "C"] = "F" if self.fortran else "C"
            mapped = np.memmap(self.path, self.dtype, "r", self.offset, self.shape, order)
        except (OSError, ValueError) as error:
            raise CohortError(f"{self.path}: was changed while it was read; import again") from error
        return np.asarray(mapped)


def read_array_pickle(path: Path) -> dict[str, StoredArray]:
    """Read a dictionary of NumPy arrays that ``pickle.dump`` wrote, protocol 3 to 5: name -> where its array is.

    Raises:
        CohortError: the file is missing, damaged, or holds anything but such a dictionary. Nothing in it was run.
    """
    try:
        with path.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            result = _Reader(stream, size, path).run()
    except OSError as error:
        raise CohortError(f"{path}: cannot be read ({error.strerror}); check its name and permissions") from error
    except (struct.error, IndexError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
        raise CohortError(f"{path}: a damaged pickle ({type(error).__name__}); {_REMEDY}") from None
    arrays = {name: value for name, value in result.items() if isinstance(name, str) and isinstance(value, _Array)}
    if not arrays or len(arrays) != len(result):
        raise CohortError(f"{path}: not a dictionary of arrays by name; {_REMEDY}")
    return {name: _stored(array, path, size) for name, array in arrays.items()}


class _Name(NamedTuple):
    """A class or function that the pickle names; never looked up."""

    name: str


class _Bytes(NamedTuple):
    """Bytes of the pickle, by their place."""

    offset: int
    length: int


@dataclass(eq=False)
class _Dtype:
    code: str
    order: Literal["<", ">", "|", "="] = "|"


@dataclass(eq=False)
class _Array:
    shape: tuple[int, ...] = ()
    dtype: _Dtype | None = None
    fortran: bool = False
    data: _Bytes | None = None


_MARK = object()  # where a tuple or a group of items starts on the stack


@dataclass(eq=False)
class _Reader:
    """Reads instructions; each is a method or an entry of a table, and there are no others."""

    stream: IO[bytes]
    size: int
    path: Path
    stack: list[Any] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)

    def run(self) -> dict[Any, Any]:
        """Read up to the end of the pickle and return the dictionary that it builds."""
        for _ in range(_MAX_STEPS):
            code = self.take(1)
            if code == b".":
                result = self.stack.pop()
                if not isinstance(result, dict) or self.stack:
                    raise CohortError(f"{self.path}: holds no dictionary; {_REMEDY}")
                return result
            action = _ACTIONS.get(code)
            if action is None:
                raise CohortError(f"{self.path}: pickle instruction {code!r} is not one that arrays need; {_REMEDY}")
            action(self)
        raise CohortError(f"{self.path}: more instructions than arrays need; {_REMEDY}")

    def take(self, count: int) -> bytes:
        """Return exactly ``count`` bytes, at most a name's length of them."""
        data = self.stream.read(count) if 0 <= count <= _MAX_TEXT else b""
        if len(data) != count:
            raise CohortError(f"{self.path}: truncated or with a text longer than {_MAX_TEXT} bytes; {_REMEDY}")
        return data

    def number(self, form: str) -> int:
        """Return a number of ``struct`` form ``form``."""
        return int(struct.unpack(form, self.take(struct.calcsize(form)))[0])

    def text(self, form: str) -> None:
        """Put a text on the stack."""
        self.stack.append(self.take(self.number(form)).decode())

    def place(self, form: str) -> None:
        """Put the place of bytes on the stack and go on behind them."""
        length, offset = self.number(form), self.stream.tell()
        if not 0 <= length <= self.size - offset:
            raise CohortError(f"{self.path}: truncated, {length} bytes are promised at {offset}; {_REMEDY}")
        self.stack.append(_Bytes(offset, length))
        self.stream.seek(length, os.SEEK_CUR)

    def name(self, module: str, name: str) -> None:
        """Put the name of a class or function on the stack, if arrays need it."""
        if module not in _MODULES or name not in ("_reconstruct", "ndarray", "dtype", "_frombuffer"):
            asked = f"{module}.{name}".encode("ascii", "replace").decode()
            shown = "".join(character if character.isprintable() else "?" for character in asked)[:60]
            raise CohortError(f"{self.path}: asks for {shown!r}, and only numpy arrays are admitted; {_REMEDY}")
        self.stack.append(_Name(name))

    def line(self) -> str:
        """Return text up to the end of a line."""
        data = self.stream.readline(_MAX_TEXT)
        if not data.endswith(b"\n"):
            raise CohortError(f"{self.path}: truncated or with a name longer than {_MAX_TEXT} bytes; {_REMEDY}")
        return data[:-1].decode()

    def group(self) -> list[Any]:
        """Take everything above the last mark off the stack."""
        start = max(index for index, value in enumerate(self.stack) if value is _MARK)
        values = self.stack[start + 1 :]
        del self.stack[start:]
        return values

    def collect(self, count: int) -> None:
        """Make a tuple of the last values."""
        values = tuple(self.stack[-count:])
        if len(values) != count:
            raise IndexError
        self.stack[-count:] = [values]

    def set_items(self, values: list[Any]) -> None:
        """Put pairs into the dictionary below."""
        place = self.stack[-1]
        if not isinstance(place, dict) or len(values) % 2 or not all(isinstance(v, str) for v in values[::2]):
            raise CohortError(f"{self.path}: not a dictionary of arrays by name; {_REMEDY}")
        place.update(zip(values[::2], values[1::2], strict=True))

    def call(self) -> None:
        """Note a call of one of the admitted names."""
        arguments, function = self.stack.pop(), self.stack.pop()
        if not isinstance(function, _Name) or not isinstance(arguments, tuple):
            raise TypeError
        if function.name == "_reconstruct":
            self.stack.append(_Array())
        elif function.name == "dtype":
            code = arguments[0]
            if not isinstance(code, str) or code not in _TYPES:
                raise CohortError(f"{self.path}: holds an array that is not of plain numbers; {_REMEDY}")
            self.stack.append(_Dtype(code))
        elif function.name == "_frombuffer":
            data, dtype, shape, order = arguments
            self.stack.append(self.array(shape, dtype, order == "F", data))
        else:
            raise TypeError

    def build(self) -> None:
        """Note the state that is given to an array or a type."""
        state, target = self.stack.pop(), self.stack[-1]
        if not isinstance(state, tuple):
            raise TypeError
        if isinstance(target, _Dtype):
            if state[1] not in ("<", ">", "|", "=") or any(part is not None for part in state[2:5]):
                raise CohortError(f"{self.path}: holds an array that is not of plain numbers; {_REMEDY}")
            target.order = state[1]
        elif isinstance(target, _Array):
            _, shape, dtype, fortran, data = state
            self.stack[-1].__dict__.update(self.array(shape, dtype, fortran, data).__dict__)
        else:
            raise TypeError

    def array(self, shape: Any, dtype: Any, fortran: Any, data: Any) -> _Array:
        """Return an array's description if its parts are what they should be."""
        edges = isinstance(shape, tuple) and all(type(edge) is int and edge >= 0 for edge in shape)
        parts = isinstance(dtype, _Dtype) and isinstance(data, _Bytes) and isinstance(fortran, (bool, int))
        if not (edges and parts) or len(shape) > _MAX_DIMENSIONS:
            raise CohortError(f"{self.path}: holds an array that is not of plain numbers; {_REMEDY}")
        return _Array(shape, dtype, bool(fortran), data)


def _stored(array: _Array, path: Path, size: int) -> StoredArray:
    if array.dtype is None or array.data is None:
        raise CohortError(f"{path}: holds an array without data; {_REMEDY}")
    dtype = np.dtype(array.dtype.code).newbyteorder(array.dtype.order)
    promised = math.prod(array.shape) * dtype.itemsize
    if promised != array.data.length or promised == 0:
        raise CohortError(
            f"{path}: an array of shape {array.shape} takes {promised} bytes, {array.data.length} are there; {_REMEDY}"
        )
    return StoredArray(path=path, offset=array.data.offset, shape=array.shape, dtype=dtype, fortran=array.fortran)


def _long(reader: _Reader) -> None:
    length = reader.number("<B")
    if length > 8:
        raise ValueError
    reader.stack.append(int.from_bytes(reader.take(length), "little", signed=True))


def _remember(reader: _Reader, number: int) -> None:
    reader.memo[number] = reader.stack[-1]


def _names_from_stack(reader: _Reader) -> None:
    name, module = reader.stack.pop(), reader.stack.pop()
    if not isinstance(name, str) or not isinstance(module, str):
        raise TypeError
    reader.name(module, name)


_ACTIONS: dict[bytes, Callable[[_Reader], object]] = {
    b"\x80": lambda r: r.take(1),  # protocol
    b"\x95": lambda r: r.take(8),  # frame: a hint for buffering
    b"}": lambda r: r.stack.append({}),
    b"(": lambda r: r.stack.append(_MARK),
    b")": lambda r: r.stack.append(()),
    b"t": lambda r: r.stack.append(tuple(r.group())),
    b"\x85": lambda r: r.collect(1),
    b"\x86": lambda r: r.collect(2),
    b"\x87": lambda r: r.collect(3),
    b"N": lambda r: r.stack.append(None),
    b"\x88": lambda r: r.stack.append(True),
    b"\x89": lambda r: r.stack.append(False),
    b"J": lambda r: r.stack.append(r.number("<i")),
    b"K": lambda r: r.stack.append(r.number("<B")),
    b"M": lambda r: r.stack.append(r.number("<H")),
    b"\x8a": _long,
    b"X": lambda r: r.text("<I"),
    b"\x8c": lambda r: r.text("<B"),
    b"B": lambda r: r.place("<I"),
    b"C": lambda r: r.place("<B"),
    b"\x8e": lambda r: r.place("<Q"),
    b"\x96": lambda r: r.place("<Q"),
    b"q": lambda r: _remember(r, r.number("<B")),
    b"r": lambda r: _remember(r, r.number("<I")),
    b"\x94": lambda r: _remember(r, len(r.memo)),
    b"h": lambda r: r.stack.append(r.memo[r.number("<B")]),
    b"j": lambda r: r.stack.append(r.memo[r.number("<I")]),
    b"c": lambda r: r.name(r.line(), r.line()),
    b"\x93": _names_from_stack,
    b"R": lambda r: r.call(),
    b"b": lambda r: r.build(),
    b"s": lambda r: r.set_items([r.stack.pop(-2), r.stack.pop()]),
    b"u": lambda r: r.set_items(r.group()),
}
