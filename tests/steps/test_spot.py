"""Steps on nodes that are taken away: each life begins with an empty disk, the last one ends with the same bits."""

import dataclasses
import json
import signal
from pathlib import Path

import numpy as np
import pytest

from flprivacy.attacks.config import AttackConfig
from flprivacy.cohorts.format import open_cohort
from flprivacy.privacy.config import PrivacyConfig
from flprivacy.storage.checkpoints import RemoteCheckpoints
from flprivacy.storage.objects import open_objects
from flprivacy.study.config import StudyConfig
from flprivacy.study.plan import Plan
from flprivacy.training.config import TargetConfig
from tests.cohort_builder import build_cohort, cohort_meta, scan_table
from tests.services.spot_lives import TERMINATED, Ending, Life, Task, contents, live, unlike

SHAPE, SCANS = (8, 32, 40), 48
STUDY = StudyConfig(
    name="spot",
    targets={
        "federated": TargetConfig(topology="federated", rounds=4, batch_size=8),
        "private": TargetConfig(
            topology="federated",
            rounds=4,
            batch_size=8,
            privacy=PrivacyConfig(adjacency="zero-out", unit="site", noise_multiplier=1.0),
        ),
    },
    attack=AttackConfig(
        attributes=("site", "age"),
        accesses=("features", "outputs"),  # the pixels' answers, which others share, are another artifact's work
        fractions=(0.5, 1.0),
        seeds=(0, 1),
        epochs=2,
        extraction_batch_size=1,
        age_edges_years=(50.0,),
    ),
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a cohort of three sites and a plan."""
    folder = tmp_path_factory.mktemp("spot")
    number = np.arange(SCANS)
    table = scan_table(
        SCANS,
        patient_id=[f"jones-{i}" for i in number],
        site_id=number % 3,
        split=np.where(number // 3 % 4 == 3, "test", "train"),
        label=number // 3 % 2,
        sex=np.where(number % 2, "F", "M"),
        age_years=30.0 + number,
    )
    build_cohort(folder / "cohort", table, cohort_meta(SHAPE, "abc"), 3)
    write_plan(folder, STUDY)
    return folder


def write_plan(folder: Path, study: StudyConfig) -> None:
    Plan(pipeline="study", command="", study=study).write(folder / "plan.json")


def training(place: Path, name: str) -> Task:
    return Task(step="train", arguments={"plan": place / "plan.json", "cohort": place / "cohort", "target_name": name})


@pytest.fixture(scope="module")
def undisturbed(place: Path) -> Path:
    """The federated target, trained without an object store."""
    life = live(training(place, "federated"), store=str(place / "local"), out=place / "target")
    assert life.code == 0
    return place / "target"


def lives(task: Task, endings: list[Ending], *, store: str, out: Path) -> list[Life]:
    """Live until each ending has come, and once to the end; every life but the first finds a checkpoint."""
    found = []
    for ending in [*endings, None]:
        found.append(live(task, store=store, out=out, ending=ending))
        signalled = ending is not None and {signal.SIGKILL: -9, signal.SIGTERM: TERMINATED}[ending.number]
        assert found[-1].code == (signalled or 0)
        assert out.exists() == (ending is None)
    assert [life.restored for life in found] == [False] + [True] * len(endings)
    return found


def test_training_ends_with_the_bits_of_an_undisturbed_one(
    place: Path, undisturbed: Path, bucket: str, tmp_path: Path
) -> None:
    # The first life stores the first of four rounds, of six batches each; the second ends in the third round.
    endings = [Ending(at="stored", count=1), Ending(at="batch", count=9, number=signal.SIGTERM)]
    lives(training(place, "federated"), endings, store=f"{bucket}/store", out=tmp_path / "out")
    scans = open_cohort(place / "cohort").manifest["scan_id"]
    assert unlike(tmp_path / "out", undisturbed, scans) == []
    members = json.loads(contents(undisturbed, scans)["private/members.json"])["model"]
    assert members
    assert set(members) <= set(scans)
    names = [stat.uri for stat in open_objects(bucket).contents(bucket).values()]
    assert names
    assert not [name for name in names if "/work/" in name or "jones" in name or "federated" in name]


def test_an_attack_ends_with_the_bits_of_an_undisturbed_one(
    place: Path, undisturbed: Path, bucket: str, tmp_path: Path
) -> None:
    task = Task(
        step="attack", arguments={"plan": place / "plan.json", "cohort": place / "cohort", "target": undisturbed}
    )
    assert live(task, store=str(tmp_path / "local"), out=tmp_path / "wanted").code == 0
    # Eight checkpoints in all: four chunks of features, then four grids of heads.
    endings = [
        Ending(at="stored", count=2),
        Ending(at="announced", count=3, number=signal.SIGTERM),
        Ending(at="sending", count=1),
    ]
    lives(task, endings, store=f"{bucket}/store", out=tmp_path / "out")
    assert unlike(tmp_path / "out", tmp_path / "wanted") == []


def test_private_training_carries_its_secret_on(place: Path, bucket: str, tmp_path: Path) -> None:
    """The secret is drawn by the first life; the last ends as one that was told it from the beginning."""
    store, task = f"{bucket}/store", training(place, "private")
    assert live(task, store=store, out=tmp_path / "out", ending=Ending(at="stored", count=2)).code == -9
    prefix = {
        stat.uri.split("/work/target-")[1][:64] for stat in open_objects(store).contents(f"{store}/work").values()
    }
    (key,) = prefix
    work = RemoteCheckpoints(store=open_objects(store), uri=f"{store}/work/target-{key}", kind="target", key=key)
    work.restore(tmp_path / "work", newer_than=0, scratch=tmp_path / "scratch")
    (secret,) = (tmp_path / "work").rglob("noise-seed.json")
    told = dataclasses.replace(
        STUDY.targets["private"],
        privacy=dataclasses.replace(
            STUDY.targets["private"].privacy or PrivacyConfig(), noise_seed=json.loads(secret.read_text())["seed"]
        ),
    )
    write_plan(tmp_path, dataclasses.replace(STUDY, targets={"private": told}))
    (tmp_path / "cohort").symlink_to(place / "cohort")
    last = live(task, store=store, out=tmp_path / "out")
    assert (last.code, last.restored) == (0, True)
    assert live(training(tmp_path, "private"), store=str(tmp_path / "local"), out=tmp_path / "wanted").code == 0
    weights = "model.weights.h5"
    assert (tmp_path / "out" / weights).read_bytes() == (tmp_path / "wanted" / weights).read_bytes()
    assert not open_objects(store).contents(f"{store}/work")
