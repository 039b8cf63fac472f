"""References from a plan to the tables of all targets: what is trained, and attacks with what came of it."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from flprivacy.attacks.config import MembershipConfig
from flprivacy.core.artifacts import MEMBERSHIP_FILE, REFERENCE_FILE
from flprivacy.core.audit import TargetFailure
from flprivacy.core.cohort import Cohort
from flprivacy.core.errors import AttackError, ConfigError
from flprivacy.core.membership import TARGET_AND_GENERATOR
from flprivacy.core.membership_scores import LINEAGE, MembershipScores
from flprivacy.core.parsing import to_mapping
from flprivacy.core.reference_scores import ReferenceJob, ReferenceScores
from flprivacy.core.target import ModelRecord, Origin, TargetRecord
from flprivacy.execution.isolation import FAILURE_FILE
from flprivacy.steps.attack_target import attack_target
from flprivacy.study.config import StudyConfig
from flprivacy.study.exposure import attack_with_references
from flprivacy.study.plan import Plan, given_study
from flprivacy.study.references import check_references, is_of_reference, recipes_of, reference_jobs
from flprivacy.study.train_reference import train_reference
from flprivacy.synthesis.config import GeneratorConfig
from flprivacy.training.config import SyntheticConfig, TargetConfig

CENTRAL = TargetConfig(topology="central", architecture="tiny", epochs=1, batch_size=8)
TARGETS = {
    "again": replace(CENTRAL, seed=3),
    "central": CENTRAL,
    "longer": replace(CENTRAL, epochs=2),
    "fresh": TargetConfig(topology="untrained", architecture="tiny"),
}


pytestmark = pytest.mark.usefixtures("tiny_architecture")


def plan_of(folder: Path, **membership: object) -> Path:
    study = StudyConfig(name="x", targets=TARGETS, membership=MembershipConfig(**membership))  # type: ignore[arg-type]
    Plan(pipeline="study", command="", study=study).write(folder / "plan.json")
    return folder / "plan.json"


def table_of(folder: Path, target: str, scans: Cohort, **facts: str) -> Path:
    """What attack_membership leaves of a target whose members are those of the training split."""
    n = len(scans.manifest)
    signals = np.random.default_rng(0).normal(size=n)
    names = {name: scans.manifest[name].to_numpy().astype(np.str_) for name in ("scan_id", "patient_id")}
    table = MembershipScores(
        target=target, target_digest="d" * 64, role="target", members_from=LINEAGE, scan_ids=names["scan_id"],
        patient_ids=names["patient_id"], sites=np.repeat("a", n), classes=np.repeat("x", n),
        models=np.repeat("model", n), members=(scans.manifest["split"] == "train").to_numpy(), signals=signals,
        scores={"loss": signals},
    )  # fmt: skip
    table = table if not facts else MembershipScores(target=target, target_digest="d" * 64, role="target", **facts)
    table.write(folder / target / MEMBERSHIP_FILE)
    return folder / target


def references_of(folder: Path, plan: Path, scans: Cohort, jobs: list[ReferenceJob]) -> tuple[Path, ...]:
    for number, job in enumerate(jobs):
        reference = folder / f"reference-{number}"
        train_reference(Plan.read(plan), scans.folder, job, store=str(folder / "store"), reference=reference)
    return tuple(folder / f"reference-{number}" for number in range(len(jobs)))


def test_targets_of_one_recipe_share_their_references_and_baselines_have_none(tmp_path: Path) -> None:
    jobs = reference_jobs(Plan.read(plan_of(tmp_path, references=2, references_of={"longer": 4})))
    assert [(job.target, job.index) for job in jobs] == [
        ("again", 0), ("again", 1), ("longer", 0), ("longer", 1), ("longer", 2), ("longer", 3),
    ]  # fmt: skip


def test_from_a_plan_to_scores_and_more_references_train_only_the_new_ones(tmp_path: Path, scans: Cohort) -> None:
    plan = plan_of(tmp_path, references_of={"central": 2})
    trained = references_of(tmp_path, plan, scans, reference_jobs(Plan.read(plan)))
    attacked = tuple(table_of(tmp_path / "attacked", name, scans) for name in ("again", "central"))
    tables, failures = attack_with_references(Plan.read(plan), scans, attacked, trained, step="evaluate")
    assert failures == []
    found = {table.target: table for table in tables}
    assert (found["again"].references, list(found["again"].scores)) == (0, ["loss"])
    assert (found["central"].references, list(found["central"].scores)) == (
        2, ["loss", "calibrated loss", "RMIA", "BaVarIA"],
    )  # fmt: skip
    store = tmp_path / "store" / "reference"
    before = {path: path.stat().st_mtime_ns for path in store.glob(f"*/{REFERENCE_FILE}")}
    more = plan_of(tmp_path, references_of={"again": 4})
    again = references_of(tmp_path, more, scans, reference_jobs(Plan.read(more)))
    after = {path: path.stat().st_mtime_ns for path in store.glob(f"*/{REFERENCE_FILE}")}
    assert (len(before), len(after)) == (2, 4)
    assert before.items() <= after.items()
    assert [ReferenceScores.read(one).index for one in again] == [0, 1, 2, 3]
    assert not list((tmp_path / "store" / "target").glob("*"))  # no weights are kept
    assert not list((tmp_path / "store" / "work").glob("*"))


def test_the_step_of_an_audit_that_attacks_targets_trains_their_references(tmp_path: Path, scans: Cohort) -> None:
    plan, store = plan_of(tmp_path, references_of={"central": 2}), str(tmp_path / "store")
    job = reference_jobs(Plan.read(plan))[1]
    assert (job.name, ReferenceJob.named(job.name)) == ("central@patients-1", job)
    assert ReferenceJob.named("central-1") is None
    out = tmp_path / "scores"
    attack_target(plan=plan, cohort=scans.folder, target_name=job.name, store=store, scores=out)
    assert (ReferenceScores.read(out).index, is_of_reference(out)) == (1, True)
    assert not is_of_reference(table_of(tmp_path / "attacked", "central", scans))


def test_without_references_nothing_is_trained_and_the_scores_stay(tmp_path: Path, scans: Cohort) -> None:
    plan = plan_of(tmp_path)
    assert reference_jobs(Plan.read(plan)) == []
    attacked = (table_of(tmp_path / "attacked", "central", scans),)
    (found,), failures = attack_with_references(Plan.read(plan), scans, attacked, (), step="evaluate")
    assert (found.target, list(found.scores), failures) == ("central", ["loss"], [])


def test_a_failed_or_missing_reference_is_its_targets_failure_alone(tmp_path: Path, scans: Cohort) -> None:
    plan = plan_of(tmp_path, references_of={"central": 2, "longer": 2})
    failure = TargetFailure(target="central", step="train_reference", reason="no two halves", transient=False)
    failed = tmp_path / "failed"
    failed.mkdir()
    (failed / FAILURE_FILE).write_text(json.dumps(to_mapping(failure)))
    names = ("again", "central", "longer")
    attacked = (
        *(table_of(tmp_path / "attacked", name, scans) for name in names),
        table_of(tmp_path / "attacked", "fresh", scans, why_not="it was trained on nobody"),
    )
    tables, failures = attack_with_references(Plan.read(plan), scans, attacked, (failed,), step="evaluate")
    found, reasons = {one.target: one for one in tables}, {one.target: one.reason for one in failures}
    assert reasons["central"] == "no two halves"
    assert "2 of 2 references of its recipe are missing" in reasons["longer"]
    assert found["again"].why_no_references == ""
    assert found["fresh"].why_not
    assert len(found) + len(reasons) == 4


def test_a_damaged_table_is_one_clear_error(tmp_path: Path, scans: Cohort) -> None:
    plan = plan_of(tmp_path, references_of={"central": 2})
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / REFERENCE_FILE).write_bytes(b"PK")
    with pytest.raises(AttackError, match=r"reference\.npz: no answers of a reference.*train it again"):
        attack_with_references(Plan.read(plan), scans, (), (damaged,), step="evaluate")


@pytest.mark.parametrize(
    ("membership", "message"),
    [
        ({"references": 3}, "references is 3; must be 0 or an even number"),
        ({"references_of": {"central": -2}}, "references_of.central is -2"),
    ],
)
def test_numbers_of_references_that_are_no_pairs_are_refused(membership: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        MembershipConfig(**membership)


def test_references_of_what_is_not_trained_are_refused() -> None:
    def study(**of: int) -> StudyConfig:
        return StudyConfig(name="x", targets=TARGETS, membership=MembershipConfig(references_of=of))

    with pytest.raises(ConfigError, match="names 'unknown', which is no target; it has again, central"):
        check_references(study(unknown=2))
    with pytest.raises(ConfigError, match=r"references_of\.fresh is 2: it was trained on nobody"):
        check_references(study(fresh=2))


def test_given_targets_are_followed_where_their_recipe_is_stated() -> None:
    base = StudyConfig(
        name="x", targets=TARGETS, membership=MembershipConfig(references=2, references_of={"central": 8})
    )
    training = {"topology": "central", "epochs": 4}
    models = (ModelRecord(name="model", weights="w.h5", sha256=""),)
    ours = TargetRecord(
        name="", role="target", topology="central", architecture="tiny", shape=(8, 32, 40), n_classes=2,
        protocol="standard", digest="", models=models, training=training,
    )  # fmt: skip
    foreign = replace(ours, origin=Origin(file="a.h5", format="", sha256=""))
    records = {
        "central": ours,
        "foreign": foreign,
        "stated": replace(foreign, training={"topology": "central", "training": training}),
        "own": replace(foreign, architecture="custom", training={"training": training}),
        "mixed": replace(ours, training=training | {"synthetic": {"multiple": 1.0}}),
    }
    study = given_study(base, dict.fromkeys(records, "tiny"), dict.fromkeys(records, ""))
    assert study.membership.of("central") == 2  # the preset's 8 were for the target that it trains itself
    recipes, lacking = recipes_of(records, study)
    assert {name: one.epochs for name, one in recipes.items()} == {"central": 4, "stated": 4}
    assert "nobody stated how it was trained (training=...)" in lacking["foreign"]
    assert "user's own" in lacking["own"]
    assert "has to train a generator as theirs was trained, which its record does not say" in lacking["mixed"]
    plan = Plan(
        pipeline="privacy_audit", command="", study=study, sources=dict.fromkeys(records, "x"), recipes=recipes,
        lacking_recipes=lacking,
    )  # fmt: skip
    assert {job.target for job in reference_jobs(plan)} == {"central"}


def test_a_target_with_synthetic_scans_is_also_attacked_by_whoever_holds_its_generator(
    tmp_path: Path, scans: Cohort
) -> None:
    with_scans = TargetConfig(topology="central", synthetic=SyntheticConfig(multiple=1.0))
    targets = {"mixed": with_scans, "central": TargetConfig(topology="central")}
    study = StudyConfig(name="x", targets=targets, generator=GeneratorConfig())
    run, attacked = Plan(pipeline="study", command="", study=study), tmp_path / "attacked"
    folders = [table_of(attacked, name, scans) for name in ("mixed", "central")]
    table = MembershipScores.read(table_of(tmp_path, "mixed", scans) / MEMBERSHIP_FILE)
    checked, mixed = tmp_path / "checked", attacked / "mixed" / MEMBERSHIP_FILE
    checked.mkdir()
    replace(table, scores=table.scores | {"population": table.signals}).write(mixed)
    replace(table, target="generator", scores={"calibrated": -table.signals}).write(checked / MEMBERSHIP_FILE)
    for generator, expected in (
        (checked, {"mixed": True, "central": False}),
        (tmp_path / "older", dict.fromkeys(targets, False)),
    ):
        found, failures = attack_with_references(run, scans, folders, (), step="evaluate", generator=generator)
        assert failures == []
        assert {one.target: TARGET_AND_GENERATOR in one.scores for one in found} == expected
    replace(
        table, target="generator", scan_ids=np.char.add(table.scan_ids, "?"), scores={"calibrated": table.signals}
    ).write(checked / MEMBERSHIP_FILE)
    (found,), (failure,) = attack_with_references(run, scans, folders, (), step="evaluate", generator=checked)
    assert (found.target, failure.target) == ("central", "mixed")
    assert "check the generator again (evaluate_generator)" in failure.reason
