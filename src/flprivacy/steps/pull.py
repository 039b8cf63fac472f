"""Steps ``pull_cohort`` and ``pull_target``: bring given inputs to where the other steps read them."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from flprivacy.cohorts.format import open_cohort
from flprivacy.core.errors import ConfigError
from flprivacy.core.parsing import to_mapping
from flprivacy.core.publish import write_json
from flprivacy.core.target import TARGET_FILE, TargetRecord
from flprivacy.models.target_folder import read_target
from flprivacy.steps.places import local_path
from flprivacy.storage.store import deliver


def pull_cohort(*, cohort: str, out: Path) -> str:
    """Put the cohort at ``out`` and return its digest.

    Raises:
        CohortError: the folder is no valid cohort.
    """
    source = local_path(cohort)
    open_cohort(source)
    deliver(source, out)
    return open_cohort(out).meta.digest


def pull_target(*, targets: Mapping[str, str], target_name: str, out: Path) -> TargetRecord:
    """Put the target of that name at ``out``, under that name, and return its record.

    Raises:
        ConfigError: ``targets`` has no such name.
        TargetError: the folder is no valid target.
    """
    if target_name not in targets:
        raise ConfigError(f"target {target_name!r} is not among the given ones: {', '.join(sorted(targets))}")
    source = local_path(targets[target_name])
    record = replace(read_target(source), name=target_name)
    deliver(source, out)
    write_json(out / TARGET_FILE, to_mapping(record))
    return record
