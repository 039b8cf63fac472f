"""The plan of one run: the resolved configuration that all of its steps read."""

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from flprivacy.core.errors import ConfigError
from flprivacy.core.json_record import JsonRecord
from flprivacy.core.target_source import CUSTOM
from flprivacy.core.vocabulary import PRETRAINED
from flprivacy.privacy.config import without_noise_seeds
from flprivacy.study.config import StudyConfig
from flprivacy.training.config import TargetConfig


@dataclass(frozen=True, kw_only=True)
class Plan(JsonRecord):
    """What a run will do."""

    _kind, _step, _error = "a plan", "plan", ConfigError

    pipeline: str  # ``study`` or ``privacy_audit``
    command: str  # the command line that repeats the run
    study: StudyConfig  # the whole configuration, defaults filled in
    cohort: str = ""  # folder or URI of the given cohort, empty where one is made
    # name -> folder or URI of each given target, with facts about it
    sources: dict[str, str] = field(default_factory=dict)


def given_study(base: StudyConfig, architectures: Mapping[str, str], targets: Mapping[str, str]) -> StudyConfig:
    """Return the configuration of an audit of given targets: of a preset all but the cohort and what it trains.

    In place of that come the baselines: fresh weights for every architecture and for every network of the user's own,
    and the preset's pretrained ones.
    """
    untrained = [t for t in base.targets.values() if t.topology == "untrained"]
    pattern = replace(untrained[0] if untrained else TargetConfig(topology="untrained"), weights="")
    found: dict[str, TargetConfig] = {}
    for target, architecture in sorted(architectures.items()):
        own = architecture == CUSTOM
        name = own_baseline(target if own else architecture)
        found[name] = replace(pattern, architecture=architecture, weights=targets[target] if own else "")
    pretrained = {
        name: config
        for name, config in base.targets.items()
        if config.topology == PRETRAINED and config.architecture in architectures.values()
    }
    return replace(base, cohort=None, targets={**found, **pretrained})


def own_baseline(name: str) -> str:
    """Return the name of the fresh weights of an architecture, or of a target whose network is the user's own."""
    return f"untrained-{name}".lower()


def repeat_command(pipeline: str, preset: str, overrides: Mapping[str, Any]) -> str:
    """Return the command line that repeats a run, without seeds of noise: it is shown to more people than may know."""
    words = ["flprivacy", "run", pipeline, "--preset", preset]
    for path, value in _leaves(without_noise_seeds(overrides)):
        words += ["--set", f"{path}={json.dumps(value)}"]
    return shlex.join(words)


def _leaves(mapping: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    leaves: list[tuple[str, Any]] = []
    for key, value in mapping.items():
        path = f"{prefix}{key}"
        leaves += _leaves(value, f"{path}.") if isinstance(value, Mapping) else [(path, value)]
    return leaves
