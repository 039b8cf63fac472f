"""The first look at a stranger's ONNX file, in a process with bounds on memory and time.

Protobuf turns bytes into objects many times as large, and a few operators of a graph may ask for any amount of memory.
So another process (:mod:`flprivacy.models.quarantine`) reads the file, loads it and has it answer two scans first.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flprivacy.core.errors import TargetError
from flprivacy.core.extras import require_extras
from flprivacy.models.foreign.contract import Shape
from flprivacy.models.graphs.files import REMEDY, data_files
from flprivacy.models.quarantine import look

_SECONDS = 300  # of processor time: four answers of a large network
_MEMORY_BYTES = 4 << 30  # beside that for the file, which is read, copied and loaded
_COPIES = 6
_FOUND = ("facts", "assumed", "stated", "contradicted", "shape", "n_classes")


def files_beside(path: Path) -> tuple[str, ...]:
    """Return the bare names of the files beside an ONNX file that hold tensors of it.

    Raises:
        TargetError: it is no ONNX file, or names a file elsewhere.
    """
    return tuple(_look("listed", path, ()))


def look_at(path: Path, *, stated: Mapping[str, str], shape: Shape | None) -> dict[str, Any]:
    """Return what a network takes and gives: ``facts``, ``assumed``, ``stated``, ``contradicted``, ``shape`` and
    ``n_classes`` of :class:`~flprivacy.models.graphs.network.GraphNetwork`.

    Raises:
        TargetError: as :func:`~flprivacy.models.graphs.network.load_graph`; or it needs too much memory or time.
    """
    found: dict[str, Any] = _look("answered", path, files_beside(path), dict(stated), shape)
    return found


def _look(walk: str, path: Path, beside: tuple[str, ...], *arguments: Any) -> Any:
    require_extras("onnx")  # the other process could only crash
    if not path.is_file():
        raise TargetError(f"{path}: no such file; check the path")
    files = [path, *(path.parent / name for name in beside)]
    size = sum(file.stat().st_size for file in files if file.is_file())
    return look(
        f"{__name__}:{walk}",
        path,
        *arguments,
        library="onnxruntime",
        remedy=REMEDY,
        seconds=_SECONDS,
        memory_bytes=_MEMORY_BYTES + _COPIES * size,
    )


def listed(path: str) -> list[str]:
    """Walk of :func:`files_beside`."""
    try:
        return list(data_files(Path(path)))
    except MemoryError as error:
        raise _too_large(path) from error


def answered(path: str, stated: dict[str, str], shape: list[int] | None) -> dict[str, Any]:
    """Walk of :func:`look_at`."""
    from flprivacy.models.graphs.network import load_graph  # starts a thread, which no process may that forks others

    whole = (shape[0], shape[1], shape[2]) if shape else None
    try:
        network = load_graph(Path(path), stated=stated, shape=whole, threads=1, trial=True)
    except MemoryError as error:
        raise _too_large(path) from error
    return {name: getattr(network, name) for name in _FOUND}


def _too_large(path: str) -> TargetError:
    return TargetError(f"{path}: needs more than {_MEMORY_BYTES >> 30} GiB of memory for two scans; {REMEDY}")
