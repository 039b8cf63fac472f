"""Which targets are published now: the newest folder of each name below a prefix, or what a registry's alias names."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from flprivacy.core.errors import ConfigError, TargetError
from flprivacy.core.target import TARGET_FILE
from flprivacy.core.target_source import parse_source
from flprivacy.storage.objects import open_objects
from flprivacy.storage.uris import is_remote, join, local_path

# 7, v7, 1.2, 2026-11-17, 20261117T0300Z, run-0012; but not model2, which is the name of a target.
_VERSION = re.compile(r"(?:(?:v|run|version|release)[-_]?)?\d+(?:[-_.:TZ+]*\d+)*Z?")
_DIGITS = re.compile(r"\d+")
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")


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
    from flprivacy.tracking.models import pinned_version  # imports MLflow: only when asked for

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
