"""A given target's members are those of the private part that it names, and a list of other members is refused."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "training"))
from tiny_training import tiny_manifest, tiny_volumes

from flprivacy.attacks.config import AttackConfig
from flprivacy.core.artifacts import MEMBERSHIP_FILE, MEMBERSHIP_FOLDER
from flprivacy.core.cohort import Cohort
from flprivacy.core.membership_scores import LINEAGE, SPLIT, MembershipScores
from flprivacy.execution.isolation import FAILURE_FILE
from flprivacy.steps.attack_target import attack_target
from flprivacy.study.config import StudyConfig
from flprivacy.study.plan import Plan
from flprivacy.training.config import TargetConfig
from flprivacy.training.train import train_target
from tests.cohort_builder import build_cohort, cohort_meta

FRESH = TargetConfig(topology="untrained", architecture="tiny")
PATIENTS = (20, 20, 20)
META = cohort_meta((8, 32, 40), "abc", classes=["class-0", "class-1"])


pytestmark = pytest.mark.usefixtures("tiny_architecture")


@pytest.fixture
def scans(tmp_path: Path) -> Cohort:
    manifest = tiny_manifest(PATIENTS)
    return build_cohort(tmp_path / "scans", manifest, META, tiny_volumes(manifest))


@pytest.fixture
def target(tmp_path: Path, scans: Cohort) -> Path:
    config = TargetConfig(topology="central", architecture="tiny", epochs=1, batch_size=8)
    train_target("central", config, scans, protocol="standard", work=tmp_path / "work", out=tmp_path / "target")
    return tmp_path / "target"


def attacked(tmp_path: Path, cohort: Cohort, word: str) -> Path:
    attack = AttackConfig(attributes=("site",), accesses=("outputs",), fractions=(0.2,), seeds=(0,))
    study = StudyConfig(name="x", targets={"fresh": FRESH}, attack=attack)
    Plan(pipeline="privacy_audit", command="", study=study, sources={"central": word}).write(tmp_path / "plan")
    where = {"plan": tmp_path / "plan", "cohort": cohort.folder, "store": str(tmp_path / "store")}
    scores = tmp_path / f"scores of {cohort.folder.name}"
    attack_target(**where, target_name="central", scores=scores)  # type: ignore[arg-type]
    return scores / MEMBERSHIP_FOLDER


def test_the_members_of_a_given_target_are_those_of_its_private_part(
    tmp_path: Path, scans: Cohort, target: Path
) -> None:
    folder = attacked(tmp_path, scans, f"{target},members={target / 'private'}")
    found = MembershipScores.read(folder / MEMBERSHIP_FILE)
    assert (found.members_from, found.members.any()) == (LINEAGE, True)
    assert not list(tmp_path.rglob("store/**/members.json")), "no store keeps who they were"
    folder = attacked(tmp_path, scans, str(target))
    assert MembershipScores.read(folder / MEMBERSHIP_FILE).members_from == SPLIT


def test_members_that_a_cohort_lacks_or_holds_out_are_one_error_beside_the_other_attacks(
    tmp_path: Path, scans: Cohort, target: Path
) -> None:
    turned = scans.manifest.assign(split=scans.manifest["split"].map({"train": "test", "test": "train"}))
    renamed = scans.manifest.assign(scan_id="other-" + scans.manifest["scan_id"].astype(str))
    for name, manifest, message in (
        (
            "turned",
            turned,
            "it was trained on 60 of the scans that cohort 'tiny' holds out; give the cohort with the",
        ),
        ("renamed", renamed, "its list of members names 60 scan(s) that cohort 'tiny' lacks; give the cohort that"),
    ):
        table = manifest.drop(columns=["shard", "row", "sha256"])
        cohort = build_cohort(tmp_path / name, table, replace(META, digest=""), tiny_volumes(table))
        folder = attacked(tmp_path, cohort, f"{target},members={target / 'private'}")
        assert sorted(path.name for path in folder.iterdir()) == [FAILURE_FILE]
        assert message in json.loads((folder / FAILURE_FILE).read_text())["reason"]
        assert (folder.parent / "target.json").is_file(), "the attacks on attributes are not lost"
