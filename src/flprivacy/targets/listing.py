"""Which targets there are (named by a run, found below a prefix, published now), and which version of each."""

import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from flprivacy.core.digests import digest_json
from flprivacy.core.errors import ConfigError, TargetError, naming
from flprivacy.core.parts import check_target_name
from flprivacy.core.target import TARGET_FILE, TargetRecord
from flprivacy.core.target_source import GRAPH_SUFFIX, TargetSource, parse_source
from flprivacy.storage.backends.contract import ObjectStat
from flprivacy.storage.inventory import read_inventory
from flprivacy.storage.objects import ObjectStore, open_objects
from flprivacy.storage.parameters import resolve_mapping
from flprivacy.storage.places import open_store
from flprivacy.storage.remote_artifacts import ARTIFACT_FILE
from flprivacy.storage.uris import is_remote, join, local_path
from flprivacy.targets.beside import existing_file, local_files_beside, stats_beside, version_of
from flprivacy.targets.folder import read_record
from flprivacy.targets.given import given_record
from flprivacy.targets.lineage import LINEAGE_FILE

# 7, v7, 1.2, 2026-11-17, 20261117T0300Z, run-0012; but not model2, which is the name of a target.
_VERSION = re.compile(r"(?:(?:v|run|version|release)[-_]?)?\d+(?:[-_.:TZ+]*\d+)*Z?")
_DIGITS = re.compile(r"\d+")
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
_MOST_BYTES = 1 << 20  # of a target.json


def latest_targets(sources: Sequence[str], given: Mapping[str, str]) -> dict[str, str]:
    """Return the name and pinned location of every target that is published now.

    Args:
        sources: prefixes (a path, ``s3://`` or ``gs://`` URI) of target folders, or MLflow URIs
            (``models:/name@alias``, with facts behind commas).
        given: name -> location of targets that are always at the same place.

    Raises:
        ConfigError: two targets of one name, or none at all.
        TargetError: nothing is published at a prefix, or two folders of one name are equally new.
        StorageError: a prefix cannot be listed.
        TrackingError: MLflow cannot be reached, or has no such model.
    """
    found = {name: _pinned(word) for name, word in given.items()}
    for source in sources:
        for name, word in _published(source).items():
            if name in found:
                raise ConfigError(
                    f"target {name!r} is at {found[name]} and at {word}; publish under different names or leave one out"
                )
            found[name] = word
    if not found:
        raise ConfigError(
            "neither targets nor targets_from names any target; give a prefix, a models:/ URI or a target"
        )
    return dict(sorted(found.items()))


def _pinned(word: str) -> str:
    from flprivacy.tracking.history import pinned_version  # imports MLflow: only when asked for

    source = parse_source(word)
    return str(replace(source, location=pinned_version(source.location))) if source.is_mlflow else word


def _published(word: str) -> dict[str, str]:
    source = parse_source(word)
    if source.is_mlflow:
        name = source.location.partition(":/")[2].partition("@")[0].split("/")[0]
        return {_target_name(name, word): _pinned(word)}
    if source.facts():
        raise ConfigError(f"targets_from {word!r}: a prefix of target folders takes no facts; leave them out")
    return newest_folders(word)


def newest_folders(prefix: str) -> dict[str, str]:
    """Return name -> the newest target folder of that name below a prefix, which is a path or a URI.

    A folder named like a number, a version or a date (``7``, ``v1.2``, ``2026-11-17``, ``run-0012``) is one version of
    the target that its parent is named after; the one with the largest numbers, compared in order, is the newest.
    Any other folder is a target by itself. A folder is published once its ``target.json`` is there, stored last.

    Raises:
        TargetError: no target folder is there, or two of one name are equally new.
        StorageError: it cannot be listed.
    """
    root = prefix.rstrip("/") if is_remote(prefix) else str(local_path(prefix))
    last = root.rpartition("/")[2]
    versions: dict[str, dict[tuple[int, ...], str]] = {}
    for path, stat in open_objects(root).contents(root).items():
        *folders, file = path.split("/")
        if file != TARGET_FILE:
            continue
        parts: list[str] = folders
        version: tuple[int, ...] = ()
        if folders and _VERSION.fullmatch(folders[-1]):
            parts, version = folders[:-1], tuple(int(digits) for digits in _DIGITS.findall(folders[-1]))
        name = _target_name("-".join(parts) or last, stat.uri)
        there = join(root, "/".join(folders)) if folders else root
        twin = versions.setdefault(name, {}).setdefault(version, there)
        if twin != there:
            raise TargetError(f"{twin} and {there}: equally new folders of target {name!r}; rename or remove one")
    if not versions:
        raise TargetError(f"{root}: no folder with a {TARGET_FILE} is below it; publish a target there first")
    return {name: found[max(found)] for name, found in versions.items()}


def _target_name(text: str, where: str) -> str:
    name = re.sub(r"[^a-z0-9_-]+", "-", text.lower()).strip("-_")
    if not _NAME.fullmatch(name):
        raise TargetError(f"{where}: no name for a target can be made of {text!r}; rename it with letters or digits")
    return name


@dataclass(frozen=True, kw_only=True)
class FoundTarget:
    """A target folder that was found."""

    location: str  # path or URI of the folder
    record: TargetRecord


def find_target_folders(place: str) -> list[FoundTarget]:
    """Return every target folder below a path or URI, by name and location; only ``target.json`` is read of each.

    Those that a store keeps behind a network, by the digests of their files, are found as well.

    Raises:
        TargetError: a ``target.json`` is damaged; the message names it.
        StorageError: the place cannot be listed, or a file not be read.
    """
    root = place.rstrip("/") if is_remote(place) else str(local_path(place))
    objects = open_objects(root)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for path, stat in _records(objects, objects.contents(root)):
            copy = Path(folder) / TARGET_FILE
            copy.write_bytes(objects.read_whole(stat, most=_MOST_BYTES))
            location = join(root, path) if path else root
            with naming(location, Path(folder)):
                found.append(FoundTarget(location=location, record=read_record(copy)))
    return sorted(found, key=lambda one: (one.record.name, one.location))


def _records(objects: ObjectStore, there: Mapping[str, ObjectStat]) -> Iterator[tuple[str, ObjectStat]]:
    """Yield the path of each target and its record: as a file, or by its digest as a store keeps it."""
    for path, stat in there.items():
        folder, _, file = path.rpartition("/")
        if file == TARGET_FILE:
            yield folder, stat
        elif file == ARTIFACT_FILE:
            *_, kind, key = ("target", *folder.split("/"))
            record = read_inventory(objects, stat, kind=kind, key=key).get(TARGET_FILE)
            if record is not None and f"{folder}/{record.sha256}" in there:
                yield folder, there[f"{folder}/{record.sha256}"]


def resolve_targets(targets: Mapping[str, str]) -> dict[str, str]:
    """Return the targets by name, read from the store if the parameter refers to them there.

    Args:
        targets: name -> location; or ``{"@": "<URI>#<SHA-256>"}``, the JSON object with as much.

    Raises:
        ConfigError: the reference or what it refers to is wrong, or changed since it was written; or a target cannot
            have its name.
        StorageError: it cannot be read.
    """
    found = resolve_mapping(targets, "targets")
    for name, word in found.items():
        check_target_name(name)
        if not isinstance(word, str):
            raise ConfigError(f"targets: {name!r} is {type(word).__name__}, not a location; give name and location")
    return found


def target_version(source: TargetSource, store: str = "") -> str:
    """Return a digest that is another one after any change of a target, of what is said of it, or of its members.

    Of objects behind a network it is taken from their listing; of what has no version, such as the artifacts of an
    MLflow run, from the content.

    Raises:
        FlprivacyError: as :func:`~flprivacy.targets.given.given_target`.
    """
    found: dict[str, Any] = {"source": str(source)}
    if source.is_mlflow:
        from flprivacy.tracking.history import model_identity  # imports MLflow: only when asked for

        found["target"] = model_identity(source.location) or given_record(source, store).digest
    elif source.is_foreign:
        found["target"] = _of_file(source.location, store)
    else:
        found["target"] = _of_folder(source.location, source, store)
    if source.members:
        found["members"] = _of_object(join(source.members, LINEAGE_FILE))
    if source.own_answers:
        found["own_answers"] = _of_object(source.own_answers)
    return digest_json(found)


def _of_file(location: str, store: str) -> list[str]:
    if not is_remote(location):
        file = existing_file(location)
        return [_of_object(str(one)) for one in (file, *(file.parent / name for name in local_files_beside(file)))]
    objects = open_objects(location)
    stat = objects.stat(location)
    beside = stats_beside(location, stat, objects, open_store(store)) if location.endswith(GRAPH_SUFFIX) else {}
    return [version_of(stat), *(version_of(beside[name]) for name in sorted(beside))]


def _of_folder(location: str, source: TargetSource, store: str) -> list[str]:
    """Return the versions of the record and of the weights that it names."""
    record = given_record(source, store)
    names = (TARGET_FILE, *sorted({model.weights for model in record.models}))
    return [_of_object(join(location, name)) for name in names]


def _of_object(location: str) -> str:
    return version_of(open_objects(location).stat(location))
