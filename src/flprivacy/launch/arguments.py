"""From words on the command line to a pipeline's parameters."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from flprivacy.core.digests import digest_file
from flprivacy.core.errors import ConfigError
from flprivacy.core.target_source import parse_source
from flprivacy.launch.targets import target_source
from flprivacy.presets import preset_names, resolve_preset
from flprivacy.storage.parameters import digest_in
from flprivacy.storage.uris import is_remote, local_path


def overrides(changes: Sequence[str]) -> dict[str, Any]:
    """Return ``("cohort.scans=400",)`` as ``{"cohort": {"scans": 400}}``; values are YAML.

    Raises:
        ConfigError: a word without ``=``, or a value that is not YAML.
    """
    fields: dict[str, Any] = {}
    for change in changes:
        path, mark, text = change.partition("=")
        if not mark or not all(path.split(".")):
            raise ConfigError(f"--set {change!r}: write it as field=value, such as cohort.scans=400")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ConfigError(f"--set {change!r}: {text!r} is not a YAML value; quote it") from error
        *parents, leaf = path.split(".")
        inner = fields
        for name in parents:
            inner = inner.setdefault(name, {})
        inner[leaf] = value
    return fields


def study_arguments(preset: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of pipeline ``study``; refuses a wrong configuration before anything starts."""
    resolve_preset(preset, fields, digest=digest_in(preset) if "://" in preset else "")
    return {"preset": _absolute(preset), "overrides": _without_nulls(fields), "preset_digest": _preset_digest(preset)}


def audit_arguments(
    preset: str, fields: Mapping[str, Any], cohort: str | None, targets: Sequence[str]
) -> dict[str, Any]:
    """Return the parameters of pipeline ``privacy_audit``.

    Raises:
        ConfigError: no cohort, no target, or a target that is not ``name=location``, or has wrong facts.
        StorageError: a URI of a kind that is not supported.
    """
    resolve_preset(preset, fields, digest=digest_in(preset) if "://" in preset else "")
    if not cohort or not targets:
        raise ConfigError("privacy_audit needs --cohort FOLDER and at least one --target NAME=LOCATION")
    return {
        "cohort": _location(cohort),
        "targets": _named(targets),
        "preset": _absolute(preset),
        "overrides": _without_nulls(fields),
        "preset_digest": _preset_digest(preset),
    }


def re_audit_arguments(
    preset: str, fields: Mapping[str, Any], cohort: str | None, targets: Sequence[str], targets_from: Sequence[str]
) -> dict[str, Any]:
    """Return the parameters of pipeline ``re_audit``.

    Raises:
        ConfigError: no cohort, nothing to audit, or a target that is not ``name=location``, or has wrong facts.
        StorageError: a URI of a kind that is not supported.
    """
    resolve_preset(preset, fields, digest=digest_in(preset) if "://" in preset else "")
    if not cohort or not (targets or targets_from):
        raise ConfigError("re_audit needs --cohort FOLDER and at least one --targets-from LOCATION or --target")
    return {
        "cohort": _location(cohort),
        "targets": _named(targets),
        "targets_from": [word if parse_source(word).is_mlflow else _location(word) for word in targets_from],
        "preset": _absolute(preset),
        "overrides": _without_nulls(fields),
        "preset_digest": _preset_digest(preset),
    }


def _named(targets: Sequence[str]) -> dict[str, str]:
    named: dict[str, str] = {}
    for word in targets:
        name, mark, folder = word.partition("=")
        if not mark or not name or not folder:
            raise ConfigError(f"--target {word!r}: write it as name=folder, name=file or name=URI")
        if name in named:
            raise ConfigError(f"--target {name!r} is given twice; give every target its own name")
        named[name] = str(target_source(folder))
    return named


def _location(word: str) -> str:
    """Return a URI as it is, and a path as one that means the same from any folder."""
    return word if is_remote(word) else str(local_path(word))


def _without_nulls(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Write a null as the text "null": kfp refuses a null inside a parameter, and presets read both alike."""
    return {
        name: _without_nulls(value) if isinstance(value, Mapping) else "null" if value is None else value
        for name, value in fields.items()
    }


def _absolute(preset: str) -> str:
    return preset if preset in preset_names() or "://" in preset else str(Path(preset).absolute())


def _preset_digest(preset: str) -> str:
    """Return the SHA-256 that a preset given as file must have; of one in the store, its name holds it."""
    if preset in preset_names():
        return ""
    return digest_in(preset) if "://" in preset else digest_file(Path(preset))
