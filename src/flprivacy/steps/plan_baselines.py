"""Step ``plan_baselines``: name the baselines of an audit's plan."""

from pathlib import Path

from flprivacy.study.plan import Plan


def plan_baselines(*, plan: Path) -> list[str]:
    """Name the baselines of an audit's plan that are models: an untrained one for every architecture of its targets.

    Returns:
        Names of the baselines to make.
    """
    return sorted(Plan.read(plan).study.targets)
