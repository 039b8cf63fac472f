"""Step ``plan``: resolve the configuration of a run."""

import json
import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from flprivacy.core.config import StudyConfig, TargetConfig
from flprivacy.core.errors import ConfigError
from flprivacy.core.plan import Plan
from flprivacy.presets import load_study
from flprivacy.steps.pull import target_record


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
    study = load_study(preset, overrides, digest=preset_digest)
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
    Plan(pipeline="study", command=_command("study", preset, overrides), study=study).write(out)
    return sorted(study.targets, key=lambda name: (_SLOWEST.index(study.targets[name].topology), name))


_SLOWEST = ("siloed", "federated", "central", "untrained")


def plan_audit(
    *,
    preset: str,
    overrides: Mapping[str, Any],
    cohort: str,
    targets: Mapping[str, str],
    out: Path,
    preset_digest: str = "",
) -> list[str]:
    """Write the plan of pipeline ``privacy_audit``, with an untrained baseline of every architecture.

    Args:
        preset: name of a preset or path of a YAML file; its attack, audit and protocol are used.
        overrides: nested fields to replace.
        cohort: path or URI of the cohort's folder, for the command that repeats the run.
        targets: name -> path or URI of each target's folder.
        out: plan file to write.
        preset_digest: SHA-256 that a preset given as file must have; empty: any.

    Raises:
        ConfigError: no target, a wrong name or a wrong field.
        TargetError: a target's folder is damaged.
        StorageError: a target's record cannot be read.
    """
    if not targets:
        raise ConfigError("targets is empty; give at least one as name=folder")
    base = load_study(preset, overrides, digest=preset_digest)
    architectures = sorted({target_record(uri).architecture for uri in targets.values()})
    seeds = [t for t in base.targets.values() if t.topology == "untrained"]
    pattern = seeds[0] if seeds else TargetConfig(topology="untrained")
    baselines = {f"untrained-{name}".lower(): replace(pattern, architecture=name) for name in architectures}
    study = StudyConfig(name=base.name, protocol=base.protocol, targets=baselines, attack=base.attack, audit=base.audit)
    given = [f"--cohort {shlex.quote(cohort)}", *(f"--target {shlex.quote(f'{k}={v}')}" for k, v in targets.items())]
    command = " ".join([_command("privacy_audit", preset, overrides), *given])
    Plan(pipeline="privacy_audit", command=command, study=study, sources=dict(targets)).write(out)
    return sorted(targets)


def plan_baselines(*, plan: Path) -> list[str]:
    """Return the names of the untrained baselines of an audit's plan."""
    return sorted(Plan.read(plan).study.targets)


def _command(pipeline: str, preset: str, overrides: Mapping[str, Any]) -> str:
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
