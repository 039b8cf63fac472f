"""Arrays out of a pickle, without unpickling it.

A pickle is a program, and unpickling runs it. This module has the standard library list its instructions and carries
out none of them: of the few that a dictionary of plain NumPy arrays is made of it notes where in the file each array's
bytes lie, and what their type and shape are said to be. Anything else - another class, another function, object
arrays - is refused by name. Memory holds no array: volumes are mapped from the file when they are read.
"""

import math
import os
import pickletools
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple, NoReturn

import numpy as np
import numpy.typing as npt

from flprivacy.core.errors import CohortError

_MAX_STEPS, _MAX_TEXT, _MAX_DIMENSIONS = 2000, 1024, 8
_TYPES = {f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8)} | {"f2", "f4", "f8", "b1"}
_REMEDY = "give the file as FLPrivacy wrote it: a dictionary of plain NumPy arrays, pickled with protocol 3 or later"
_MODULES = ("numpy.core.multiarray", "numpy._core.multiarray", "numpy.core.numeric", "numpy._core.numeric", "numpy")
_NAMES = ("_reconstruct", "ndarray", "dtype", "_frombuffer")


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
            result = _Reader(stream, path).run()
    except OSError as error:
        raise CohortError(f"{path}: cannot be read ({error.strerror}); check its name and permissions") from error
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise CohortError(f"{path}: a damaged pickle ({type(error).__name__}); {_REMEDY}") from None
    arrays = {name: value for name, value in result.items() if isinstance(name, str) and isinstance(value, _Array)}
    if not arrays or len(arrays) != len(result):
        raise CohortError(f"{path}: not a dictionary of arrays by name; {_REMEDY}")
    return {name: _stored(array, path) for name, array in arrays.items()}


class _Name(NamedTuple):
    """A class or function that the pickle names; never looked up."""

    name: str


class _Place(bytes):
    """Stands for bytes of the file that were passed over, and says that it has as many."""

    offset: int
    length: int

    def __len__(self) -> int:
        return self.length


@dataclass(eq=False)
class _Dtype:
    code: str
    order: Literal["<", ">", "|", "="] = "|"


@dataclass(eq=False)
class _Array:
    shape: tuple[int, ...] = ()
    dtype: _Dtype | None = None
    fortran: bool = False
    data: _Place | None = None


_MARK = object()  # where a tuple or a group of items starts on the stack


class _Reader:
    """Takes a pickle's instructions one by one. It is the file that pickletools reads, too."""

    def __init__(self, stream: IO[bytes], path: Path) -> None:
        self._stream, self._path = stream, path
        self._size = os.fstat(stream.fileno()).st_size
        self._last = _Place()
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def run(self) -> dict[Any, Any]:
        """Read up to the end of the pickle and return the dictionary that it builds."""
        for step, (opcode, argument, _) in enumerate(pickletools.genops(self)):  # type: ignore[arg-type]
            if opcode.name == "STOP":
                break
            if step == _MAX_STEPS:
                self._refuse("more instructions than arrays need")
            self._take(opcode.name, argument)
        result = self._stack.pop()
        if not isinstance(result, dict) or self._stack:
            self._refuse("holds no dictionary")
        return result

    def read(self, count: int) -> bytes:
        """Return ``count`` bytes, or pass over more than a name has and return their place."""
        self._last = _Place()
        self._last.offset, self._last.length = self._stream.tell(), count
        if count > self._size - self._last.offset:
            self._refuse(f"truncated, {count} bytes are promised at {self._last.offset}")
        if count <= _MAX_TEXT:
            return self._stream.read(count)
        self._stream.seek(count, os.SEEK_CUR)
        return self._last

    def readline(self) -> bytes:
        """Return a line that is no longer than a name."""
        return self._stream.readline(_MAX_TEXT)

    def _refuse(self, what: str) -> NoReturn:
        raise CohortError(f"{self._path}: {what}; {_REMEDY}")

    def _take(self, name: str, argument: Any) -> None:
        """Note what one instruction does to the stack."""
        stack, memo = self._stack, self._memo
        match name:
            case "PROTO" | "FRAME":
                pass
            case "EMPTY_DICT" | "MARK" | "EMPTY_TUPLE" | "NONE" | "NEWTRUE" | "NEWFALSE":
                constants = {"MARK": _MARK, "EMPTY_TUPLE": (), "NONE": None, "NEWTRUE": True, "NEWFALSE": False}
                stack.append(constants.get(name, {}))
            case "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINUNICODE" | "SHORT_BINUNICODE":
                stack.append(argument)
            case "BINBYTES" | "SHORT_BINBYTES" | "BINBYTES8" | "BYTEARRAY8":
                stack.append(self._last)
            case "TUPLE":
                stack.append(tuple(self._group()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                count = int(name[-1])
                stack[-count:] = [tuple(stack[-count:])]
            case "BINPUT" | "LONG_BINPUT" | "MEMOIZE":
                memo[len(memo) if name == "MEMOIZE" else argument] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case "GLOBAL":
                stack.append(self._name(*argument.split(" ")))
            case "STACK_GLOBAL":
                named = stack.pop()
                stack.append(self._name(stack.pop(), named))
            case "REDUCE":
                arguments = stack.pop()
                stack.append(self._call(stack.pop(), arguments))
            case "BUILD":
                self._build(stack.pop(), stack[-1])
            case "SETITEM" | "SETITEMS":
                self._set_items([stack.pop(-2), stack.pop()] if name == "SETITEM" else self._group())
            case _:
                self._refuse(f"pickle instruction {name} is not one that arrays need")

    def _group(self) -> list[Any]:
        """Take everything above the last mark off the stack."""
        start = max(index for index, value in enumerate(self._stack) if value is _MARK)
        values = self._stack[start + 1 :]
        del self._stack[start:]
        return values

    def _name(self, module: str, name: str) -> _Name:
        """Return the name of a class or function, if arrays need it."""
        if module not in _MODULES or name not in _NAMES:
            asked = f"{module}.{name}".encode("ascii", "replace").decode()
            shown = "".join(character if character.isprintable() else "?" for character in asked)[:60]
            self._refuse(f"asks for {shown!r}, and only numpy arrays are admitted")
        return _Name(name)

    def _set_items(self, values: list[Any]) -> None:
        """Put pairs into the dictionary below."""
        below = self._stack[-1]
        if not isinstance(below, dict) or len(values) % 2 or not all(isinstance(v, str) for v in values[::2]):
            self._refuse("not a dictionary of arrays by name")
        below.update(zip(values[::2], values[1::2], strict=True))

    def _call(self, function: Any, arguments: Any) -> _Array | _Dtype:
        """Return what a call of one of the admitted names stands for."""
        if not isinstance(function, _Name) or not isinstance(arguments, tuple):
            raise TypeError
        if function.name == "_reconstruct":
            return _Array()
        if function.name == "dtype":
            if not isinstance(arguments[0], str) or arguments[0] not in _TYPES:
                self._refuse("holds an array that is not of plain numbers")
            return _Dtype(arguments[0])
        if function.name == "_frombuffer":
            data, dtype, shape, order = arguments
            return self._array(shape, dtype, order == "F", data)
        raise TypeError

    def _build(self, state: Any, target: Any) -> None:
        """Note the state that is given to an array or a type."""
        if not isinstance(state, tuple):
            raise TypeError
        if isinstance(target, _Dtype):
            if state[1] not in ("<", ">", "|", "=") or any(part is not None for part in state[2:5]):
                self._refuse("holds an array that is not of plain numbers")
            target.order = state[1]
        elif isinstance(target, _Array):
            _, shape, dtype, fortran, data = state
            target.__dict__.update(self._array(shape, dtype, fortran, data).__dict__)
        else:
            raise TypeError

    def _array(self, shape: Any, dtype: Any, fortran: Any, data: Any) -> _Array:
        """Return an array's description if its parts are what they should be."""
        edges = isinstance(shape, tuple) and all(type(edge) is int and edge >= 0 for edge in shape)
        parts = isinstance(dtype, _Dtype) and isinstance(data, _Place) and isinstance(fortran, (bool, int))
        if not (edges and parts) or len(shape) > _MAX_DIMENSIONS:
            self._refuse("holds an array that is not of plain numbers")
        return _Array(shape, dtype, bool(fortran), data)


def _stored(array: _Array, path: Path) -> StoredArray:
    if array.dtype is None or array.data is None:
        raise CohortError(f"{path}: holds an array without data; {_REMEDY}")
    dtype = np.dtype(array.dtype.code).newbyteorder(array.dtype.order)
    promised = math.prod(array.shape) * dtype.itemsize
    if promised != array.data.length or promised == 0:
        raise CohortError(
            f"{path}: an array of shape {array.shape} takes {promised} bytes, {array.data.length} are there; {_REMEDY}"
        )
    return StoredArray(path=path, offset=array.data.offset, shape=array.shape, dtype=dtype, fortran=array.fortran)
