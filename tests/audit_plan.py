"""The plan of an audit of given data, for the tests of steps that read one."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from flprivacy.attacks.config import AttackConfig
from flprivacy.study.config import StudyConfig
from flprivacy.study.plan import Plan
from flprivacy.training.config import TargetConfig


def audit_plan(
    path: Path,
    *,
    cohort: str = "",
    sources: Mapping[str, str] | None = None,
    fractions: Sequence[float] = (1.0,),
    seeds: Sequence[int] = (0,),
) -> Path:
    """Write the plan of a cohort and targets at these locations and return its path; without fractions all is read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    study = StudyConfig(
        name="audit",
        targets={"untrained": TargetConfig(topology="untrained")},
        attack=AttackConfig(fractions=tuple(fractions), seeds=tuple(seeds)),
    )
    Plan(pipeline="privacy_audit", command="", study=study, cohort=cohort, sources=dict(sources or {})).write(path)
    return path
