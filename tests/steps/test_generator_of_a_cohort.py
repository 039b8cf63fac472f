"""What pipeline ``train_generator`` does beside training: plans, brings the whole cohort, and ends."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from flprivacy.cohorts.format import open_cohort
from flprivacy.cohorts.phantom.config import PhantomConfig
from flprivacy.cohorts.phantom.generate import phantom_cohort
from flprivacy.core.artifacts import GENERATOR_AUDIT_FILE, PATIENTS_PAGE, REPORT_FILE
from flprivacy.core.cohort import TRAIN, Cohort
from flprivacy.core.errors import CohortError, ConfigError, PolicyError
from flprivacy.core.generator_audit import COPIES, NO_COPIES
from flprivacy.launch.local import LocalRun
from flprivacy.launch.results import show_run
from flprivacy.steps.check_generator import check_generator
from flprivacy.steps.plan_generator import plan_generator
from flprivacy.steps.resolve_inputs import resolve_inputs
from flprivacy.storage.backends.contract import ChangedObjectError
from flprivacy.study.plan import Plan
from flprivacy.synthesis.config import SynthesisConfig
from pipelines import COMPILED
from tests.cohort_builder import build_cohort, build_synthetic, cohort_meta, scan_table
from tests.generator_audits import example
from tests.services.artifact_bucket import ArtifactBucket, traces

WANTED = {"generator": {"steps": 5}, "synthesis": {"scans": 30, "sites": {"a": 1}}}


@pytest.fixture
def scans(tmp_path: Path) -> Cohort:
    return build_cohort(tmp_path / "cohort", scan_table(8), cohort_meta((3, 4, 5), "ab"))


def planned(tmp_path: Path, cohort: Path, preset: str = "quick", **changes: object) -> Plan:
    plan_generator(
        preset=preset, overrides=changes, cohort=str(cohort), plan=tmp_path / "plan.json", scans=tmp_path / "scans",
        resolved=resolve_inputs(cohort=str(cohort), targets={}), store=str(tmp_path / "store"),
    )  # fmt: skip
    return Plan.read(tmp_path / "plan.json")


def test_the_plan_names_the_command_that_repeats_it_and_the_cohort_is_brought_whole(
    scans: Cohort, tmp_path: Path
) -> None:
    run = planned(tmp_path, scans.folder, **WANTED)
    assert run.study.generator is not None
    assert (run.study.generator.steps, run.study.synthesis) == (5, SynthesisConfig(scans=30, sites={"a": 1.0}))
    assert (run.cohort, run.study.cohort, run.trains_on_given) == (str(scans.folder), None, True)
    assert run.command.startswith("flprivacy run train_generator --preset quick --set generator.steps=5")
    assert run.command.endswith(f"--cohort {scans.folder}")
    brought = open_cohort(tmp_path / "scans")
    assert (brought.meta, brought.places) == (scans.meta, None)


def test_a_preset_without_a_generator_is_refused(scans: Cohort, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="preset 'quick': no generator to train; add a 'generator' section"):
        planned(tmp_path, scans.folder)
    assert not (tmp_path / "plan.json").exists()


def test_a_synthetic_cohort_is_refused(tmp_path: Path) -> None:
    made = build_synthetic(tmp_path / "made", scan_table(8), cohort_meta((3, 4, 5), "ab"))
    with pytest.raises(CohortError, match=r"cohort\.json: holds synthetic scans"):
        planned(tmp_path, made.folder, **WANTED)


def test_a_cohort_that_changed_since_it_was_resolved_is_refused(scans: Cohort, tmp_path: Path) -> None:
    with pytest.raises(ChangedObjectError, match="changed since it was resolved"):
        plan_generator(
            preset="quick", overrides=WANTED, cohort=str(scans.folder), plan=tmp_path / "plan.json",
            scans=tmp_path / "scans", resolved="another", store=str(tmp_path / "store"),
        )  # fmt: skip


@pytest.mark.parametrize(
    ("verdict", "asked", "fails"), [(COPIES, True, True), (COPIES, False, False), (NO_COPIES, True, False)]
)
def test_copies_of_patients_fail_a_run_that_asks_for_it(tmp_path: Path, verdict: str, asked: bool, fails: bool) -> None:
    example(verdict).write(tmp_path / GENERATOR_AUDIT_FILE)
    folders = {"generator_audit": tmp_path, "generator": tmp_path, "synthetic": tmp_path}
    if fails:
        with pytest.raises(PolicyError, match="the generator copies patients: "):
            check_generator(**folders, fail_on_leak=asked)
    else:
        assert check_generator(**folders, fail_on_leak=asked) == verdict


def test_the_run_ends_with_what_may_be_handed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the generator's private part, the page with patients nor their cohort's digest is put there."""
    monkeypatch.setenv("FLPRIVACY_HOME", str(tmp_path / "home"))
    build_synthetic(tmp_path / "synthetic", scan_table(4), cohort_meta((2, 3, 4), ["a"]))
    for name in ("generator", "generator_audit"):
        (tmp_path / name / "private").mkdir(parents=True)
        (tmp_path / name / f"{name}.txt").write_text("")
        (tmp_path / name / "private" / "secret.json").write_text("")
    example(NO_COPIES).write(tmp_path / "generator_audit" / GENERATOR_AUDIT_FILE)
    for name in (PATIENTS_PAGE, REPORT_FILE):
        (tmp_path / "generator_audit" / name).write_text("")
    run = LocalRun(
        outputs={name: tmp_path / name for name in ("generator", "synthetic", "generator_audit")},
        log=tmp_path / "log.txt", notes=(), warnings=(),
    )  # fmt: skip
    screen = io.StringIO()
    for _ in range(2):  # a second run replaces the first one's
        show_run(run, name="mine", screen=Console(file=screen, width=400))
    found = tmp_path / "home" / "generators" / "mine"
    assert (found / "generator" / "generator.txt").is_file()
    origin = open_cohort(found / "synthetic", synthetic=True).meta.synthetic_from
    assert origin is not None
    assert (origin.generator, origin.cohort) == ("a" * 64, "")
    assert {path.name for path in (found / "generator").iterdir()} == {"generator.txt"}
    assert not (found / PATIENTS_PAGE).exists()
    assert (tmp_path / "generator_audit" / PATIENTS_PAGE).exists()
    text = screen.getvalue()
    for name in ("generator: ", "synthetic: ", "report: "):
        assert name in text


def test_on_a_backend_nothing_of_a_patient_goes_through_its_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The compiled pipeline as its launcher runs it: neither scans, real or synthetic, nor a discriminator are seen."""
    config = PhantomConfig(scans=90, sites=3, shape=(8, 32, 32), seed=1)
    cohort = phantom_cohort(config, tmp_path / "cohort", workers=1)
    bucket = ArtifactBucket.make(tmp_path, MLFLOW_TRACKING_URI=f"sqlite:///{tmp_path / 'mlflow.db'}")
    given = {
        "cohort": str(cohort.folder), "preset": "quick", "store": f"file://{tmp_path / 'store'}", "train_gpus": "0",
        "overrides": {"generator": {"steps": 2, "width": 4, "latent": 4, "batch_size": 4, "augment": []}},
    }  # fmt: skip
    found = bucket.run(COMPILED / "train_generator.yaml", given).artifacts
    kinds = {"generator", "synthetic", "generator_audit"}
    (made,) = (tmp_path / "store" / "synthetic").iterdir()
    synthetic = open_cohort(made, synthetic=True)
    assert len(synthetic.manifest) == len(cohort.rows(TRAIN))
    assert bucket.strange() == set()
    for one in (cohort, synthetic):
        assert bucket.holders(traces(one)) == set()
    assert set(found) == kinds
    for kind in ("generator", "synthetic"):
        assert (bucket.path(found[kind][0]["uri"]) / "reference.json").is_file()
    assert bucket.metadata["synthesize-cohort"]["synthetic"]["scans"] == len(synthetic.manifest)
