"""Whole configurations by name, or from a file of your own."""

import tempfile
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from flprivacy.core.digests import digest_bytes
from flprivacy.core.errors import ConfigError
from flprivacy.core.parsing import from_mapping
from flprivacy.storage.parameters import read_object, resolve_mapping
from flprivacy.study.config import DpCheckConfig, Preset, StudyConfig


def preset_names() -> list[str]:
    """Return the names of the presets that come with flprivacy."""
    files = resources.files(__name__).iterdir()
    return sorted(f.name.removesuffix(".yaml") for f in files if f.name.endswith(".yaml"))


def load_preset(preset: str, overrides: Mapping[str, Any] | None = None, *, digest: str = "") -> Preset:
    """Return the preset of a name or of a YAML file's path, with some fields replaced.

    Args:
        preset: ``demo``, ``paper`` ... or the path of a YAML file.
        overrides: nested fields to replace, such as ``{"cohort": {"scans": 400}}``; a target set to null is
            removed (or to the text "null": pipeline parameters cannot hold a null).
        digest: SHA-256 that the file must have; empty: any.

    Raises:
        ConfigError: no such preset or file, a file that is not YAML, or a wrong field.
    """
    text, where = _read(preset)
    if digest and digest_bytes(text.encode()) != digest:
        raise ConfigError(f"{where}: changed since the run was started (its digest differs); start the run again")
    try:
        mapping = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{where}: not YAML ({str(error).splitlines()[0]}); mend the file") from error
    if not isinstance(mapping, dict):
        raise ConfigError(f"{where}: holds no fields; see presets/demo.yaml for an example")
    merged = _merge({"name": Path(preset).stem} | mapping, overrides or {})
    targets = merged.get("targets")
    if isinstance(targets, dict):
        merged["targets"] = {k: v for k, v in targets.items() if v not in (None, "null")}
    check = from_mapping(DpCheckConfig, merged.pop("dp_check", {}), f"{where}.dp_check")
    _refuse_flags(merged, where)
    return Preset(study=from_mapping(StudyConfig, merged, where), dp_check=check)


def _refuse_flags(merged: Mapping[str, Any], where: str) -> None:
    """Refuse a field that is no longer one.

    Raises:
        ConfigError: the policy says whether a run fails.
    """
    audit = merged.get("audit")
    policy = audit.get("policy") if isinstance(audit, Mapping) else None
    if isinstance(policy, Mapping) and "fail_on_leak" in policy:
        raise ConfigError(
            f"{where}.audit.policy: 'fail_on_leak' is not part of a policy; remove it, and give the run "
            "--fail-on-leak (parameter fail_on_leak) instead"
        )


def resolve_preset(preset: str, overrides: Mapping[str, Any], *, digest: str = "") -> Preset:
    """Return the configuration of a run, whose preset or fields may lie in the store.

    Args:
        preset: name of a preset, path of a YAML file, or URI of one, whose ``digest`` is then needed.
        overrides: nested fields to replace, or a reference to them.
        digest: SHA-256 that a preset given as file must have; empty: any.

    Raises:
        ConfigError: no such preset, a wrong field, or a file that changed.
        StorageError: an object cannot be read.
    """
    fields = resolve_mapping(overrides, "overrides")
    if "://" not in preset:
        return load_preset(preset, fields, digest=digest)
    if not digest:
        raise ConfigError(
            f"preset {preset}: its preset_digest is missing; give its SHA-256, as 'flprivacy submit' does"
        )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / preset.rpartition("/")[2]
        path.write_bytes(read_object(preset, digest))
        return load_preset(str(path), fields, digest=digest)


def is_file(preset: str) -> bool:
    """Say whether a preset is a file on this machine, not a name and not a URI elsewhere."""
    return preset not in preset_names() and "://" not in preset


def _read(preset: str) -> tuple[str, str]:
    if preset in preset_names():
        return (resources.files(__name__) / f"{preset}.yaml").read_text(), f"preset {preset}"
    path = Path(preset)
    if path.suffix not in {".yaml", ".yml"}:
        raise ConfigError(f"preset {preset!r} is unknown; choose {', '.join(preset_names())} or give a .yaml file")
    try:
        return path.read_text(), str(path)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}); give a readable YAML file") from error


def _merge(base: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, dict) and isinstance(value, Mapping) else value
    return merged
