"""Step ``plan_study``: resolve the configuration of a study."""

from pathlib import Path
from typing import Any

from flprivacy.core.errors import ConfigError
from flprivacy.core.vocabulary import PRETRAINED
from flprivacy.presets import load_preset
from flprivacy.storage.parameters import resolve_mapping
from flprivacy.study.plan import Plan, repeat_command

_SLOWEST = ("siloed", "federated", "central", "untrained", PRETRAINED)


def plan_study(*, preset: str, overrides: dict[str, Any], plan: Path, preset_digest: str = "") -> list[str]:
    """Resolve the configuration of a study and check it before anything expensive starts.

    Args:
        preset: name of a preset (demo, paper) or path of a YAML file.
        plan: file to write: the resolved configuration, which all later steps read.

    Returns:
        Names of the targets to train, slowest first.

    Raises:
        ConfigError: a wrong preset or field, or no ``untrained`` baseline for some architecture.
    """
    overrides = resolve_mapping(overrides, "overrides")
    study = load_preset(preset, overrides, digest=preset_digest).study
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
    Plan(pipeline="study", command=repeat_command("study", preset, overrides), study=study).write(plan)
    return sorted(study.targets, key=lambda name: (_SLOWEST.index(study.targets[name].topology), name))
