"""From a plan with a generator to targets and references that are trained on its scans, step by step."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from flprivacy.attacks.config import MembershipConfig
from flprivacy.cohorts.format import read_volumes, verify_cohort
from flprivacy.core.artifacts import REFERENCE_FILE
from flprivacy.core.cohort import TRAIN, Cohort
from flprivacy.core.errors import ConfigError, GeneratorError
from flprivacy.core.reference_scores import ReferenceJob, ReferenceScores
from flprivacy.steps.synthesize_cohort import synthesize_cohort
from flprivacy.steps.train_generator import train_generator
from flprivacy.steps.train_target import train_target
from flprivacy.study.config import StudyConfig
from flprivacy.study.plan import GENERATOR_PIPELINE, Plan
from flprivacy.study.train_reference import train_reference
from flprivacy.synthesis.config import GeneratorConfig, SynthesisConfig
from flprivacy.synthesis.folder import read_generator
from flprivacy.targets.folder import read_target
from flprivacy.training.config import SyntheticConfig, TargetConfig
from tests.cohort_builder import build_cohort

GENERATOR = GeneratorConfig(latent=4, width=4, steps=2, batch_size=4, augment=(), r1_weight=0.0)
SILOED = TargetConfig(
    topology="siloed", architecture="tiny", epochs=1, batch_size=8, synthetic=SyntheticConfig(multiple=1.5)
)
TARGETS = {"mixed": SILOED, "plain": replace(SILOED, synthetic=None)}
STUDY = StudyConfig(
    name="x", targets=TARGETS, generator=GENERATOR, membership=MembershipConfig(references_of={"mixed": 2})
)


pytestmark = pytest.mark.usefixtures("tiny_architecture")


def plan_of(folder: Path, study: StudyConfig = STUDY) -> Path:
    """As of a run whose generator is all that there is, so that what fails ends it."""
    folder.mkdir(parents=True, exist_ok=True)
    Plan(pipeline=GENERATOR_PIPELINE, command="", study=study).write(folder / "plan.json")
    return folder / "plan.json"


@pytest.fixture(scope="module")
def run(scans: Cohort, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with plan, store, generator and synthetic cohort of the study."""
    folder = tmp_path_factory.mktemp("run")
    plan, store = plan_of(folder), str(folder / "store")
    train_generator(plan=plan, cohort=scans.folder, store=store, generator=folder / "generator")
    told = synthesize_cohort(
        plan=plan, cohort=scans.folder, generator=folder / "generator", store=store, synthetic=folder / "synthetic"
    )
    (folder / "told.json").write_text(json.dumps(told.metadata))
    return folder


def test_as_many_scans_are_made_as_a_target_asks_for_linked_to_generator_and_cohort(run: Path, scans: Cohort) -> None:
    made, record = verify_cohort(run / "synthetic", synthetic=True), read_generator(run / "generator")
    origin = made.meta.synthetic_from
    assert origin is not None
    assert (origin.generator, origin.cohort) == (record.digest, scans.meta.digest)
    assert len(made.manifest) == 33  # 1.5 times 22
    of_site = scans.manifest.iloc[scans.rows(TRAIN)].groupby(["site_id", "label"]).size()
    assert np.abs(made.manifest.groupby(["site_id", "label"]).size() - 1.5 * of_site).max() < 1.0
    assert (made.manifest["age_years"].isna() & made.manifest["sex"].isna()).all()
    facts = json.loads((run / "told.json").read_text())["synthetic"]
    assert (facts["scans"], facts["digest"]) == (33, made.meta.digest)


def test_making_them_again_makes_the_same(run: Path, scans: Cohort, tmp_path: Path) -> None:
    """In another store, so that nothing is taken from the first."""
    synthesize_cohort(
        plan=run / "plan.json", cohort=scans.folder, generator=run / "generator", store=str(tmp_path / "store"),
        synthetic=tmp_path / "again",
    )  # fmt: skip
    assert (
        verify_cohort(tmp_path / "again", synthetic=True).meta == verify_cohort(run / "synthetic", synthetic=True).meta
    )


def test_a_target_is_trained_on_them_where_it_asks_for_some(run: Path, scans: Cohort, tmp_path: Path) -> None:
    shares = {}
    for name in TARGETS:
        train_target(
            plan=run / "plan.json", cohort=scans.folder, target_name=name, store=str(run / "store"),
            target=tmp_path / name, synthetic=run / "synthetic",
        )  # fmt: skip
        shares[name] = read_target(tmp_path / name).synthetic_share
    assert shares == {"mixed": pytest.approx(0.6), "plain": 0.0}


def test_a_reference_repeats_the_recipe_with_a_generator_of_its_own(run: Path, scans: Cohort, tmp_path: Path) -> None:
    train_reference(
        Plan.read(run / "plan.json"), scans.folder, ReferenceJob(target="mixed", index=0),
        store=str(tmp_path / "store"), reference=tmp_path / "reference",
    )  # fmt: skip
    assert (tmp_path / "reference" / REFERENCE_FILE).is_file()
    one = ReferenceScores.read(tmp_path / "reference")
    half = one.trained_on.any(axis=0)
    assert len(scans.manifest) / 2 - 2 <= half.sum() <= len(scans.manifest) / 2 + 2


def test_without_a_generator_the_steps_leave_empty_folders(scans: Cohort, tmp_path: Path) -> None:
    study = replace(STUDY, targets={"plain": TARGETS["plain"]}, generator=None, membership=MembershipConfig())
    plan, store = plan_of(tmp_path, study), str(tmp_path / "store")
    train_generator(plan=plan, cohort=scans.folder, store=store, generator=tmp_path / "generator")
    synthesize_cohort(
        plan=plan, cohort=scans.folder, generator=tmp_path / "generator", store=store, synthetic=tmp_path / "synthetic"
    )
    assert not [*(tmp_path / "generator").iterdir(), *(tmp_path / "synthetic").iterdir()]


def _changed(folder: Path, **fields: object) -> Path:
    path = folder / "private" / "lineage.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))
    return folder


def _other_shape(scans: Cohort, tmp: Path) -> Path:
    volumes = read_volumes(scans, np.arange(len(scans.manifest)))[:, :, :, :32]
    meta = replace(scans.meta, shape=(8, 32, 32), digest="")
    table = scans.manifest.drop(columns=["shard", "row", "sha256"])
    return build_cohort(tmp / "other", table, meta, volumes).folder


def _other_patients(scans: Cohort, tmp: Path) -> Path:
    table = scans.manifest.drop(columns=["shard", "row", "sha256"]).iloc[1:].reset_index(drop=True)
    return build_cohort(tmp / "other", table, scans.meta, read_volumes(scans, np.arange(1, len(table) + 1))).folder


REFUSED: dict[str, tuple[StudyConfig, Callable[[Cohort, Path], Path], type[Exception], str]] = {
    "another shape": (
        STUDY,
        _other_shape,
        GeneratorError,
        r"shape of its scans is \(8, 32, 40\), and of cohort 'tiny'",
    ),
    "another cohort": (STUDY, _other_patients, GeneratorError, r"was trained on cohort .*, not on 'tiny'"),
    "an unknown site": (
        replace(STUDY, synthesis=SynthesisConfig(sites={"z": 1.0})),
        lambda scans, _: scans.folder,
        ConfigError,
        "the generator knows no site 'z'; it is trained on a, b, c",
    ),
    "too many": (
        replace(STUDY, synthesis=SynthesisConfig(scans=441)),
        lambda scans, _: scans.folder,
        ConfigError,
        "441 synthetic scans of a generator that is trained on 22: at most 440 make sense",
    ),
    "too few": (
        replace(STUDY, synthesis=SynthesisConfig(scans=20)),
        lambda scans, _: scans.folder,
        ConfigError,
        "synthesis.scans is 20; target 'mixed' is trained on 33; raise it",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_does_not_fit_gets_one_clear_error(run: Path, scans: Cohort, tmp_path: Path, what: str) -> None:
    study, cohort, error, message = REFUSED[what]
    with pytest.raises(error, match=message) as caught:
        synthesize_cohort(
            plan=plan_of(tmp_path, study), cohort=cohort(scans, tmp_path), generator=run / "generator",
            store=str(tmp_path / "store"), synthetic=tmp_path / "synthetic",
        )  # fmt: skip
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "synthetic").exists()


@pytest.mark.parametrize("what", ["an unknown site", "too many", "too few"])
def test_what_no_generator_could_make_is_refused_before_it_is_trained(scans: Cohort, tmp_path: Path, what: str) -> None:
    study, _, error, message = REFUSED[what]
    with pytest.raises(error, match=message):
        train_generator(
            plan=plan_of(tmp_path, study), cohort=scans.folder, store=str(tmp_path / "store"),
            generator=tmp_path / "generator",
        )  # fmt: skip
    assert not (tmp_path / "store").exists()


def test_a_generator_with_another_ones_private_part_is_refused(run: Path, scans: Cohort, tmp_path: Path) -> None:
    shutil.copytree(run / "generator", tmp_path / "generator")
    lineage = json.loads((run / "generator" / "private" / "lineage.json").read_text())
    _changed(tmp_path / "generator", generator=lineage["generator"] | {"digest": "e" * 64})
    with pytest.raises(GeneratorError, match="is of generator eeeeeeeeeeee, not of"):
        synthesize_cohort(
            plan=run / "plan.json", cohort=scans.folder, generator=tmp_path / "generator",
            store=str(tmp_path / "store"), synthetic=tmp_path / "synthetic",
        )  # fmt: skip


def test_a_study_whose_target_wants_scans_that_nobody_makes_is_refused() -> None:
    with pytest.raises(ConfigError, match="generator is None; target 'mixed' is trained on synthetic scans"):
        replace(STUDY, generator=None)
