"""Lives of a step on spot nodes: processes with an empty disk each, ended by signals, with one object store.

A life is a process of its own that can be killed for good. It is forked from one that has imported everything, because
the imports of twenty lives would take longer than all their work.
"""

import json
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flprivacy.core.events import ENVIRONMENT_VARIABLE, EventReader
from flprivacy.execution.run_step import run_step
from flprivacy.steps.train_target import train_target
from flprivacy.storage.checkpoint_mirror import INTERVAL_VARIABLE, Mirror
from flprivacy.storage.checkpoints import RemoteCheckpoints
from flprivacy.storage.places import HOME_VARIABLE
from flprivacy.study.attacking import attack_attributes
from flprivacy.study.plan import Plan
from flprivacy.targets.lineage import LINEAGE_FILE, MEMBERS_FILE, PRIVATE_FOLDER, pseudonym

_LINEAGE, _MEMBERS = (f"{PRIVATE_FOLDER}/{name}" for name in (LINEAGE_FILE, MEMBERS_FILE))


def attack_trained(*, target_name: str, plan: Path, cohort: Path, target: Path, store: str, scores: Path) -> None:
    """Attack a target that was trained before, as step ``attack_target`` does; ``target_name`` is not used."""
    del target_name
    attack_attributes(Plan.read(plan).study, cohort, target, store=store, scores=scores)


# Each step, and the name of what it writes.
STEPS: dict[str, tuple[Callable[..., Any], str]] = {
    "train": (train_target, "target"),
    "attack": (attack_trained, "scores"),
}
TERMINATED = 128 + signal.SIGTERM
_PRELOADED = ["flprivacy.training.train", "flprivacy.attacks.attribute", "flprivacy.storage.backends.s3", __name__]


@dataclass(frozen=True, kw_only=True)
class Ending:
    """A signal that a life sends itself at a moment that no busy machine can shift.

    Attributes:
        at: ``batch``: when this many batches of training were prepared; else when this many checkpoints were announced:
            ``announced``: at once; ``sending``: before any more content is sent; ``stored``: after the next remote
            checkpoint is whole. For these two the work waits, however slow the network is.
        count: how many.
        number: of the signal.
    """

    at: str
    count: int
    number: int = signal.SIGKILL

    def arm(self) -> None:
        """Prepare it in this process."""
        from flprivacy.training.pool import Pool

        due, left = threading.Event(), self.count
        note, commit, keep, view = Mirror.note, RemoteCheckpoints.commit, RemoteCheckpoints.keep, Pool.view

        def strike() -> None:
            os.kill(os.getpid(), self.number)

        def counted() -> None:
            nonlocal left
            left -= 1
            if left:
                return
            due.set()
            if self.at in ("announced", "batch"):
                strike()
            else:
                threading.Event().wait()

        def strike_if_due(at: str) -> None:
            if self.at == at and due.is_set():
                strike()

        if self.at == "batch":
            Pool.view = lambda *a, **k: (counted(), view(*a, **k))[1]  # type: ignore[method-assign]
        else:
            Mirror.note = lambda *a: (note(*a), counted())[0]  # type: ignore[method-assign]
        RemoteCheckpoints.keep = lambda *a: (strike_if_due("sending"), keep(*a))[1]  # type: ignore[method-assign]
        RemoteCheckpoints.commit = lambda *a, **k: (commit(*a, **k), strike_if_due("stored"))[0]  # type: ignore[method-assign]


@dataclass(frozen=True, kw_only=True)
class Task:
    """A step to be done.

    Attributes:
        step: ``train`` or ``attack``.
        arguments: of the step, but ``store`` and ``out``.
        interval_seconds: rest between copies of checkpoints.
        batch_seconds: that every batch of training and every epoch of heads waits, as slow hardware would.
    """

    step: str
    arguments: dict[str, Any]
    interval_seconds: float = 0.0
    batch_seconds: float = 0.0


@dataclass
class Life:
    """What became of one life.

    Attributes:
        code: how its process ended: 0, or minus the signal, or 143 for SIGTERM that was heard.
        seconds: from its first to its last breath.
        events: what it told.
    """

    code: int
    seconds: float
    events: list[dict[str, Any]] = field(default_factory=list)

    @property
    def restored(self) -> bool:
        return any("carrying on from checkpoint" in str(event.get("text")) for event in self.events)

    def reached(self) -> dict[str, tuple[int, int, float]]:
        """Return description -> (units done at its beginning, at its end, seconds between)."""
        told: dict[str, list[tuple[int, float]]] = defaultdict(list)
        for event in self.events:
            if event["kind"] == "progress":
                told[event["description"]].append((event["done"], event["time"]))
        spans = {}
        for description, points in told.items():
            first = points[min(1, len(points) - 1)]  # the first of all is told before what was found is counted
            spans[description] = (first[0], points[-1][0], points[-1][1] - first[1])
        return spans


def live(
    task: Task,
    *,
    store: str,
    out: Path,
    ending: Ending | None = None,
    killer: Callable[[int, Path], object] | None = None,
) -> Life:
    """Do a task on an empty disk, until it is done or ended.

    Args:
        task: what to do.
        store: its store.
        out: its output.
        ending: None: nothing in the process ends it.
        killer: called with the process's number and the folder of its events once it runs; may end it.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    with tempfile.TemporaryDirectory(prefix="life-") as disk:
        events = Path(disk) / "events"
        events.mkdir()
        environment = {
            **os.environ,
            HOME_VARIABLE: f"{disk}/home",
            ENVIRONMENT_VARIABLE: str(events),
            INTERVAL_VARIABLE: str(task.interval_seconds),
        }
        process = context.Process(target=_live, args=(environment, task, store, out, ending))
        started = time.monotonic()
        process.start()
        if killer is not None and process.pid is not None:
            killer(process.pid, events)
        process.join()
        code = process.exitcode
        return Life(-999 if code is None else code, time.monotonic() - started, EventReader(events).read())


def _live(environment: Mapping[str, str], task: Task, store: str, out: Path, ending: Ending | None) -> None:
    os.environ.update(environment)
    if task.batch_seconds:
        _slow_down(task.batch_seconds)
    if ending is not None:
        ending.arm()
    sys.stderr = open(os.devnull, "w")  # noqa: PTH123, SIM115 - for the rest of this life
    step, output = STEPS[task.step]
    run_step(step, {"target_name": "", **task.arguments, "store": store, output: out})


def _slow_down(seconds: float) -> None:
    from flprivacy.attacks.samples import Batches
    from flprivacy.training.pool import Pool

    view, epoch = Pool.view, Batches.epoch
    Pool.view = lambda *a, **k: (time.sleep(seconds), view(*a, **k))[1]  # type: ignore[method-assign]
    Batches.epoch = lambda *a, **k: (time.sleep(seconds), epoch(*a, **k))[1]  # type: ignore[method-assign]


def contents(folder: Path, scan_ids: Iterable[str]) -> dict[str, bytes]:
    """Return every file below a folder; members as the scans that they are, in place of pseudonyms.

    Each training draws a key of its own for the pseudonyms; whoever is none of ``scan_ids`` keeps the pseudonym.
    """
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    if _LINEAGE in found:
        lineage = json.loads(found[_LINEAGE])
        key, digest = lineage.pop("members_key"), lineage["cohort_digest"]
        scans = {pseudonym(key, digest, scan): scan for scan in scan_ids}
        listed = json.loads(found[_MEMBERS])
        members = {model: sorted(scans.get(name, name) for name in names) for model, names in listed.items()}
        found |= {_LINEAGE: json.dumps(lineage).encode(), _MEMBERS: json.dumps(members).encode()}
    return found


def unlike(one: Path, other: Path, scan_ids: Iterable[str] = ()) -> list[str]:
    """Return the names of files in which two folders differ; ``scan_ids`` are the cohort's, for targets."""
    left, right = (contents(folder, tuple(scan_ids)) for folder in (one, other))
    return sorted(name for name in left.keys() | right.keys() if left.get(name) != right.get(name))
