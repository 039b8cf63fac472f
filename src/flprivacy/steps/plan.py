"""Step ``plan``: resolve the configuration of a run."""

import json
import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from flprivacy.core.errors import ConfigError
from flprivacy.core.target_source import CUSTOM
from flprivacy.core.vocabulary import PRETRAINED
from flprivacy.presets import resolve_study
from flprivacy.steps.pull import target_record
from flprivacy.storage.parameters import resolve_mapping
from flprivacy.study.config import StudyConfig
from flprivacy.study.plan import Plan
from flprivacy.targets.listing import resolve_targets
from flprivacy.training.config import TargetConfig


def plan_study(*, preset: str, overrides: Mapping[str, Any], out: Path, preset_digest: str = "") -> list[str]:
    """Write the plan of pipeline ``study`` and return the names of its targets, slowest first.

    Args:
        preset: name of a preset or path of a YAML file.
        overrides: nested fields to replace.
        out: plan file to write.
        preset_digest: SHA-256 that a preset given as file must have; empty: any.

    Raises:
        ConfigError: a wrong preset or field, or no ``untrained`` baseline for some architecture.
    """
    overrides = resolve_mapping(overrides, "overrides")
    study = resolve_study(preset, overrides, digest=preset_digest)
    if study.cohort is None:
        raise ConfigError(
            f"preset {preset!r}: no cohort to make; add a 'cohort' section or run privacy_audit on your own"
        )
    bare = {t.architecture for t in study.targets.values()} - {
        t.architecture for t in study.targets.values() if t.topology == "untrained"
    }
    if bare:
        raise ConfigError(
            f"preset {preset!r}: architecture {sorted(bare)[0]!r} has no untrained target to compare with; "
            "add one with topology 'untrained'"
        )
    Plan(pipeline="study", command=repeat_command("study", preset, overrides), study=study).write(out)
    return sorted(study.targets, key=lambda name: (_SLOWEST.index(study.targets[name].topology), name))


_SLOWEST = ("siloed", "federated", "central", "untrained", PRETRAINED)


def plan_audit(
    *,
    preset: str,
    overrides: Mapping[str, Any],
    cohort: str,
    targets: Mapping[str, str],
    out: Path,
    preset_digest: str = "",
    store: str = "",
) -> list[str]:
    """Write the plan of pipeline ``privacy_audit``, with an untrained baseline of every architecture.

    The preset's ``pretrained`` baselines of those architectures are kept.

    Args:
        preset: name of a preset or path of a YAML file; its attack, audit and protocol are used.
        overrides: nested fields to replace.
        cohort: path or URI of the cohort's folder, for the command that repeats the run.
        targets: name -> target folder, weights file or MLflow URI, with what is known of it; or a reference to
            as much (:func:`~flprivacy.targets.listing.resolve_targets`).
        out: plan file to write.
        preset_digest: SHA-256 that a preset given as file must have; empty: any.
        store: the store's location, which keeps what weights files were converted to.

    Raises:
        ConfigError: no target, a wrong name or a wrong field.
        TargetError: a target's folder is damaged, or its file cannot be used.
        StorageError: a target's record cannot be read.
    """
    targets, overrides = resolve_targets(targets), resolve_mapping(overrides, "overrides")
    if not targets:
        raise ConfigError("targets is empty; give at least one as name=folder")
    base = resolve_study(preset, overrides, digest=preset_digest)
    study = audit_study(
        base, {name: target_record(word, store).architecture for name, word in targets.items()}, targets
    )
    given = [f"--cohort {shlex.quote(cohort)}", *(f"--target {shlex.quote(f'{k}={v}')}" for k, v in targets.items())]
    command = " ".join([repeat_command("privacy_audit", preset, overrides), *given])
    Plan(pipeline="privacy_audit", command=command, study=study, sources=dict(targets)).write(out)
    return sorted(targets)


def audit_study(base: StudyConfig, architectures: Mapping[str, str], targets: Mapping[str, str]) -> StudyConfig:
    """Return the configuration of an audit of given targets: a preset's attack and audit, and the baselines.

    Args:
        base: the preset.
        architectures: of each target.
        targets: where each target is.
    """
    baselines = _baselines(base, architectures, targets)
    return StudyConfig(name=base.name, protocol=base.protocol, targets=baselines, attack=base.attack, audit=base.audit)


def _baselines(
    base: StudyConfig, architectures: Mapping[str, str], targets: Mapping[str, str]
) -> dict[str, TargetConfig]:
    """Return fresh weights for every architecture, and for every network of the user's own, and pretrained ones.

    Args:
        base: the preset.
        architectures: of each target.
        targets: where each target is.
    """
    untrained = [t for t in base.targets.values() if t.topology == "untrained"]
    pattern = replace(untrained[0] if untrained else TargetConfig(topology="untrained"), weights="")
    found: dict[str, TargetConfig] = {}
    for target, architecture in sorted(architectures.items()):
        own = architecture == CUSTOM
        name = f"untrained-{target if own else architecture}".lower()
        found[name] = replace(pattern, architecture=architecture, weights=targets[target] if own else "")
    pretrained = {
        name: config
        for name, config in base.targets.items()
        if config.topology == PRETRAINED and config.architecture in architectures.values()
    }
    return {**found, **pretrained}


def plan_baselines(*, plan: Path) -> list[str]:
    """Return the names of the baselines of an audit's plan that are models."""
    return sorted(Plan.read(plan).study.targets)


def repeat_command(pipeline: str, preset: str, overrides: Mapping[str, Any]) -> str:
    """Return the command line that repeats a run."""
    words = ["flprivacy", "run", pipeline, "--preset", preset]
    for path, value in _leaves(overrides):
        words += ["--set", f"{path}={json.dumps(value)}"]
    return shlex.join(words)


def _leaves(mapping: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    leaves: list[tuple[str, Any]] = []
    for key, value in mapping.items():
        path = f"{prefix}{key}"
        leaves += _leaves(value, f"{path}.") if isinstance(value, Mapping) else [(path, value)]
    return leaves
