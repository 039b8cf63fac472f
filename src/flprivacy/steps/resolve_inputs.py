"""Step ``resolve_inputs``: which cohort, targets and preset are behind their locations now."""

from flprivacy.cohorts.remote import find_cohort
from flprivacy.presets import digest_now, preset_now
from flprivacy.study.given_targets import resolved_inputs
from flprivacy.study.plan import check_number
from flprivacy.targets.listing import resolve_targets


def resolve_inputs(*, cohort: str, targets: dict[str, str], preset: str = "", store: str = "") -> str:
    """Say which cohort, targets and preset a run is of; never cached, so that what follows is while they stay.

    Of a cohort only cohort.json and the list of its files are read.

    Args:
        preset: name of a preset, or where a YAML file is, of which the digest is taken here; empty: none.
        cohort: folder of the cohort: a path, or a URI that starts with file://, s3:// or gs://; empty where the run
            makes one.
        targets: name of each target and its location, with facts about it, or a reference to an object that lists them.
        store: location of finished artifacts and checkpoints.

    Returns:
        A digest that changes whenever the cohort, a target, an alias in MLflow or the preset's file does.

    Raises:
        ConfigError: a location or a fact cannot be understood, no such preset, or more targets than one run takes.
        CohortError: the cohort's metadata break the format's rules.
        StorageError: an object cannot be read.
        TrackingError: MLflow cannot be reached or has no such model.
    """
    if not cohort:
        return preset_now(preset)
    sources = resolve_targets(targets)
    check_number(len(sources))
    return resolved_inputs(find_cohort(cohort), sources, store, digest_now(preset) if preset else "")
