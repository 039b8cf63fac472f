"""``.keras`` archives: three members of known names, bounded before they are unpacked, under names of ours."""

import json
import shutil
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from flprivacy.core.errors import TargetError
from flprivacy.models.hdf5 import one_line
from flprivacy.models.mistaken import mistaken_for

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
MAX_CONFIG_BYTES = 1 << 22
_MAX_DIRECTORY_BYTES = 1 << 20
_MAX_MEMBERS = 64
_MAX_EXPANSION = 16  # Keras stores without compression; weights that somebody compressed shrink by little
_REMEDY = "save the model again with Keras, as one .keras file"
_DAMAGE = (OSError, ValueError, RuntimeError, NotImplementedError, EOFError, KeyError, struct.error)


@contextmanager
def unpacked(path: Path) -> Iterator[tuple[dict[str, Any], Path]]:
    """Yield the network's description and, in a folder that is removed afterwards, its weights file.

    Raises:
        TargetError: the archive is damaged, holds other members, or grows beyond bounds.
    """
    with TemporaryDirectory(prefix="flprivacy-") as folder:
        weights = Path(folder) / WEIGHTS
        try:
            _check_directory(path)
            with zipfile.ZipFile(path) as archive:
                members = _members(archive, path)
                config = parse_config(archive.read(members[CONFIG]), path)
                with archive.open(members[WEIGHTS]) as source, weights.open("xb") as target:
                    shutil.copyfileobj(source, target, 1 << 20)  # zipfile stops at the size that was checked
        except (*_DAMAGE, zipfile.BadZipFile) as error:
            raise _refusal(path, f"damaged .keras archive ({one_line(error)})") from error
        yield config, weights


def _check_directory(path: Path) -> None:
    """Refuse an archive whose directory alone would fill the memory, before zipfile reads it."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        stream.seek(max(0, size - (1 << 16) - 64))
        tail = stream.read()
    end = tail.rfind(b"PK\x05\x06")
    if end < 0 or len(tail) < end + 22:
        other = mistaken_for(path)
        raise TargetError(f"{path}: {other}") if other else _refusal(path, "not a .keras archive (no zip directory)")
    directory_bytes = struct.unpack("<I", tail[end + 12 : end + 16])[0]
    if directory_bytes > _MAX_DIRECTORY_BYTES or b"PK\x06\x07" in tail[max(0, end - 20) : end]:
        raise _refusal(path, "its zip directory is larger than any .keras archive has")


def _members(archive: zipfile.ZipFile, path: Path) -> dict[str, zipfile.ZipInfo]:
    """Return the archive's members by name, each once, each of a bearable size."""
    infos = archive.infolist()
    members = {info.filename: info for info in infos}
    if len(infos) > _MAX_MEMBERS or len(members) != len(infos):
        raise _refusal(path, f"{len(infos)} members, some of the same name or too many")
    for info in infos:
        if info.filename not in (CONFIG, METADATA, WEIGHTS):
            other = mistaken_for(path) if CONFIG not in members else ""
            if other and "is a .keras archive" not in other:
                raise TargetError(f"{path}: {other}")
            raise TargetError(
                f"{path}: member {info.filename[:200]!r} is not one of {CONFIG}, {METADATA} and {WEIGHTS}; nothing was "
                f"unpacked: {_REMEDY}, without layers that keep files of their own"
            )
        if info.flag_bits & 1:
            raise _refusal(path, f"member {info.filename} is encrypted")
        limit = MAX_CONFIG_BYTES if info.filename != WEIGHTS else _MAX_EXPANSION * info.compress_size + (1 << 16)
        if info.file_size > limit or info.compress_size > path.stat().st_size:
            grown = f"would unpack to {info.file_size} bytes from {info.compress_size}"
            raise _refusal(path, f"member {info.filename} {grown}; nothing was unpacked")
    for name in (CONFIG, WEIGHTS):
        if name not in members:
            raise _refusal(path, f"lacks the member {name}")
    return members


def parse_config(content: bytes | str, path: Path) -> dict[str, Any]:
    """Return a network's description, which is data and stays data, without what its training was compiled with."""
    try:
        config = json.loads(content, parse_constant=_refuse, object_hook=_without_training)
    except (ValueError, RecursionError) as error:
        raise _refusal(path, f"unreadable description of the network ({one_line(error)})") from error
    if not isinstance(config, dict) or not isinstance(config.get("config"), dict):
        raise _refusal(path, "its description is not of a network")
    return config


def _without_training(part: dict[str, Any]) -> dict[str, Any]:
    part.pop("compile_config", None)  # optimizer, losses and metrics, of code too: never built, so nobody's to judge
    return part


def _refusal(path: Path, what: str) -> TargetError:
    return TargetError(f"{path}: {what}; {_REMEDY}")


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is no number of a network")
