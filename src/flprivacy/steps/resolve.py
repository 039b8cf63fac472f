"""Step ``resolve_cohort``: which cohort is behind a location now."""

from flprivacy.cohorts.remote import find_cohort


def resolve_cohort(*, cohort: str) -> str:
    """Return a digest of what is behind a cohort's location, of which only ``cohort.json`` is read.

    It changes whenever any object of the cohort does, so that a cached pull is used only while nothing changed.

    Raises:
        CohortError: the metadata break the format's rules.
        StorageError: an object is missing or cannot be read.
    """
    return find_cohort(cohort).version
