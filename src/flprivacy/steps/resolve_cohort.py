"""Step ``resolve_cohort``: which cohort is behind a location now, and which exposures the plan asks for."""

from pathlib import Path

from flprivacy.cohorts.remote import find_cohort
from flprivacy.execution.container import StepResult
from flprivacy.study.plan import Plan


def resolve_cohort(*, location: str, plan: Path) -> StepResult:
    """Say what an audit will pull: which cohort is behind a location now (only cohort.json is read); never cached.

    Args:
        location: folder of the cohort: a path, or a URI that starts with file://, s3:// or gs://.
        plan: the run's resolved configuration.

    Returns:
        ``resolved``: a digest that changes whenever the metadata, the manifest or any volume file there does;
        ``fractions`` and ``seeds``: exposed fractions and attacker seeds of the plan's attacks.

    Raises:
        CohortError: the metadata break the format's rules.
        StorageError: an object is missing or cannot be read.
    """
    attack = Plan.read(plan).study.attack
    resolved = find_cohort(location).version
    return StepResult(
        parameters={"resolved": resolved, "fractions": list(attack.fractions), "seeds": list(attack.seeds)}
    )
