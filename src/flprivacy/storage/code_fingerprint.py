"""Fingerprints of the code and libraries that an artifact depends on: a changed one never meets a stale result."""

import contextlib
import functools
import importlib.metadata
import os
from pathlib import Path

import flprivacy
from flprivacy.core.digests import digest_json

_PACKAGE = Path(flprivacy.__file__).parent
_LIBRARIES = ("jax", "jaxlib", "keras", "numpy", "scikit-learn", "scipy", "tensorflow", "tensorflow-cpu")
# Kind of artifact -> subpackages whose sources make it; "/*": their own modules, without those of subpackages.
_CODE_OF_KIND = {
    "cohort": ("core", "cohorts"),
    "target": ("core", "cohorts", "models", "privacy", "targets", "training"),
    "reference": ("core", "cohorts", "models", "privacy", "training"),
    "generator": ("core", "cohorts", "models", "privacy", "targets", "training", "synthesis/*"),
    "synthetic": ("core", "cohorts", "models", "synthesis/*"),
    "scores": ("core", "cohorts", "models", "targets", "attacks"),
    "audit": ("core", "attacks/membership", "auditing"),
    "report": ("core", "reporting"),
    "generator_audit": ("core", "cohorts", "models", "attacks", "auditing", "synthesis", "reporting"),
    "dp_check": ("core", "privacy", "training", "auditing", "reporting"),
}


def library_versions() -> dict[str, str]:
    """Return the installed version of each library that changes numbers; absent ones are left out."""
    versions = {}
    for name in _LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions


@functools.cache
def fingerprint(parts: tuple[str, ...]) -> str:
    """Return a digest of the sources of parts of flprivacy, such as ``("core", "cohorts")``, and of the libraries."""
    files: list[Path] = []
    for part in parts:
        if part.endswith("/*"):
            files += sorted((_PACKAGE / part[:-2]).glob("*.py"))
            continue
        folder = _PACKAGE / part
        files += sorted(folder.rglob("*.py")) if folder.is_dir() else [folder.with_suffix(".py")]
    sources = {str(f.relative_to(_PACKAGE)): f.read_text() for f in files}
    backend = os.environ.get("KERAS_BACKEND", "default")
    return digest_json({"sources": sources, "libraries": library_versions(), "backend": backend})


def fingerprint_of_kind(kind: str) -> str:
    """Return the fingerprint of what makes artifacts of a kind, such as ``scores``."""
    return fingerprint(_CODE_OF_KIND[kind])
