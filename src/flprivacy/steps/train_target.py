"""Step ``train_target``: train one target of a plan."""

from pathlib import Path

from flprivacy.cohorts.format import open_cohort
from flprivacy.cohorts.metadata import read_meta
from flprivacy.core.errors import ConfigError
from flprivacy.core.parsing import to_mapping
from flprivacy.core.target import TargetRecord
from flprivacy.storage.artifact_store import deliver
from flprivacy.storage.places import open_store
from flprivacy.study.plan import Plan
from flprivacy.targets.folder import read_target
from flprivacy.training.given_baseline import make_baseline


def train_target(*, plan: Path, cohort: Path, target_name: str, store: str, out: Path) -> TargetRecord:
    """Put the trained target, or the baseline that needs no training, at ``out`` and return its record.

    Raises:
        ConfigError: the plan has no target of that name.
        TargetError: the weights of a baseline cannot be used.
    """
    study = Plan.read(plan).study
    if target_name not in study.targets:
        raise ConfigError(f"target {target_name!r} is not in the plan; it has {', '.join(sorted(study.targets))}")
    config = study.targets[target_name]
    meta = read_meta(cohort)
    if config.weights:
        return make_baseline(target_name, config, meta, protocol=study.protocol, store=store, out=out)
    inputs = {
        "name": target_name,
        "config": {k: v for k, v in to_mapping(config).items() if v is not None},
        "cohort": meta.digest,
        "protocol": study.protocol,
    }

    def make(work: Path, folder: Path) -> None:
        from flprivacy.training.train import train_target as train  # imports Keras: only when there is work

        train(target_name, config, open_cohort(cohort), protocol=study.protocol, work=work, out=folder)

    deliver(open_store(store).build("target", inputs, make), out)
    return read_target(out)
