"""Step ``resolve_cohort``: which cohort is behind a location now."""

from flprivacy.cohorts.remote import look_at_cohort


def resolve_cohort(*, cohort: str) -> str:
    """Return a digest of what is behind a cohort's location, without reading a volume.

    It changes whenever any object of the cohort does, so that a cached pull is used only while nothing changed.

    Raises:
        CohortError: metadata or manifest break the format's rules.
        StorageError: an object is missing or cannot be read.
    """
    return look_at_cohort(cohort).version
