"""Step ``plan_references``: name the reference models that a run trains."""

from pathlib import Path
from typing import Any

from flprivacy.study.plan import Plan
from flprivacy.study.references import reference_jobs


def plan_references(*, plan: Path) -> list[dict[str, Any]]:
    """Name the reference models that a run trains for attacks on membership.

    A step of its own: Kubeflow's runner on this machine goes through the only output of a step, and through no other.

    Returns:
        The target and the index of each, and what it is trained on half of. Where none is asked for, one without a
        target, for which nothing is trained: a loop of Kubeflow needs something to go through.
    """
    return reference_jobs(Plan.read(plan))
