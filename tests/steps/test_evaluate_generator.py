"""The step: a generator that returns its training scans is called a copier, and no patient leaves the auditors."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from flprivacy.cohorts.format import open_cohort, read_volumes
from flprivacy.cohorts.phantom.config import PhantomConfig
from flprivacy.cohorts.phantom.generate import phantom_cohort
from flprivacy.core.artifacts import (
    FIGURES_FOLDER,
    GENERATOR_AUDIT_FILE,
    MEMBERSHIP_FILE,
    PATIENTS_PAGE,
    REPORT_FILE,
)
from flprivacy.core.cohort import TRAIN, Cohort, SyntheticOrigin
from flprivacy.core.errors import GeneratorError
from flprivacy.core.generator_audit import COPIES, GeneratorAudit
from flprivacy.core.membership_scores import MembershipScores
from flprivacy.steps.evaluate_generator import evaluate_generator
from flprivacy.study.config import StudyConfig
from flprivacy.study.plan import GENERATOR_PIPELINE, Plan
from flprivacy.synthesis.config import GeneratorConfig
from flprivacy.synthesis.folder import read_generator
from flprivacy.synthesis.train import train_generator
from flprivacy.training.config import TargetConfig
from tests.cohort_builder import build_synthetic

PICTURE = "data:image/"


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    folder = tmp_path_factory.mktemp("scans") / "cohort"
    return phantom_cohort(PhantomConfig(scans=110, sites=3, shape=(8, 32, 32), seed=1), folder, workers=1)


@pytest.fixture(scope="module")
def generator(cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("generator")
    config = GeneratorConfig(steps=2, width=4, latent=8, batch_size=4)
    (folder / "work").mkdir()
    train_generator(config, cohort, work=folder / "work", out=folder / "out")
    return folder / "out"


def copied(cohort: Cohort, generator: Path, folder: Path, *, of: str = "", trained_on: str = "") -> Path:
    """Write the training scans, a little noisier, as if the generator had made them."""
    rows = cohort.rows(TRAIN)
    volumes = read_volumes(cohort, rows).astype(np.int16)
    noisy = np.clip(volumes + np.random.default_rng(0).integers(-6, 7, volumes.shape), 0, 255).astype(np.uint8)
    names = [f"synthetic-{number}" for number in range(len(rows))]
    table = cohort.manifest.iloc[rows].drop(columns=["shard", "row", "sha256"]).reset_index(drop=True)
    table = table.assign(scan_id=names, patient_id=names)
    origin = SyntheticOrigin(generator=of or read_generator(generator).digest, cohort=trained_on or cohort.meta.digest)
    build_synthetic(folder, table, replace(cohort.meta, digest="", synthetic_from=origin), noisy)
    return folder


def evaluated(tmp_path: Path, cohort: Path, generator: Path, synthetic: Path, *, given: str = "") -> Path:
    study = StudyConfig(name="tiny", targets={"untrained": TargetConfig(topology="untrained")})
    run = Plan(pipeline=GENERATOR_PIPELINE, command="flprivacy run study", study=study, cohort=given)
    run.write(tmp_path / "plan.json")
    evaluate_generator(
        plan=tmp_path / "plan.json",
        cohort=cohort,
        generator=generator,
        synthetic=synthetic,
        store=str(tmp_path / "store"),
        generator_audit=tmp_path / "out",
        page=tmp_path / "page.html",
    )
    return tmp_path / "out"


def test_a_copier_is_called_one_and_no_picture_leaves_the_auditors(
    cohort: Cohort, generator: Path, tmp_path: Path
) -> None:
    synthetic = copied(cohort, generator, tmp_path / "synthetic")
    out = evaluated(tmp_path, cohort.folder, generator, synthetic, given=str(cohort.folder))
    found = GeneratorAudit.read(out / GENERATOR_AUDIT_FILE)
    assert found.memorisation.verdict == COPIES
    assert found.diversity.coverage >= found.diversity.ideal_coverage - 0.05
    assert {one.condition for one in found.agreement} == {"site", "class"}
    assert not found.samples
    assert not found.nearest
    page = (tmp_path / "page.html").read_text()
    assert "copies patients it was trained on: do not hand out" in page
    shown = (GENERATOR_AUDIT_FILE, REPORT_FILE)
    assert all(PICTURE not in (out / name).read_text() for name in shown)
    assert not list((out / FIGURES_FOLDER).glob("*"))
    private = (out / PATIENTS_PAGE).read_text()
    assert "This page shows them, for the auditors" in private
    assert private.count(PICTURE) == 2
    table = MembershipScores.read(out / MEMBERSHIP_FILE)
    assert set(table.scan_ids) == set(cohort.manifest["scan_id"])
    assert (table.members == (cohort.manifest["split"] == TRAIN)).all()
    assert "scans that are least like any other" in page
    names = set(cohort.manifest["scan_id"]) | set(cohort.manifest["patient_id"])
    assert not any(name in text for name in names for text in (page, private, (out / shown[0]).read_text()))


def test_of_phantoms_pictures_are_shown_and_a_second_call_finds_the_first(
    cohort: Cohort, generator: Path, tmp_path: Path
) -> None:
    synthetic = copied(cohort, generator, tmp_path / "synthetic")
    out = evaluated(tmp_path, cohort.folder, generator, synthetic)
    found = GeneratorAudit.read(out / GENERATOR_AUDIT_FILE)
    assert all(one.real and one.synthetic for one in found.samples)
    assert all(pair.trained_on and pair.closeness > 0.5 for pair in found.nearest)
    assert (out / REPORT_FILE).read_text().count(PICTURE) == 2
    assert {file.name for file in (out / FIGURES_FOLDER).iterdir()} == {
        "generator-nearest.png",
        "generator-samples.png",
    }
    assert "Patients' scans" not in (out / PATIENTS_PAGE).read_text()
    before = (out / PATIENTS_PAGE).stat().st_ino
    again = evaluated(tmp_path, cohort.folder, generator, synthetic)
    assert (again / PATIENTS_PAGE).stat().st_ino == before  # made once


def test_scans_of_another_generator_or_cohort_are_refused(cohort: Cohort, generator: Path, tmp_path: Path) -> None:
    strange = copied(cohort, generator, tmp_path / "strange", of="a" * 64)
    with pytest.raises(GeneratorError, match="its scans are not of"):
        evaluated(tmp_path, cohort.folder, generator, strange)
    other = phantom_cohort(PhantomConfig(scans=24, sites=3, shape=(8, 32, 32), seed=9), tmp_path / "o", workers=1)
    synthetic = copied(cohort, generator, tmp_path / "synthetic")
    with pytest.raises(GeneratorError, match="give the cohort that it was trained on"):
        evaluated(tmp_path, other.folder, generator, synthetic)
    assert not (tmp_path / "out").exists()


def test_without_a_generator_there_is_nothing_to_check(cohort: Cohort, tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    out = evaluated(tmp_path, cohort.folder, tmp_path / "nothing", tmp_path / "nothing")
    assert list(out.iterdir()) == []
    assert "no generator" in (tmp_path / "page.html").read_text()


def test_the_cohort_is_read_as_its_readers_do(cohort: Cohort, generator: Path, tmp_path: Path) -> None:
    """A synthetic cohort in the place of the patients', or the other way round, is one clear error."""
    synthetic = copied(cohort, generator, tmp_path / "synthetic")
    with pytest.raises(Exception, match="holds synthetic scans"):
        evaluated(tmp_path, synthetic, generator, synthetic)
    with pytest.raises(Exception, match="holds scans of patients"):
        evaluated(tmp_path, cohort.folder, generator, open_cohort(cohort.folder).folder)
