"""Which reference models a run trains, and of which recipe each is."""

from collections.abc import Mapping
from typing import Any

from flprivacy.core.errors import ConfigError
from flprivacy.core.target import TargetRecord
from flprivacy.core.target_source import CUSTOM
from flprivacy.study.config import StudyConfig
from flprivacy.study.plan import Plan, check_number
from flprivacy.training.config import TargetConfig
from flprivacy.training.recipe import OWN_NETWORK, recipe_digest, stated_recipe, why_no_recipe

_UNSTATED = "nobody stated how it was trained (training=...), so no reference can be trained as it was"
_UNKNOWN_GENERATOR = (
    "it was trained on synthetic scans, and a reference has to train a generator as theirs was trained, which its "
    "record does not say; ask for references in the study that trains it"
)
# Kubeflow goes once through a loop at least: where no reference is asked for, through a step that does nothing.
NO_TARGET = ""


def recipes_of(
    records: Mapping[str, TargetRecord], study: StudyConfig
) -> tuple[dict[str, TargetConfig], dict[str, str]]:
    """Return the recipes of given targets of which references are asked for, and why others have none.

    Raises:
        ConfigError: a target states what is no recipe, or another architecture's.
    """
    recipes: dict[str, TargetConfig] = {}
    lacking: dict[str, str] = {}
    for name, record in sorted(records.items()):
        if not study.membership.of(name) or record.role == "baseline":
            continue
        # Of a foreign file the record holds what its owner stated.
        training = record.training if record.origin is None else record.training.get("training")
        if record.architecture == CUSTOM:
            lacking[name] = OWN_NETWORK
            continue
        if not training:
            lacking[name] = _UNSTATED
            continue
        recipe = stated_recipe(training, architecture=record.architecture, where=f"target {name!r}")
        if reason := why_no_recipe(recipe):
            lacking[name] = reason
        elif recipe.synthetic is not None:
            lacking[name] = _UNKNOWN_GENERATOR
        else:
            recipes[name] = recipe
    return recipes, lacking


def check_references(study: StudyConfig) -> None:
    """Refuse references of targets that a study does not train, or cannot train twice.

    Raises:
        ConfigError: such a target is named.
    """
    for name, count in study.membership.references_of.items():
        if name not in study.targets:
            known = ", ".join(sorted(study.targets))
            raise ConfigError(f"membership.references_of names {name!r}, which is no target; it has {known}")
        if count and (reason := why_no_recipe(study.targets[name])):
            raise ConfigError(f"membership.references_of.{name} is {count}: {reason}; leave it out")


def recipe_of(plan: Plan, target: str) -> TargetConfig | None:
    """Return the recipe of a target that references are asked of; None for others."""
    if not plan.study.membership.of(target):
        return None
    config = (plan.recipes if plan.sources else plan.study.targets).get(target)
    return None if config is None or why_no_recipe(config) else config


def why_no_references(plan: Plan, target: str) -> str:
    """Return why a target has no references; empty if it has, or if nobody asked for any."""
    if not plan.study.membership.of(target) or recipe_of(plan, target) is not None:
        return ""
    if plan.sources:
        return plan.lacking_recipes.get(target, _UNSTATED)
    return why_no_recipe(plan.study.targets[target])


def reference_jobs(plan: Plan) -> list[dict[str, Any]]:
    """Return every reference to train, as ``{"target": ..., "index": ...}``; targets of one recipe share theirs.

    Raises:
        ConfigError: with the targets they are more than one run can evaluate.
    """
    jobs: dict[tuple[str, int], dict[str, Any]] = {}
    for name in sorted(plan.sources or plan.study.targets):
        config = recipe_of(plan, name)
        if config is not None:
            for index in range(plan.study.membership.of(name)):
                jobs.setdefault((recipe_digest(config), index), {"target": name, "index": index})
    check_number(len({*plan.sources, *plan.study.targets}), len(jobs), trains=not plan.sources)
    return list(jobs.values()) or [{"target": NO_TARGET, "index": 0}]
