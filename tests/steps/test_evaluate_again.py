"""An audit is taken from the store only if it is of these very scores."""

from pathlib import Path

import pandas as pd

from flprivacy.core.artifacts import AUDIT_FILE
from flprivacy.core.audit import Audit, TargetFailure
from flprivacy.core.parsing import to_mapping
from flprivacy.core.publish import write_json
from flprivacy.core.reference_scores import REFERENCE_STEP
from flprivacy.core.scores import CURVE_COLUMNS, ScoreTable, write_scores
from flprivacy.execution.isolation import FAILURE_FILE
from flprivacy.steps.evaluate import evaluate
from flprivacy.study.config import StudyConfig
from flprivacy.study.plan import Plan
from flprivacy.training.config import TargetConfig
from tests.auditing.score_tables import People, make_study, make_table
from tests.cohorts.tiny_cohort import write_tiny


def _site_f1(tmp_path: Path, name: str, tables: list[ScoreTable], *references: Path) -> float:
    folders = tmp_path / name, tmp_path / f"{name}-last"
    for folder, some in zip(folders, (tables[:-1], tables[-1:]), strict=True):
        folder.mkdir()
        write_scores(folder, some, pd.DataFrame(columns=list(CURVE_COLUMNS)))
    evaluate(
        plan=tmp_path / "plan.json",
        cohort=tmp_path / "cohort",
        target_scores=(*folders, *references),
        store=str(tmp_path / "store"),
        audit=tmp_path / f"audit-{name}",
    )
    audit = Audit.read(tmp_path / f"audit-{name}" / AUDIT_FILE)
    return next(
        m.value
        for m in audit.metrics
        if (m.attack.target, m.attack.attribute, m.metric) == ("central", "site", "f1_weighted")
    )


def test_other_scores_of_the_same_target_and_cohort_are_another_audit(tmp_path: Path) -> None:
    write_tiny(tmp_path / "cohort")
    targets = {"central": TargetConfig(topology="central"), "untrained": TargetConfig(topology="untrained")}
    Plan(pipeline="study", command="", study=StudyConfig(name="x", targets=targets)).write(tmp_path / "plan.json")
    people = People()
    weak, strong = (
        [
            t if t.target != "central" else make_table("central", people, signal=signal)
            for t in make_study(people=people)
        ]
        for signal in (0.5, 3.0)
    )
    before = _site_f1(tmp_path, "weak", weak)
    assert _site_f1(tmp_path, "strong", strong) > before + 0.1
    assert _site_f1(tmp_path, "weak-again", weak) == before
    assert len(list((tmp_path / "store" / "audit").iterdir())) == 2


def test_what_references_answer_may_lie_among_the_scores_and_one_that_failed_is_no_failed_target(
    tmp_path: Path,
) -> None:
    """In an audit, one loop attacks the targets and trains their references."""
    write_tiny(tmp_path / "cohort")
    targets = {"central": TargetConfig(topology="central"), "untrained": TargetConfig(topology="untrained")}
    Plan(pipeline="study", command="", study=StudyConfig(name="x", targets=targets)).write(tmp_path / "plan.json")
    failure = TargetFailure(target="central", step=REFERENCE_STEP, reason="no two halves", transient=False)
    (tmp_path / "reference").mkdir()
    write_json(tmp_path / "reference" / FAILURE_FILE, to_mapping(failure))
    strength = _site_f1(tmp_path, "scores", make_study(people=People()), tmp_path / "reference")
    assert strength > 0
    assert Audit.read(tmp_path / "audit-scores" / AUDIT_FILE).failures == ()
