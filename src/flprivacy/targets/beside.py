"""Files beside a network: those that hold an ONNX file's tensors, and what it answered where its owner runs it."""

import json
from pathlib import Path

from flprivacy.core.errors import TargetError, naming
from flprivacy.core.publish import write_json
from flprivacy.core.target_source import GRAPH_SUFFIX, TargetSource, weights_suffix
from flprivacy.storage.artifact_store import Store
from flprivacy.storage.backends.contract import ObjectStat
from flprivacy.storage.objects import ObjectStore
from flprivacy.storage.transfer import download, fetch_files
from flprivacy.storage.uris import is_remote, join, local_path

_GRAPH, _NAMES = "network.onnx", "beside.json"


def version_of(stat: ObjectStat) -> str:
    """Return what an object is known by: another one has another."""
    return f"{stat.version} {stat.size} {stat.uri}"


def existing_file(location: str) -> Path:
    """Return the path of a weights file on this machine; TargetError if there is none."""
    file = local_path(location)
    if not file.is_file():
        raise TargetError(f"{file}: no such file; check the path")
    return file


def local_files_beside(file: Path) -> tuple[str, ...]:
    """Return the names of files that hold tensors of an ONNX file beside it."""
    if not file.name.lower().endswith(GRAPH_SUFFIX):
        return ()
    from flprivacy.models.graphs.looking import files_beside  # an extra of its own

    return files_beside(file)


def stats_beside(location: str, stat: ObjectStat, objects: ObjectStore, store: Store) -> dict[str, ObjectStat]:
    """Return what holds tensors of a remote ONNX file beside it; only that file tells the names, which are kept."""

    def make(work: Path, out: Path) -> None:
        fetch_files(objects, {_GRAPH: stat}, work, description="reading the network")
        with naming(location, work / _GRAPH):
            write_json(out / _NAMES, list(local_files_beside(work / _GRAPH)))

    kept = store.build("target", {"beside": version_of(stat)}, make)
    folder = location.rsplit("/", 1)[0]
    return {name: objects.stat(join(folder, name)) for name in json.loads((kept / _NAMES).read_text())}


def given_own_answers(source: TargetSource, folder: Path) -> Path | None:
    """Return the file of a network's own answers, fetched into ``folder`` if it is remote; None if there is none.

    Raises:
        TargetError: there is no such file.
        StorageError: it is missing or cannot be read.
    """
    if not source.own_answers:
        return None
    if not is_remote(source.own_answers):
        return existing_file(source.own_answers)
    path = folder / f"own-answers{weights_suffix(source.own_answers)}"
    download(source.own_answers, path)
    return path
