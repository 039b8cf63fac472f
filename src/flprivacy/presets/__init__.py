"""Whole configurations by name, or from a file of your own."""

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from flprivacy.core.digests import digest_bytes
from flprivacy.core.errors import ConfigError
from flprivacy.core.parsing import from_mapping
from flprivacy.storage.backends.contract import ChangedObjectError
from flprivacy.storage.parameters import digest_in, read_object
from flprivacy.study.config import DpCheckConfig, Preset, StudyConfig


def preset_names() -> list[str]:
    """Return the names of the presets that come with flprivacy."""
    files = resources.files(__name__).iterdir()
    return sorted(f.name.removesuffix(".yaml") for f in files if f.name.endswith(".yaml"))


def load_preset(preset: str, overrides: Mapping[str, Any] | None = None, *, digest: str = "") -> Preset:
    """Return the preset of a name or of a YAML file, with some fields replaced.

    Args:
        preset: ``demo``, ``paper`` ..., the path of a YAML file, or the URI of one.
        overrides: nested fields to replace, such as ``{"cohort": {"scans": 400}}``; a target set to null is
            removed (or to the text "null": pipeline parameters cannot hold a null).
        digest: SHA-256 that the file must have; empty: any.

    Raises:
        ConfigError: no such preset or file, a file that is not YAML or that changed, or a wrong field.
        StorageError: an object cannot be read.
    """
    text, where = _read(preset, digest)
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
    return Preset(study=from_mapping(StudyConfig, merged, where), dp_check=check)


def load_resolved(preset: str, overrides: Mapping[str, Any], resolved: str) -> Preset:
    """Return a preset as :func:`load_preset` does, of whatever is in its file now.

    Args:
        preset: its name, path or URI.
        overrides: nested fields to replace.
        resolved: what :func:`preset_now` returned before; empty: nothing did.

    Raises:
        ConfigError, StorageError: as of load_preset.
        ChangedObjectError: the file changed since it was resolved.
    """
    if resolved and preset_now(preset) != resolved:
        raise ChangedObjectError(f"{preset}: changed since it was resolved; run again once it is finished")
    return load_preset(preset, overrides, digest=digest_now(preset))


def preset_now(preset: str) -> str:
    """Return the digest of the YAML file that a preset is; of one that comes with flprivacy its name.

    Raises:
        ConfigError: as of :func:`digest_now`.
        StorageError: an object cannot be read.
    """
    return digest_now(preset) or preset


def digest_now(preset: str) -> str:
    """Return the SHA-256 of the YAML file that a preset is, as it is now; empty for one that comes with flprivacy.

    Raises:
        ConfigError: no such preset or file, or an object of another digest than its name says.
        StorageError: an object cannot be read.
    """
    if preset in preset_names():
        return ""
    text, _ = _read_file(preset, digest_in(preset) if "://" in preset else "")
    return digest_bytes(text.encode())


def is_file(preset: str) -> bool:
    """Say whether a preset is a file on this machine, not a name and not a URI elsewhere."""
    return preset not in preset_names() and "://" not in preset


def _read(preset: str, digest: str) -> tuple[str, str]:
    if preset in preset_names():
        return (resources.files(__name__) / f"{preset}.yaml").read_text(), f"preset {preset}"
    return _read_file(preset, digest)


def _read_file(preset: str, digest: str = "") -> tuple[str, str]:
    path = Path(preset)
    if path.suffix not in {".yaml", ".yml"}:
        raise ConfigError(f"preset {preset!r} is unknown; choose {', '.join(preset_names())} or give a .yaml file")
    try:
        return (read_object(preset, digest).decode() if "://" in preset else path.read_text()), preset
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}); give a readable YAML file") from error


def _merge(base: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, dict) and isinstance(value, Mapping) else value
    return merged
