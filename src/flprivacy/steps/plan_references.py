"""Step ``plan_references``: name the reference models that a study trains."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from flprivacy.core.reference_scores import ReferenceJob
from flprivacy.study.plan import Plan
from flprivacy.study.references import reference_jobs

# Kubeflow goes once through a loop at least: where no reference is asked for, through a step that does nothing.
NO_REFERENCE = ReferenceJob(target="", index=0)


def plan_references(*, plan: Path) -> list[dict[str, Any]]:
    """Name the reference models that a study trains for attacks on membership.

    A step of its own: Kubeflow's runner on this machine goes through the only output of a step, and through no other.
    An audit has no such step: its references are among the targets that it goes through.

    Returns:
        The target and the index of each, and what it is trained on half of. Where none is asked for, one without a
        target, for which nothing is trained.
    """
    return [asdict(job) for job in reference_jobs(Plan.read(plan)) or [NO_REFERENCE]]
