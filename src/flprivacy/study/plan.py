"""The plan of one run: the resolved configuration that all of its steps read."""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from flprivacy.core.attributes import BY_NAME
from flprivacy.core.errors import ConfigError
from flprivacy.core.parsing import JsonRecord
from flprivacy.core.parts import deal
from flprivacy.core.target_source import CUSTOM, UNKNOWN
from flprivacy.core.vocabulary import PRETRAINED
from flprivacy.privacy.config import without_noise_seeds
from flprivacy.storage.places import is_shared
from flprivacy.study.config import StudyConfig
from flprivacy.training.config import TargetConfig

MOST_RESULTS = 500  # which one step reads and evaluates
MOST_PARTS = 6  # pods that share the targets of a run, and so work at the same time; of more its pages would not tell
GENERATOR_PIPELINE = "train_generator"


@dataclass(frozen=True, kw_only=True)
class Plan(JsonRecord):
    """What a run will do."""

    _kind, _step, _error = "a plan", "plan", ConfigError

    pipeline: str  # ``study``, ``privacy_audit`` or ``train_generator``
    command: str  # the command line that repeats the run
    study: StudyConfig  # the whole configuration, defaults filled in
    cohort: str = ""  # folder or URI of the given cohort, empty where one is made
    # name -> folder or URI of each given target, with facts about it
    sources: dict[str, str] = field(default_factory=dict)
    # name -> how each given target was trained of which references are asked for, and why others have none
    recipes: dict[str, TargetConfig] = field(default_factory=dict)
    lacking_recipes: dict[str, str] = field(default_factory=dict)

    @property
    def trains_on_given(self) -> bool:
        """Whether something is trained on the given cohort, and all of its volumes are needed."""
        return bool(self.recipes) or self.pipeline == GENERATOR_PIPELINE


def check_can_work(study: StudyConfig, *, preset: str, trains: bool) -> None:
    """Refuse at once what only the last steps would refuse, after all training and attacks.

    Args:
        study: the configuration.
        preset: where it comes from, for messages.
        trains: whether a cohort is made and the targets trained, their baselines among them; an audit of given
            targets has its own cohort, and adds its baselines.

    Raises:
        ConfigError: fewer than two attacker seeds or initialisations of fresh weights, a policy that decides at a
            fraction which is not attacked, no cohort, or an architecture without an ``untrained`` target.
    """
    attack, where = study.attack, f"preset {preset!r}"
    if len(attack.seeds) < 2:
        raise ConfigError(
            f"{where}: attack.seeds is {list(attack.seeds)}; an interval needs at least 2 attacker seeds, give 5"
        )
    for name, rule in study.audit.policy.rules.items():
        asked = BY_NAME[name].asked_as in attack.attributes
        if asked and rule.fraction is not None and rule.fraction not in attack.fractions:
            raise ConfigError(
                f"{where}: audit.policy.rules.{name}.fraction is {rule.fraction:g}, which is not among "
                f"attack.fractions {list(attack.fractions)}; attack with it or change the rule"
            )
    if trains and study.cohort is None:
        raise ConfigError(f"{where}: no cohort to make; add a 'cohort' section or run privacy_audit on your own")
    untrained = [target for target in study.targets.values() if target.topology == "untrained"]
    for name, target in study.targets.items():
        if target.topology == "untrained" and target.initialisations < 2:
            raise ConfigError(
                f"{where}: targets.{name}.initialisations is 1; fresh weights vary at random, give at least 2 (10 are "
                "better)"
            )
        if trains and target.architecture not in {one.architecture for one in untrained}:
            raise ConfigError(
                f"{where}: architecture {target.architecture!r} has no untrained target to compare with; add one with "
                "topology 'untrained'"
            )


def check_trains_generator(study: StudyConfig, *, preset: str) -> None:
    """Refuse with a ConfigError a configuration without a generator, where one is to be trained."""
    if study.generator is None:
        raise ConfigError(f"preset {preset!r}: no generator to train; add a 'generator' section, or choose demo")


def parts_of(names: Sequence[str], *, without_baselines: int, store: str) -> list[str]:
    """Return a run's targets and what else its loop goes through in parts for a pod each.

    Where pods are paid for, and Kubernetes stores what they are, baselines share those of targets and reference models.
    On this machine, which does two parts at a time, each name is a part.

    Args:
        names: what takes longest first.
        without_baselines: how many targets and reference models are among them.
        store: location of the run's store; other machines see that of a cluster.
    """
    return deal(names, min(MOST_PARTS, without_baselines) if is_shared(store) else len(names))


def check_number(targets: int, references: int = 0) -> None:
    """Refuse with a ConfigError more targets, baselines included, and reference models than one run evaluates."""
    more = f" and {references} reference models" if references else ""
    if targets + references > MOST_RESULTS:
        raise ConfigError(
            f"{targets} targets and baselines{more}: a run takes {MOST_RESULTS} in all; split the targets over several "
            "runs"
        )


def given_study(base: StudyConfig, architectures: Mapping[str, str], targets: Mapping[str, str]) -> StudyConfig:
    """Return the configuration of an audit of given targets: of a preset all but the cohort and what it trains.

    In place of that come the baselines: fresh weights for every architecture and for every network of the user's own,
    and the preset's pretrained ones.
    """
    untrained = [t for t in base.targets.values() if t.topology == "untrained"]
    pattern = replace(untrained[0] if untrained else TargetConfig(topology="untrained"), weights="")
    found: dict[str, TargetConfig] = {}
    for target, architecture in sorted(architectures.items()):
        if architecture == UNKNOWN:  # answers alone, without those of an untrained twin
            continue
        own = architecture == CUSTOM
        name = own_baseline(target if own else architecture)
        found[name] = replace(pattern, architecture=architecture, weights=targets[target] if own else "")
    if not found:  # no target has a baseline of its own: another network's fresh weights show what any would tell
        found[own_baseline(pattern.architecture)] = pattern
    pretrained = {
        name: config
        for name, config in base.targets.items()
        if config.topology == PRETRAINED and config.architecture in architectures.values()
    }
    # What a preset says of targets that it trains itself is not meant for a given one of the same name.
    asked = base.membership
    membership = replace(
        asked,
        references_of={name: n for name, n in asked.references_of.items() if name not in base.targets},
        site_references_of={name: n for name, n in asked.site_references_of.items() if name not in base.targets},
    )
    return replace(base, cohort=None, targets={**found, **pretrained}, membership=membership)


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
    for key, value in sorted(mapping.items()):  # KFP hands them over in any order, and the command is part of keys
        path = f"{prefix}{key}"
        leaves += _leaves(value, f"{path}.") if isinstance(value, Mapping) else [(path, value)]
    return leaves
