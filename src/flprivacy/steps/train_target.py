"""Step ``train_target``: train one target of a plan."""

from pathlib import Path
from typing import Any

import numpy as np

from flprivacy.cohorts.format import open_cohort
from flprivacy.cohorts.metadata import read_meta
from flprivacy.cohorts.placed import open_rows
from flprivacy.cohorts.remote import Rows
from flprivacy.core.cohort import TEST, Cohort
from flprivacy.core.errors import ConfigError, TrainingError
from flprivacy.core.parsing import to_mapping
from flprivacy.core.target import TargetRecord
from flprivacy.core.tensorflow_environment import import_keras
from flprivacy.execution.container import StepResult
from flprivacy.execution.isolation import read_generator_failure
from flprivacy.storage.artifact_store import deliver
from flprivacy.storage.places import open_store
from flprivacy.study.config import StudyConfig
from flprivacy.study.plan import Plan
from flprivacy.targets.folder import read_target
from flprivacy.targets.lineage import audited_record, private_part
from flprivacy.training.config import TargetConfig
from flprivacy.training.given_baseline import make_baseline


def train_target(
    *,
    plan: Path,
    cohort: Path,
    target_name: str,
    store: str,
    target: Path,
    synthetic: Path | None = None,
) -> StepResult:
    """Train one target: siloed, central or federated, with or without differential privacy or synthetic scans.

    Or make an untrained or pretrained baseline.

    Training saves a checkpoint in the store after each epoch or round, and resumes from it after an interruption.

    Args:
        cohort: the cohort to train on.
        target_name: name of the target in the plan.
        target: folder to write: weights, ``target.json``, and the private part that auditors keep.
        synthetic: synthetic scans of the study's generator, for targets that are trained on some.

    Returns:
        Utility on held-out patients, and epsilon where training was private.

    Raises:
        ConfigError: the plan has no target of that name.
        TargetError: the weights of a baseline cannot be used.
        TrainingError: training diverges, or the generator of its synthetic scans failed.
    """
    study = Plan.read(plan).study
    config = _config(study, target_name)
    made_with = synthetic if config.synthetic is not None else None
    if made_with is not None and (failure := read_generator_failure(made_with)) is not None:
        raise TrainingError(f"there are no synthetic scans for it, as {failure.step} failed: {failure.reason}")
    if config.weights:
        meta = read_meta(cohort)
        return _described(make_baseline(target_name, config, meta, protocol=study.protocol, store=store, out=target))
    inputs = _inputs(study, target_name, cohort, made_with)

    def make(work: Path, folder: Path) -> None:
        import_keras()
        from flprivacy.training.train import train_target as train  # imports Keras: only when there is work

        opened = open_rows(cohort, lambda found: _rows(config, found))
        added = None if made_with is None else open_cohort(made_with, synthetic=True)
        train(target_name, config, opened, protocol=study.protocol, work=work, out=folder, synthetic=added)

    deliver(open_store(store).build("target", inputs, make), target)
    record = read_target(target)
    return _described(audited_record(record, private_part(target, record)))


def is_trained(*, plan: Path, cohort: Path, target_name: str, store: str, synthetic: Path | None = None) -> bool:
    """Tell whether ``train_target`` would find the target in the store, brought here by then; arguments are its."""
    study = Plan.read(plan).study
    config = _config(study, target_name)
    if config.weights or (config.synthetic is not None and (synthetic is None or read_generator_failure(synthetic))):
        return False
    kept, made_with = open_store(store), synthetic if config.synthetic is not None else None
    return kept.bring("target", kept.key("target", _inputs(study, target_name, cohort, made_with))) is not None


def _config(study: StudyConfig, name: str) -> TargetConfig:
    if name not in study.targets:
        raise ConfigError(f"target {name!r} is not in the plan; it has {', '.join(sorted(study.targets))}")
    return study.targets[name]


def _inputs(study: StudyConfig, name: str, cohort: Path, made_with: Path | None) -> dict[str, Any]:
    """Return what a target's weights depend on."""
    inputs = {
        "name": name,
        "config": {k: v for k, v in to_mapping(study.targets[name]).items() if v is not None},
        "cohort": read_meta(cohort).digest,
        "protocol": study.protocol,
    }
    return inputs if made_with is None else inputs | {"synthetic": read_meta(made_with, synthetic=True).digest}


def _rows(config: TargetConfig, cohort: Cohort) -> Rows:
    """Return the rows whose volumes training reads: fresh weights are only tried, on the held-out ones."""
    return cohort.rows(TEST) if config.topology == "untrained" else np.arange(len(cohort.manifest))


def _described(record: TargetRecord) -> StepResult:
    facts: dict[str, Any] = {
        "digest": record.digest,
        "topology": str(record.topology),
        "architecture": record.architecture,
    }
    if record.utility is not None:
        facts |= record.utility.metrics()
    if record.epsilon is not None:
        facts |= {"epsilon": record.epsilon, "delta": record.delta}
    return StepResult(metadata={"target": facts})
