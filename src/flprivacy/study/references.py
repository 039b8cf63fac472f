"""Which reference models a run trains, and of which recipe each is."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from flprivacy.attacks.config import MembershipConfig
from flprivacy.core.artifacts import REFERENCE_FILE
from flprivacy.core.errors import AttackError, ConfigError
from flprivacy.core.reference_scores import REFERENCE_STEP, ReferenceJob, reference_key
from flprivacy.core.target import TargetRecord
from flprivacy.core.target_source import CUSTOM
from flprivacy.core.vocabulary import PATIENTS, SITES
from flprivacy.execution.isolation import read_failure
from flprivacy.study.config import StudyConfig
from flprivacy.study.plan import Plan, check_number
from flprivacy.training.config import TargetConfig
from flprivacy.training.halves import LEAST_SITES
from flprivacy.training.recipe import OWN_NETWORK, recipe_digest, stated_recipe, why_no_recipe, why_no_site_recipe

_UNSTATED = "nobody stated how it was trained (training=...), so no reference can be trained as it was"
_UNKNOWN_GENERATOR = (
    "it was trained on synthetic scans, and a reference has to train a generator as theirs was trained, which its "
    "record does not say; ask for references in the study that trains it"
)
_WHY_NOT = {PATIENTS: why_no_recipe, SITES: why_no_site_recipe}


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
        if record.role == "baseline" or not any(study.membership.of(name, drawn) for drawn in (PATIENTS, SITES)):
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
    membership = study.membership
    for field, drawn in (("references_of", PATIENTS), ("site_references_of", SITES)):
        for name, count in getattr(membership, field).items():
            if name not in study.targets:
                known = ", ".join(sorted(study.targets))
                raise ConfigError(f"membership.{field} names {name!r}, which is no target; it has {known}")
            if count and (reason := _WHY_NOT[drawn](study.targets[name])):
                raise ConfigError(f"membership.{field}.{name} is {count}: {reason}; leave it out")


def check_named(membership: MembershipConfig, targets: Iterable[str]) -> None:
    """Refuse references of targets that an audit was not given.

    Raises:
        ConfigError: such a target is named.
    """
    given = sorted(targets)
    for field in ("references_of", "site_references_of"):
        unknown = sorted(set(getattr(membership, field)) - set(given))
        if unknown:
            raise ConfigError(
                f"membership.{field} names {unknown[0]!r}, which is not among the given targets: {', '.join(given)}; "
                "correct the name, or leave it out"
            )


def check_enough_sites(plan: Plan, sites: int) -> None:
    """Refuse with a ConfigError references on halves of fewer than 4 hospitals, and more than one run can evaluate."""
    first = next((job.target for job in reference_jobs(plan) if job.drawn == SITES), None)
    if first is not None and sites < LEAST_SITES:
        raise ConfigError(
            f"membership.site_references: the cohort has {sites} site(s), and whether one took part in {first!r} takes "
            f"at least {LEAST_SITES}; ask for none (membership.site_references=0)"
        )


def recipe_of(plan: Plan, target: str, drawn: str = PATIENTS) -> TargetConfig | None:
    """Return the recipe of a target that references are asked of, on halves of ``drawn``; None for others."""
    if not plan.study.membership.of(target, drawn):
        return None
    config = (plan.recipes if plan.sources else plan.study.targets).get(target)
    return None if config is None or _WHY_NOT[drawn](config) else config


def why_no_references(plan: Plan, target: str, drawn: str = PATIENTS) -> str:
    """Return why a target has no references on halves of ``drawn``; empty if it has, or if nobody asked for any."""
    if not plan.study.membership.of(target, drawn) or recipe_of(plan, target, drawn) is not None:
        return ""
    config = (plan.recipes if plan.sources else plan.study.targets).get(target)
    return plan.lacking_recipes.get(target, _UNSTATED) if config is None else _WHY_NOT[drawn](config)


def reference_jobs(plan: Plan) -> list[ReferenceJob]:
    """Return each reference to train; targets of one recipe share theirs.

    Raises:
        ConfigError: with the targets they are more than one run can evaluate.
    """
    jobs: dict[tuple[str, str, int], ReferenceJob] = {}
    for drawn in (PATIENTS, SITES):
        for name in sorted(plan.sources or plan.study.targets):
            config = recipe_of(plan, name, drawn)
            if config is not None:
                for index in range(plan.study.membership.of(name, drawn)):
                    job = ReferenceJob(target=name, index=index, drawn=drawn)
                    jobs.setdefault((recipe_digest(config), drawn, index), job)
    check_number(len({*plan.sources, *plan.study.targets}), len(jobs))
    return list(jobs.values())


def is_of_reference(folder: Path) -> bool:
    """Tell whether a step's output is what a reference answers, or why there is none, rather than a target's scores."""
    failure = read_failure(folder)
    return (folder / REFERENCE_FILE).is_file() or (failure is not None and failure.step == REFERENCE_STEP)


def trained_references(folders: Iterable[Path]) -> dict[tuple[str, str, int], Path]:
    """Return the folders of references that were trained, by recipe, what was drawn, and number.

    Raises:
        AttackError: one is damaged.
    """
    return {reference_key(one): one for one in folders if (one / REFERENCE_FILE).is_file()}


def references_of(
    plan: Plan, target: str, recipe: str, trained: Mapping[tuple[str, str, int], Path], drawn: str = PATIENTS
) -> list[Path]:
    """Return the folders of all references that a plan asks for of a target; targets of one recipe share theirs.

    Raises:
        AttackError: one is missing.
    """
    wanted = range(plan.study.membership.of(target, drawn))
    lacking = [index for index in wanted if (recipe, drawn, index) not in trained]
    if lacking:
        kind = "site references" if drawn == SITES else "references"
        raise AttackError(
            f"target {target!r}: {len(lacking)} of {len(wanted)} {kind} of its recipe are missing, the first is "
            f"{lacking[0]}; run the audit again"
        )
    return [trained[recipe, drawn, index] for index in wanted]
