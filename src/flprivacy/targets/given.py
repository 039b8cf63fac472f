"""A given target, wherever it lives and in whatever form: brought into the store as a target folder."""

import os
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from flprivacy.core.digests import digest_file
from flprivacy.core.errors import ConfigError, TargetError, naming
from flprivacy.core.events import emit
from flprivacy.core.target import KERAS2, TARGET_FILE, TargetRecord
from flprivacy.core.target_source import GRAPH_SUFFIX, WEIGHTS_SUFFIXES, TargetSource, weights_suffix
from flprivacy.storage.artifact_store import Store
from flprivacy.storage.backends.contract import ObjectStat
from flprivacy.storage.objects import ObjectStore, open_objects
from flprivacy.storage.places import open_store
from flprivacy.storage.transfer import fetch_files
from flprivacy.storage.uris import is_remote, join, local_path
from flprivacy.targets.beside import existing_file, local_files_beside, stats_beside, version_of
from flprivacy.targets.digests import is_arrays, is_graph, network_facts
from flprivacy.targets.folder import MAX_RECORD_BYTES, deliver_target, read_record, read_target, verify_target
from flprivacy.targets.lineage import LINEAGE_FILE, PrivatePart, audited_record, read_lineage, read_private_part

_SHOWN = 5
_UNTOLD = "its last layer does not tell what it answers with, so that is not attacked; state answers if it classifies"
_WITHOUT_TWIN = ": the network's structure alone may explain what it tells, so that it is never called a leak"
_SAVED_MODEL, _UNPACKED = "saved_model.pb", "model.weights.h5"  # in folders of other kinds
_OF_PYTORCH = (".pt", ".pt2", ".pth", ".ckpt", ".safetensors")
_OTHER_SUFFIXES = (*_OF_PYTORCH, ".ort", ".pb", ".tflite", ".pkl", ".zip", ".tar", ".gz")


def given_target(source: TargetSource, store: str = "") -> Path:
    """Return a folder with the target: its own where it is on this machine, else one in the store.

    Nothing is fetched, converted or hashed again while the file, or the objects of the folder, stay what they were.

    Raises:
        TargetError: it is no valid target, or the file cannot be used.
        ConfigError: facts that contradict it.
        StorageError: it is missing, cannot be read, or stays damaged.
        TrackingError: MLflow cannot be reached or has no such model.
    """
    source = source.of_target()  # nothing that is kept depends on where the private part is
    if source.is_mlflow:
        return _from_mlflow(source, open_store(store))
    if source.is_foreign:
        return _from_file(source, open_store(store))
    _check_is_target_folder(source)
    if is_remote(source.location):
        return _from_folder(source.location, open_store(store))
    folder = local_path(source.location)
    verify_target(folder)
    return folder


def bring_target(source: TargetSource, store: str, *, name: str, out: Path) -> TargetRecord:
    """Put a given target at ``out`` under a name, and check the private part that its source names.

    Raises:
        FlprivacyError: as :func:`given_target` and :func:`given_private_part`.
    """
    folder = given_target(source, store)
    record = replace(read_target(folder), name=name)
    with tempfile.TemporaryDirectory() as private:
        record = audited_record(record, given_private_part(source, record, Path(private)))
    deliver_target(folder, record, out)
    return record


def given_private_part(source: TargetSource, record: TargetRecord, folder: Path) -> PrivatePart | None:
    """Return the private part that a source names, for auditors; None where it names none.

    It is fetched into an empty ``folder``, which the caller removes: no store, artifact or server ever holds it.

    Raises:
        TargetError: it is damaged, or another target's.
        StorageError: it is missing or cannot be read.
    """
    if not source.members:
        return None
    if not is_remote(source.members):
        return read_private_part(local_path(source.members), record)
    objects = open_objects(source.members)
    _fetch(objects, source.members, [LINEAGE_FILE], folder)
    _fetch(objects, source.members, read_lineage(folder, record).files, folder)
    return read_private_part(folder, record)


def _fetch(objects: ObjectStore, uri: str, names: Sequence[str], folder: Path) -> None:
    stats = {name: objects.stat(join(uri, name)) for name in names}
    for stat in stats.values():
        if stat.size > MAX_RECORD_BYTES:
            raise TargetError(f"{stat.uri}: has {stat.size} bytes, too many for a list of members; check the location")
    fetch_files(objects, stats, folder, description="pulling members")


def given_record(source: TargetSource, store: str = "") -> TargetRecord:
    """Return a target's record. Of a target folder the weights are not fetched; a file is imported, to know what it is.

    Raises:
        FlprivacyError: as :func:`given_target`.
    """
    if source.is_foreign or source.is_mlflow:
        return read_target(given_target(source, store))
    _check_is_target_folder(source)
    if not is_remote(source.location):
        return read_target(local_path(source.location))
    with tempfile.TemporaryDirectory() as folder:
        return _fetched_record(open_objects(source.location), source.location, Path(folder))[0]


def _check_is_target_folder(source: TargetSource) -> None:
    """Refuse what is not read in any form, and facts about a target folder, which knows everything itself."""
    location, readable = source.location, f"target folders and files ({', '.join(WEIGHTS_SUFFIXES)}) are read"
    if location.lower().endswith(_OTHER_SUFFIXES):
        raise TargetError(
            f"{location}: {readable}; save a network of Keras as .keras, and export one of PyTorch with "
            "torch.onnx.export"
        )
    objects = open_objects(location)
    if not objects.find(join(location, TARGET_FILE)):
        if objects.find(join(location, _SAVED_MODEL)):
            raise TargetError(
                f"{location}: is a TensorFlow SavedModel, which is code and is not read; {readable}: load it with the "
                "program that made it, and save the network as .keras with Keras 3"
            )
        if objects.find(join(location, _UNPACKED)):
            raise TargetError(
                f"{location}: is an unpacked .keras archive; {readable}: give the archive, or pack its files again "
                "(zip -0) into one that ends in .keras"
            )
        if not is_remote(location) and local_path(location).is_file():
            raise TargetError(f"{location}: is none of the files that are read; {readable}")
        if source.of_target().facts():
            raise TargetError(f"{location}: holds no {TARGET_FILE}, and is no file; {readable}: check the path")
    _check_without_facts(source)


def _check_without_facts(source: TargetSource) -> None:
    facts = ", ".join(source.of_target().facts())
    if facts:
        raise ConfigError(
            f"{source.location}: is a target folder, whose {TARGET_FILE} says {facts}; leave that out, or give a file "
            f"that ends in {', '.join(WEIGHTS_SUFFIXES)}"
        )


def _from_file(source: TargetSource, store: Store) -> Path:
    """Import a weights file, fetching it first if it is behind a network and there is no import of it yet."""
    if not is_remote(source.location):
        file = existing_file(source.location)
        beside = {
            name: digest_file(file.parent / name) for name in local_files_beside(file) if (file.parent / name).is_file()
        }
        inputs = {"imported": digest_file(file), "facts": source.facts()} | ({"beside": beside} if beside else {})
        return store.build("target", inputs, lambda _, out: _import(source, file, out))
    objects = open_objects(source.location)
    stat = objects.stat(source.location)
    name = f"checkpoint{weights_suffix(source.location)}"
    files = {name: stat}
    if name.endswith(GRAPH_SUFFIX):
        files |= stats_beside(source.location, stat, objects, store)
    inputs = {"imported": version_of(stat), "facts": source.facts()}
    inputs |= (
        {"beside": {one: version_of(files[one]) for one in sorted(files) if one != name}} if len(files) > 1 else {}
    )

    def make(work: Path, out: Path) -> None:
        fetch_files(objects, files, work, description="pulling weights")
        _import(source, work / name, out)

    return store.build("target", inputs, make)


def _from_mlflow(source: TargetSource, store: Store) -> Path:
    from flprivacy.tracking.history import fetch_artifacts, model_identity  # imports MLflow: only when asked for

    inputs = {"mlflow": source.location, "facts": source.facts(), "identity": model_identity(source.location)}
    if inputs["identity"]:
        return store.build(
            "target", inputs, lambda work, out: _take(source, fetch_artifacts(source.location, work), out)
        )
    with tempfile.TemporaryDirectory() as name:  # a run's artifacts may change: look each time, import once
        found = _target_within(fetch_artifacts(source.location, Path(name)), source)
        digest = digest_file(found / TARGET_FILE if found.is_dir() else found)
        return store.build("target", inputs | {"identity": digest}, lambda _, out: _take(source, found, out))


def _take(source: TargetSource, fetched: Path, out: Path) -> None:
    found = _target_within(fetched, source)
    if found.is_dir():
        deliver_target(found, verify_target(found), out)
    else:
        _import(source, found, out)


def _target_within(path: Path, source: TargetSource) -> Path:
    """Return the target folder or the one weights file among downloaded artifacts."""
    if path.is_file():
        return path
    for record in sorted(path.rglob(TARGET_FILE)):
        _check_without_facts(source)
        return record.parent
    files = sorted(
        file for file in path.rglob("*") if file.name.lower().endswith(WEIGHTS_SUFFIXES) and not file.is_symlink()
    )
    if len(files) != 1:
        names = ", ".join(str(file.relative_to(path)) for file in files[:_SHOWN]) or "none"
        raise TargetError(
            f"{source.location}: holds {len(files)} weights files ({names}); log one model as .keras, .h5 or .onnx (a "
            "SavedModel is code and is not read), or name the file in a runs:/ URI"
        )
    return files[0]


def _import(source: TargetSource, file: Path, folder: Path) -> None:
    from flprivacy.targets.importing import import_checkpoint  # imports Keras: only when there is work

    with naming(source.location, file):
        record = import_checkpoint(source, file, name="imported", out=folder)
    text = "; ".join(part for part in (f"{source.location}: {describe_match(record)}", remark(record)) if part)
    if record.tensors_matched < record.tensors_total:
        emit("warning", message=text)
    else:
        emit("note", text=text)


def remark(record: TargetRecord) -> str:
    """Return what its owner should check once about a foreign file; empty where there is nothing."""
    if record.origin is None or record.origin.format != KERAS2:
        return ""
    return "the file was written by Keras 2 and read as Keras 3 reads it; compare some answers with the original's once"


def describe_match(record: TargetRecord) -> str:
    """Say in a line how a foreign file fits its architecture."""
    origin = record.origin
    text = f"{record.tensors_matched} of {record.tensors_total} tensors of the {record.architecture} trunk matched"
    if origin is None:
        return text
    if is_arrays(record):
        shown = " and ".join(name for name, held in (("features", origin.features), ("outputs", origin.head)) if held)
        twin = f"an untrained twin of {origin.initialisations} initialisations" if origin.initialisations else "no twin"
        return f"arrays of {shown}, with {twin}" + ("" if origin.initialisations else _WITHOUT_TWIN)
    without = _UNTOLD if origin.feature_layer else "no head in the file: its outputs are not attacked"
    head = "head from the file" if origin.head else without
    text += f", {len(origin.missing)} missing, {len(origin.left_over)} left over; {head}"
    facts = network_facts(origin)
    facts |= {name: f"{facts[name]} (assumed)" for name in origin.assumed}
    if origin.contradicted:
        facts["input_range"] += f" (stated; its first layers are made for {origin.contradicted})"
    text += f"; takes {facts['input_range']}"
    if origin.feature_layer:
        text += f" in the order {facts['axes']}, answers with {facts['answers']}"
        text += f", features are {origin.feature_layer}" if is_graph(record) else ""
    return text


def _fetched_record(objects: ObjectStore, uri: str, folder: Path) -> tuple[TargetRecord, ObjectStat]:
    stat = objects.stat(join(uri, TARGET_FILE))
    if stat.size > MAX_RECORD_BYTES:
        raise TargetError(f"{stat.uri}: has {stat.size} bytes, which no record has; give the folder of a target")
    fetch_files(objects, {TARGET_FILE: stat}, folder, description="reading the record")
    with naming(uri.rstrip("/"), folder):
        return read_record(folder / TARGET_FILE), stat


def _from_folder(uri: str, store: Store) -> Path:
    """Return the target's folder in the store; fetched only if any of its objects changed."""
    objects = open_objects(uri)
    with tempfile.TemporaryDirectory() as name:
        record, stat = _fetched_record(objects, uri, Path(name))
        digest = digest_file(Path(name) / TARGET_FILE)
    names = sorted({model.weights for model in record.models})
    stats = objects.in_parallel(lambda one: objects.stat(join(uri, one)), names)
    files = {TARGET_FILE: stat, **dict(zip(names, stats, strict=True))}
    versions = sorted([name, one.size, one.version] for name, one in files.items())

    def make(work: Path, folder: Path) -> None:
        fetch_files(objects, files, work, description="pulling weights")
        for name in files:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            os.link(work / name, folder / name)
        with naming(uri.rstrip("/"), folder):
            verify_target(folder)

    return store.build("target", {"pulled": digest, "objects": versions}, make)
