"""Step ``make_cohort``: generate the phantom cohort of a plan."""

from pathlib import Path

from flprivacy.cohorts.metadata import read_meta
from flprivacy.cohorts.phantom.generate import phantom_cohort
from flprivacy.core.errors import ConfigError
from flprivacy.core.parsing import to_mapping
from flprivacy.storage.artifact_store import deliver
from flprivacy.storage.places import open_store
from flprivacy.study.plan import Plan


def make_cohort(*, plan: Path, store: str, out: Path) -> str:
    """Put the plan's phantom cohort at ``out`` and return its digest.

    Raises:
        ConfigError: the plan has no cohort to make.
    """
    config = Plan.read(plan).study.cohort
    if config is None:
        raise ConfigError(f"{plan}: no cohort to make; run the study pipeline, or privacy_audit with a cohort")

    def make(work: Path, folder: Path) -> None:
        del work  # generation takes seconds: nothing to resume
        phantom_cohort(config, folder)

    deliver(open_store(store).build("cohort", to_mapping(config), make), out)
    return read_meta(out).digest
