"""Steps killed 20 times in a row at random moments, each life with an empty disk, against an undisturbed one.

Four trainings (central, federated, central-dp, siloed) and an attack run on Ceph's gateway. A moment is drawn from a
seed, evenly over some seconds from the beginning of the work, one in four from the beginning of the step; three in four
kills are SIGKILL, one is SIGTERM. Prints kills, the work that had to be repeated, and whether every file of the result
is the same, bit for bit. Then what the mirror costs the work beside it, and its memory.
By environment: FLPRIVACY_BENCH_SPOT_KILLS (20), FLPRIVACY_BENCH_SPOT_SEED (0), FLPRIVACY_BENCH_SPOT_TASKS (all).
"""

import contextlib
import os
import random
import resource
import signal
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import boto3
import numpy as np
import pandas as pd
from botocore.config import Config

from flprivacy.attacks.config import AttackConfig
from flprivacy.cohorts.format import open_cohort, write_cohort
from flprivacy.core.checkpoint_events import announce
from flprivacy.core.cohort import CohortMeta
from flprivacy.privacy.config import PrivacyConfig
from flprivacy.storage.artifact_store import Store
from flprivacy.study.config import StudyConfig
from flprivacy.study.plan import Plan
from flprivacy.training.config import TargetConfig
from tests.services.ceph import ceph_gateway
from tests.services.spot_lives import TERMINATED, Life, Task, live, unlike

_KILLS = int(os.environ.get("FLPRIVACY_BENCH_SPOT_KILLS", 20))
_SEED = int(os.environ.get("FLPRIVACY_BENCH_SPOT_SEED", 0))
_TASKS = os.environ.get("FLPRIVACY_BENCH_SPOT_TASKS", "central federated central-dp siloed attack").split()
_LONGEST_LIFE_SECONDS = 4.0  # of work; a life's start comes before it
_INTERVAL_SECONDS = 0.5
_SHAPE, _SCANS = (8, 32, 40), 48
_PRIVATE = PrivacyConfig(adjacency="zero-out", unit="scan", noise_multiplier=1.0, sampling_rate=0.25, noise_seed=5)
_STUDY = StudyConfig(
    name="spot",
    targets={
        "central": TargetConfig(topology="central", epochs=100, batch_size=8),
        "federated": TargetConfig(topology="federated", rounds=80, batch_size=8),
        "central-dp": TargetConfig(topology="central", epochs=100, batch_size=8, privacy=_PRIVATE),
        "siloed": TargetConfig(topology="siloed", epochs=80, batch_size=8),
    },
    attack=AttackConfig(
        fractions=(0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.9, 1.0),
        seeds=(0, 1),
        epochs=5,
        batch_size=8,
        extraction_batch_size=1,
    ),
)


def write_inputs(folder: Path) -> None:
    """Write a cohort of three sites and a plan."""
    number = np.arange(_SCANS)
    manifest = pd.DataFrame(
        {
            "scan_id": [f"scan-{i}" for i in number],
            "patient_id": [f"patient-{i}" for i in number],
            "site_id": number % 3,
            "split": np.where(number // 3 % 4 == 3, "test", "train"),
            "label": number // 3 % 2,
            "sex": np.where(number % 2, "F", "M"),
            "age_years": 30.0 + number,
        }
    )
    meta = CohortMeta(
        name="tiny",
        shape=_SHAPE,
        window_hu=(-1000.0, 400.0),
        spacing_mm=None,
        site_names=("a", "b", "c"),
        class_names=("x", "y"),
    )
    volumes = np.random.default_rng(3).integers(0, 256, (_SCANS, *_SHAPE), dtype=np.uint8)
    write_cohort(folder / "cohort", meta=meta, manifest=manifest, volumes=iter(enumerate(volumes)))
    Plan(pipeline="study", command="", study=_STUDY).write(folder / "plan.json")


def tasks(folder: Path) -> dict[str, Task]:
    """Return name -> task; the attack is on the undisturbed federated target."""
    given = {"plan": folder / "plan.json", "cohort": folder / "cohort"}
    slow = {"interval_seconds": _INTERVAL_SECONDS, "batch_seconds": 0.1}
    found = {name: Task(step="train", arguments=given | {"target_name": name}, **slow) for name in _STUDY.targets}
    found["attack"] = Task(step="attack", arguments=given | {"target": folder / "undisturbed-federated"}, **slow)
    return found


class RandomKiller:
    """Ends a life by a signal, at a random moment after its work has begun."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)

    def __call__(self, pid: int, began: Path) -> None:
        """Wait for the step to begin, or its work to; then for the moment, and strike."""
        number = self._rng.choice([signal.SIGKILL] * 3 + [signal.SIGTERM])
        word = self._rng.choice(['"progress"'] * 3 + ['"step"'])
        delay = self._rng.uniform(0.0, _LONGEST_LIFE_SECONDS)
        alive = Path(f"/proc/{pid}")
        while alive.exists() and not any(word in path.read_text() for path in began.glob("*.jsonl")):
            time.sleep(0.02)
        time.sleep(delay)
        with contextlib.suppress(ProcessLookupError):  # it ended by itself
            os.kill(pid, number)


def repeated_seconds(lives: list[Life]) -> tuple[float, float]:
    """Return seconds of work that was done again, and of all work, from what every life told."""
    again = total = 0.0
    furthest: dict[str, int] = {}
    for life in lives:
        for description, (first, last, seconds) in life.reached().items():
            total += seconds
            if last > first:
                again += max(0, furthest.get(description, 0) - first) * seconds / (last - first)
            furthest[description] = last if last > first else min(first, furthest.get(description, 0))
    return again, total


def killed(task: Task, store: str, out: Path, seed: int) -> list[Life]:
    """Live until enough kills have come or the work is done, then to the end."""
    killer, lives = RandomKiller(seed), []
    for _ in range(_KILLS):
        lives.append(live(task, store=store, out=out, killer=killer))
        if lives[-1].code == 0:
            return lives
        if lives[-1].code not in (-signal.SIGKILL, TERMINATED, -signal.SIGTERM):
            raise RuntimeError(f"a life ended with {lives[-1].code}: {lives[-1].events[-3:]}")
    lives.append(live(task, store=store, out=out))
    return lives


def bench_kills(folder: Path, bucket: str) -> bool:
    """Print a line a task; return whether all came out the same."""
    heads = ("kills", "SIGTERM", "restored", "repeated s", "work s", "objects left")
    print(f"{'task':12}" + "".join(f"{head:>{len(head) + 2}}" for head in heads) + "  same")
    good, scans = True, open_cohort(folder / "cohort").manifest["scan_id"]
    for number, (name, task) in enumerate(tasks(folder).items()):
        wanted, out = folder / f"undisturbed-{name}", folder / f"killed-{name}"
        if name not in _TASKS and not ("attack" in _TASKS and name == "federated"):  # which the attack is on
            continue
        calm = live(replace(task, batch_seconds=0.0), store=str(folder / "local"), out=wanted)
        if name not in _TASKS:
            continue
        store = f"{bucket}/{name}"
        lives = killed(task, store, out, _SEED + number)
        same = calm.code == 0 and lives[-1].code == 0 and not unlike(wanted, out, scans)
        again, work = repeated_seconds(lives)
        kills, heard = len(lives) - 1, sum(life.code == TERMINATED for life in lives)
        left = len([key for key in _keys(store) if "/work/" in key])
        good &= same and kills == _KILLS and not left
        print(
            f"{name:12}{kills:7}{heard:9}{sum(life.restored for life in lives):10}{again:12.1f}{work:8.1f}{left:14}"
            f"  {'equal' if same else 'NOT EQUAL'}",
            flush=True,
        )
    return good


def _client():  # type: ignore[no-untyped-def]
    config = Config(request_checksum_calculation="when_required", response_checksum_validation="when_required")
    return boto3.client("s3", config=config)


def _keys(uri: str) -> list[str]:
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    pages = _client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return [one["Key"] for page in pages for one in page.get("Contents", ())]


def bench_cost(folder: Path, bucket: str) -> None:
    """Print what a mirror that never rests costs a work in Python and NumPy beside it, and the memory it takes."""
    size_mb, rounds = 60, 8
    data = np.random.default_rng(0).bytes(size_mb << 20)

    def make(work: Path, out: Path) -> None:
        began, spent = time.perf_counter(), time.process_time()
        a = np.random.default_rng(1).random((300, 300), dtype=np.float32)
        for number in range(rounds):
            for _ in range(150):
                a = np.tanh(a @ a / 300.0)
            path = work / "state"
            path.with_suffix(".partial").write_bytes(number.to_bytes(8, "big") + data)
            path.with_suffix(".partial").replace(path)
            announce(path)
        times.append((time.perf_counter() - began, time.process_time() - spent))
        (out / "result").write_bytes(a.tobytes())

    times: list[tuple[float, float]] = []
    Store(folder / "cost").build("target", {"n": 0}, make)
    Store(folder / "cost").build("target", {"n": 1}, make)
    first = Store(folder / "first", f"{bucket}/first")
    first.build("audit", {}, lambda work, out: None)  # imports and connections are no part of the mirror's memory
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for interval in (0.0, 2.0, 10.0):
        store = Store(folder / f"cost-{interval}", f"{bucket}/cost", interval)
        store.build("target", {"n": interval}, make)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    heads = ("no mirror", "no mirror", "mirror, no rest", "mirror, 2 s rest", "mirror, 10 s rest")
    for text, (wall, cpu) in zip(heads, times, strict=True):
        print(f"{text:18} {wall:6.2f} s, {cpu:6.2f} s of CPU")
    print(f"peak memory grew by {grown:.0f} MB while {rounds * 3} checkpoints of {size_mb} MB were made")


def main() -> int:
    """Run everything on a gateway of its own."""
    with ceph_gateway() as gateway, tempfile.TemporaryDirectory() as name:
        os.environ.update(gateway.environment())
        _client().create_bucket(Bucket="spot")
        folder = Path(name)
        write_inputs(folder)
        good = bench_kills(folder, "s3://spot")
        bench_cost(folder, "s3://spot")
    print("every result is that of an undisturbed run" if good else "NOT as it should be")
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
