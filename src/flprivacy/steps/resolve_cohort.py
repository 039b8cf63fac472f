"""Step ``resolve_cohort``: which cohort is behind the plan's location now."""

from pathlib import Path

from flprivacy.cohorts.remote import find_cohort
from flprivacy.study.plan import Plan


def resolve_cohort(*, plan: Path) -> str:
    """Say which cohort an audit will pull: only cohort.json is read; never cached.

    Args:
        plan: the run's resolved configuration, with the cohort's location.

    Returns:
        A digest that changes whenever the metadata, the manifest or any volume file there does.

    Raises:
        CohortError: the metadata break the format's rules.
        StorageError: an object is missing or cannot be read.
    """
    return find_cohort(Plan.read(plan).cohort).version
