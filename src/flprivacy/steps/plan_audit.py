"""Step ``plan_audit``: resolve the configuration of an audit of given targets."""

import shlex
from typing import Any

from flprivacy.core.errors import ConfigError
from flprivacy.core.target_source import parse_source
from flprivacy.execution.passing import Open, SharedStore
from flprivacy.execution.resources import check_resources
from flprivacy.presets import load_preset
from flprivacy.storage.parameters import resolve_mapping
from flprivacy.study.plan import Plan, check_can_work, given_study, repeat_command
from flprivacy.study.references import recipes_of
from flprivacy.targets.given import given_record
from flprivacy.targets.listing import resolve_targets


def plan_audit(
    *,
    preset: str,
    overrides: dict[str, Any],
    cohort: str,
    targets: dict[str, str],
    plan: Open,
    preset_digest: str = "",
    store: SharedStore = "",
    gpu_count: str = "0",
    train_cpu: str = "1",
    train_memory: str = "1Gi",
) -> list[str]:
    """Resolve the configuration of an audit and add an untrained baseline for every architecture.

    The preset's ``pretrained`` baselines of those architectures are kept.

    Args:
        preset: name of a preset (demo, paper) or path of a YAML file; its attack, audit and protocol are used.
        cohort: folder of the cohort: a path, or a URI that starts with file://, s3:// or gs://.
        targets: name of each target and its folder, weights file or MLflow URI, with facts about it, separated by
            commas; or a reference to an object in the store that lists them.
        plan: file to write: the resolved configuration, which all later steps read.
        gpu_count, train_cpu, train_memory: what steps that train ask of the cluster; only checked here.
        store: location of finished artifacts and checkpoints, which keeps what weights files were converted to.

    Returns:
        Names of the given targets.

    Raises:
        ConfigError: no target, a wrong name, field or quantity.
        TargetError: a target's folder is damaged, or its file cannot be used.
        StorageError: a target's record cannot be read.
    """
    check_resources(gpu_count=gpu_count, train_cpu=train_cpu, train_memory=train_memory)
    sources, changes = resolve_targets(targets), resolve_mapping(overrides, "overrides")
    if not sources:
        raise ConfigError("targets is empty; give at least one as name=folder")
    base = load_preset(preset, changes, digest=preset_digest).study
    check_can_work(base, preset=preset, trains=False)
    records = {name: given_record(parse_source(word), store) for name, word in sources.items()}
    study = given_study(base, {name: record.architecture for name, record in records.items()}, sources)
    recipes, lacking = recipes_of(records, study)
    given = [f"--cohort {shlex.quote(cohort)}", *(f"--target {shlex.quote(f'{k}={v}')}" for k, v in sources.items())]
    Plan(
        pipeline="privacy_audit",
        command=" ".join([repeat_command("privacy_audit", preset, changes), *given]),
        study=study,
        cohort=cohort,
        sources=sources,
        recipes=recipes,
        lacking_recipes=lacking,
    ).write(plan)
    return sorted(sources)
