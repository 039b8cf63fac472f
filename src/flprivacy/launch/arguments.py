"""From words on the command line to a pipeline's parameters."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from flprivacy.core.digests import digest_file
from flprivacy.core.errors import ConfigError
from flprivacy.launch.targets import target_source
from flprivacy.presets import load_study, preset_names
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
    load_study(preset, fields)
    return {"preset": _absolute(preset), "overrides": _without_nulls(fields), "preset_digest": _preset_digest(preset)}


def audit_arguments(
    preset: str, fields: Mapping[str, Any], cohort: str | None, targets: Sequence[str]
) -> dict[str, Any]:
    """Return the parameters of pipeline ``privacy_audit``.

    Raises:
        ConfigError: no cohort, no target, or a target that is not ``name=location``, or has wrong facts.
        StorageError: a URI of a kind that is not supported.
    """
    load_study(preset, fields)
    if not cohort or not targets:
        raise ConfigError("privacy_audit needs --cohort FOLDER and at least one --target NAME=LOCATION")
    named: dict[str, str] = {}
    for word in targets:
        name, mark, folder = word.partition("=")
        if not mark or not name or not folder:
            raise ConfigError(f"--target {word!r}: write it as name=folder, name=file or name=URI")
        if name in named:
            raise ConfigError(f"--target {name!r} is given twice; give every target its own name")
        named[name] = str(target_source(folder))
    return {
        "cohort": _location(cohort),
        "targets": named,
        "preset": _absolute(preset),
        "overrides": _without_nulls(fields),
        "preset_digest": _preset_digest(preset),
    }


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
    return preset if preset in preset_names() else str(Path(preset).absolute())


def _preset_digest(preset: str) -> str:
    return "" if preset in preset_names() else digest_file(Path(preset))
