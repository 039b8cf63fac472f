"""Whole configurations by name, or from a file of your own."""

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from flprivacy.core.config import StudyConfig
from flprivacy.core.digests import digest_bytes
from flprivacy.core.errors import ConfigError
from flprivacy.core.parsing import from_mapping


def preset_names() -> list[str]:
    """Return the names of the presets that come with flprivacy."""
    files = resources.files(__name__).iterdir()
    return sorted(f.name.removesuffix(".yaml") for f in files if f.name.endswith(".yaml"))


def load_study(preset: str, overrides: Mapping[str, Any] | None = None, *, digest: str = "") -> StudyConfig:
    """Return the study of a preset's name or of a YAML file's path, with some fields replaced.

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
    return from_mapping(StudyConfig, merged, where)


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
