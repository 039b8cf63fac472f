"""Step ``make_cohort``: generate the phantom cohort of a plan."""

from pathlib import Path

from flprivacy.cohorts.metadata import read_meta
from flprivacy.cohorts.phantom.generate import phantom_cohort
from flprivacy.core.errors import ConfigError
from flprivacy.core.parsing import to_mapping
from flprivacy.execution.container import StepResult
from flprivacy.execution.passing import Open
from flprivacy.storage.artifact_store import deliver
from flprivacy.storage.places import open_store
from flprivacy.study.plan import Plan


def make_cohort(*, plan: Path, store: str, cohort: Open) -> StepResult:
    """Generate the phantom chest-CT cohort of a plan.

    Args:
        cohort: folder to write: ``cohort.json``, ``manifest.parquet`` and the volumes.

    Returns:
        The cohort's digest.

    Raises:
        ConfigError: the plan has no cohort to make.
    """
    config = Plan.read(plan).study.cohort
    if config is None:
        raise ConfigError(f"{plan}: no cohort to make; run the study pipeline, or privacy_audit with a cohort")

    def make(work: Path, folder: Path) -> None:
        del work  # generation takes seconds: nothing to resume
        phantom_cohort(config, folder)

    deliver(open_store(store).build("cohort", to_mapping(config), make), cohort)
    digest = read_meta(cohort).digest
    return StepResult(parameters={"Output": digest}, metadata={"cohort": {"digest": digest}})
