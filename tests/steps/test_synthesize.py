"""A study's generator, its scans and their checks are one step; without a generator it is none that anybody notices."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pytest

from flprivacy.cohorts.metadata import read_meta
from flprivacy.cohorts.phantom.config import PhantomConfig
from flprivacy.cohorts.phantom.generate import phantom_cohort
from flprivacy.core.artifacts import GENERATOR_AUDIT_FILE
from flprivacy.core.cohort import Cohort
from flprivacy.core.errors import AuditError, TrainingError
from flprivacy.core.events import ENVIRONMENT_VARIABLE, EventReader
from flprivacy.core.generator_audit import GeneratorAudit
from flprivacy.execution import container
from flprivacy.execution.container import run_in_container
from flprivacy.execution.isolation import GENERATOR_FAILURE_FILE, read_generator_failure
from flprivacy.execution.passing import REFERENCE_FILE
from flprivacy.steps import evaluate_generator as checks
from flprivacy.steps.evaluate_generator import evaluate_generator
from flprivacy.steps.synthesize import synthesize
from flprivacy.steps.synthesize_cohort import synthesize_cohort
from flprivacy.steps.train_generator import train_generator
from flprivacy.study.config import StudyConfig
from flprivacy.study.plan import Plan
from flprivacy.synthesis import train
from flprivacy.synthesis.config import GeneratorConfig
from flprivacy.training.config import TargetConfig
from tests.execution.test_container import task, written

PARTS = ["train_generator", "synthesize_cohort", "evaluate_generator"]
FOLDERS = ("generator", "synthetic", "generator_audit")
STUDY = StudyConfig(
    name="x",
    targets={"untrained": TargetConfig(topology="untrained")},
    generator=GeneratorConfig(latent=4, width=4, steps=2, batch_size=4, augment=()),
)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    folder = tmp_path_factory.mktemp("scans") / "cohort"
    return phantom_cohort(PhantomConfig(scans=90, sites=3, shape=(8, 32, 32), seed=1), folder, workers=1)


def planned(folder: Path, study: StudyConfig = STUDY) -> Path:
    folder.mkdir(exist_ok=True)
    Plan(pipeline="study", command="", study=study).write(folder / "plan.json")
    return folder / "plan.json"


def step(folder: Path, cohort: Cohort, study: StudyConfig = STUDY) -> dict[str, Any]:
    """Run the step as its container does on one machine; return what it told of its artifacts."""
    kinds = dict.fromkeys(FOLDERS, "system.Artifact") | {"page": "system.HTML", "metrics": "system.Metrics"}
    inputs = {"plan": planned(folder, study), "cohort": cohort.folder}
    run_in_container(synthesize, json.dumps(task(folder, {"store": str(folder / "store")}, inputs, kinds)))
    return {name: found["artifacts"][0]["metadata"] for name, found in written(folder)["artifacts"].items()}


def raising(error: Exception) -> Callable[..., NoReturn]:
    def raised(*_: object, **__: object) -> NoReturn:
        raise error

    return raised


@pytest.fixture
def seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[str]]:
    """A function that returns the names of steps in events of a kind, in order of time."""
    (tmp_path / "events").mkdir()
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, str(tmp_path / "events"))

    def names(kind: str) -> list[str]:
        found = EventReader(tmp_path / "events").read()
        return [" ".join(filter(None, (e["step"], e["detail"]))) for e in found if e["kind"] == kind]

    return names


@pytest.fixture(scope="module")
def apart(cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the three steps make, each called by itself."""
    folder = tmp_path_factory.mktemp("apart")
    given: dict[str, Any] = {"plan": planned(folder), "cohort": cohort.folder, "store": str(folder / "store")}
    generator, synthetic, audit = (folder / name for name in FOLDERS)
    train_generator(**given, generator=generator)
    synthesize_cohort(**given, generator=generator, synthetic=synthetic)
    page = folder / "page"
    evaluate_generator(**given, generator=generator, synthetic=synthetic, generator_audit=audit, page=page)
    return folder


def test_it_makes_what_the_three_steps_make_and_shows_each_by_its_name(
    cohort: Cohort, apart: Path, tmp_path: Path, seen: Callable[[str], list[str]]
) -> None:
    told = step(tmp_path, cohort)
    for name in ("generator/generator.json", "synthetic/cohort.json", f"generator_audit/{GENERATOR_AUDIT_FILE}"):
        assert (tmp_path / name).read_bytes() == (apart / name).read_bytes(), name
    assert (tmp_path / "page").read_bytes() == (apart / "page").read_bytes()
    assert told["generator"]["digest"] == told["synthetic"]["generator"]
    assert told["synthetic"]["digest"] == read_meta(tmp_path / "synthetic", synthetic=True).digest
    assert 0.0 < told["metrics"]["memorisation_p_value"] <= 1.0
    assert seen("step") == ["synthesize", *PARTS]
    assert seen("done") == [*PARTS, "synthesize"]


CHECKS = """
import sys
from pathlib import Path
from flprivacy.steps.evaluate_generator import evaluate_generator
made, cohort, out = map(Path, sys.argv[1:])
folders = {"generator": made / "generator", "synthetic": made / "synthetic", "generator_audit": out / "audit"}
evaluate_generator(plan=made / "plan.json", cohort=cohort, store=str(out / "store"), page=out / "page", **folders)
"""


def test_training_in_the_same_process_changes_nothing_about_the_checks(
    cohort: Cohort, apart: Path, tmp_path: Path
) -> None:
    """It settles TensorFlow's kernels for the rest of the process, and a killed step is carried on by another."""
    words = [sys.executable, "-c", CHECKS, str(apart), str(cohort.folder), str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    found, before = (
        GeneratorAudit.read(folder / GENERATOR_AUDIT_FILE) for folder in (tmp_path / "audit", apart / FOLDERS[2])
    )
    assert found.fidelity is not None
    assert found == before


def test_a_study_without_a_generator_is_told_of_none(
    cohort: Cohort, tmp_path: Path, seen: Callable[[str], list[str]]
) -> None:
    told = step(tmp_path, cohort, replace(STUDY, generator=None))
    assert [list((tmp_path / name).iterdir()) for name in FOLDERS] == [[], [], []]
    assert "asks for no generator" in (tmp_path / "page").read_text()
    assert not any(told.values())
    assert seen("step") == ["synthesize", "synthesize (the plan has no generator)"]
    assert not (tmp_path / "store").exists()


def test_a_generator_that_fails_is_told_in_place_of_all_that_needs_it(
    cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seen: Callable[[str], list[str]]
) -> None:
    monkeypatch.setattr(train, "train_generator", raising(TrainingError("it collapsed")))
    step(tmp_path, cohort)
    for name in FOLDERS:
        failure = read_generator_failure(tmp_path / name)
        assert failure is not None
        assert (failure.step, failure.reason) == ("train_generator", "it collapsed")
    assert "it collapsed" in (tmp_path / "page").read_text()
    assert seen("failed") == PARTS


def test_checks_that_fail_take_neither_the_generator_nor_its_scans_with_them(
    cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a backend, so that what is passed on is looked at."""
    monkeypatch.setattr(container, "_MOUNTS", {"s3://": f"{tmp_path}/s3/"})
    monkeypatch.setattr(checks, "_checked", raising(AuditError("4 patients are too few")))
    kinds = dict.fromkeys(FOLDERS, "system.Artifact") | {"page": "system.HTML", "metrics": "system.Metrics"}
    inputs = {"plan": planned(tmp_path), "cohort": cohort.folder}
    given = task(tmp_path, {"store": f"file://{tmp_path}/store"}, inputs, kinds)
    for name, found in given["outputs"]["artifacts"].items():
        found["artifacts"][0]["uri"] = f"s3://kfp/{name}"
    run_in_container(synthesize, json.dumps(given))
    made = {name: {path.name for path in (tmp_path / "s3" / "kfp" / name).iterdir()} for name in FOLDERS}
    assert made == {
        "generator": {REFERENCE_FILE},
        "synthetic": {REFERENCE_FILE, "cohort.json"},
        "generator_audit": {GENERATOR_FAILURE_FILE},
    }
    told = written(tmp_path)["artifacts"]
    facts = {name: told[name]["artifacts"][0]["metadata"] for name in ("generator", "synthetic")}
    assert all(one["digest"] and one["kept_in"] == f"file://{tmp_path}/store" for one in facts.values())
