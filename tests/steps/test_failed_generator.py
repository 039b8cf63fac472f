"""A study whose generator diverges: the targets that need its scans fail with it, and the others do not."""

import json
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest

from flprivacy.core.audit import GENERATOR, TargetFailure
from flprivacy.core.cohort import Cohort
from flprivacy.core.errors import AuditError, StorageError, TrainingError
from flprivacy.execution.isolation import GENERATOR_FAILURE_FILE, read_generator_failure
from flprivacy.steps.evaluate_generator import evaluate_generator
from flprivacy.steps.synthesize_cohort import synthesize_cohort
from flprivacy.steps.train_generator import train_generator
from flprivacy.steps.train_target import train_target
from flprivacy.study.config import StudyConfig
from flprivacy.study.plan import GENERATOR_PIPELINE, Plan
from flprivacy.synthesis import train
from flprivacy.synthesis.config import GeneratorConfig
from flprivacy.targets.folder import read_target
from flprivacy.training.config import SyntheticConfig, TargetConfig

REASON = "step 1: a loss is no longer finite; lower the learning rates"
PLAIN = TargetConfig(topology="central", architecture="tiny", epochs=1, batch_size=8)
STUDY = StudyConfig(
    name="x",
    targets={"plain": PLAIN, "mixed": replace(PLAIN, synthetic=SyntheticConfig(multiple=1.0))},
    generator=GeneratorConfig(latent=4, width=4, steps=1, batch_size=4),
)


pytestmark = pytest.mark.usefixtures("tiny_architecture")


def plan_of(folder: Path, pipeline: str = "study") -> Path:
    Plan(pipeline=pipeline, command="", study=STUDY).write(folder / "plan.json")
    return folder / "plan.json"


def broken(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def raised(*_: object, **__: object) -> NoReturn:
        raise error

    monkeypatch.setattr(train, "train_generator", raised)


def trained(tmp_path: Path, scans: Cohort, plan: Path) -> Path:
    train_generator(plan=plan, cohort=scans.folder, store=str(tmp_path / "store"), generator=tmp_path / "generator")
    return tmp_path / "generator"


def test_from_a_generator_that_diverged_to_the_targets_that_need_it(
    scans: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken(monkeypatch, TrainingError(REASON))
    plan, store = plan_of(tmp_path), str(tmp_path / "store")
    generator, synthetic, audit = trained(tmp_path, scans, plan), tmp_path / "synthetic", tmp_path / "audit"
    synthesize_cohort(plan=plan, cohort=scans.folder, generator=generator, store=store, synthetic=synthetic)
    evaluate_generator(
        plan=plan, cohort=scans.folder, generator=generator, synthetic=synthetic, store=store, generator_audit=audit,
        page=tmp_path / "page.html",
    )  # fmt: skip
    for folder in (generator, synthetic, audit):
        assert [file.name for file in folder.iterdir()] == [GENERATOR_FAILURE_FILE]
        assert read_generator_failure(folder) == TargetFailure(
            target=GENERATOR, step="train_generator", reason=REASON, role=GENERATOR
        )
    assert REASON in (tmp_path / "page.html").read_text()
    arguments = {"plan": plan, "cohort": scans.folder, "store": store, "synthetic": synthetic}
    with pytest.raises(TrainingError, match=f"no synthetic scans for it, as train_generator failed: {REASON}"):
        train_target(target_name="mixed", target=tmp_path / "mixed", **arguments)  # type: ignore[arg-type]
    train_target(target_name="plain", target=tmp_path / "plain", **arguments)  # type: ignore[arg-type]
    assert read_target(tmp_path / "plain").synthetic_share == 0.0


def test_where_the_generator_is_all_there_is_its_failure_ends_the_run(
    scans: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken(monkeypatch, TrainingError(REASON))
    with pytest.raises(TrainingError, match=REASON):
        trained(tmp_path, scans, plan_of(tmp_path, GENERATOR_PIPELINE))
    assert not (tmp_path / "generator").exists()


def test_what_may_pass_is_recorded_as_such(scans: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken(monkeypatch, StorageError("s3://m: no answer"))
    failure = read_generator_failure(trained(tmp_path, scans, plan_of(tmp_path)))
    assert failure is not None
    assert failure.transient


def test_a_check_that_cannot_be_made_is_the_generators_failure_and_not_the_studys(
    scans: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flprivacy.steps import evaluate_generator as step

    def raised(*_: object) -> NoReturn:
        raise AuditError("4 patients are too few")

    monkeypatch.setattr(step, "_checked", raised)
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "x").write_text("")
    evaluate_generator(
        plan=plan_of(tmp_path), cohort=scans.folder, generator=tmp_path / "made", synthetic=tmp_path / "made",
        store=str(tmp_path / "store"), generator_audit=tmp_path / "audit", page=tmp_path / "page.html",
    )  # fmt: skip
    failure = json.loads((tmp_path / "audit" / GENERATOR_FAILURE_FILE).read_text())
    assert (failure["step"], failure["reason"]) == ("evaluate_generator", "4 patients are too few")


def test_a_learning_rate_that_is_far_too_high_is_told_as_what_it_is(scans: Cohort, tmp_path: Path) -> None:
    """Not as a defect of a library, which meets what is no longer finite first."""
    wild = GeneratorConfig(
        latent=4, width=4, steps=20, batch_size=4, augment=(), r1_weight=0.0,
        generator_learning_rate=1e20, discriminator_learning_rate=1e20,
    )  # fmt: skip
    Plan(pipeline="study", command="", study=replace(STUDY, generator=wild)).write(tmp_path / "plan.json")
    failure = read_generator_failure(trained(tmp_path, scans, tmp_path / "plan.json"))
    assert failure is not None
    assert not failure.transient
    assert failure.reason.startswith("training diverged: weights of the discriminator are no longer finite")
    assert "lower them or raise r1_weight; the last good checkpoint is kept" in failure.reason
