"""Pulls of a cohort from a server that fails by a seeded script: the cohort is right, or the step says what is wrong.

Each run draws its faults, whether an object changes after it was looked at, and whether the process is killed. It
ends with a calm run from the same store, which must always be right.
"""

import contextlib
import dataclasses
import multiprocessing
import os
import random
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from flprivacy.cohorts.format import open_cohort, read_volumes, verify_cohort
from flprivacy.cohorts.sampling import exposed_rows, member_rows
from flprivacy.core.cohort import Cohort
from flprivacy.core.errors import FlprivacyError
from flprivacy.study.given_cohort import pull_cohort
from flprivacy.study.plan import Plan
from tests.audit_plan import audit_plan
from tests.cohort_builder import build_cohort, cohort_meta, scan_table
from tests.services.failing_server import FAULTS, Script, serving
from tests.services.fault_sides import SIDES, GcsSide, S3Side, read_folder

_SHAPE, _SCANS = (4, 30, 50), 90  # 6,000 bytes a volume
_FRACTIONS, _SEEDS = (0.1, 0.4), (0, 1)
KINDS = ("plain", "changed", "killed")


@dataclass(frozen=True, kw_only=True)
class Draw:
    """What a run is put to.

    Attributes:
        kind: one of ``KINDS``: faults alone, with an object that changes, or with a kill.
        faults: kinds that may strike; one alone in half of the runs.
        rate: share of the answers that fail.
        moment: number of the read at which the object changes or the process is killed, of about as many.
        delay_seconds: from that read to the kill.
        rng: draws the rest.
    """

    kind: str
    faults: tuple[str, ...]
    rate: float
    moment: int
    delay_seconds: float
    rng: random.Random


def draw(seed: int) -> Draw:
    """Return what the run of a seed is put to."""
    rng = random.Random(seed)
    kind = rng.choice(("plain", *KINDS))
    faults = tuple(rng.sample(FAULTS, 1 if rng.random() < 0.5 else rng.randint(2, len(FAULTS))))
    rate = rng.choice((0.0, 0.05, 0.2) if kind == "killed" else (0.05, 0.2, 0.5, 0.9))
    moment, delay = rng.randint(1, 25), rng.uniform(0.0, 0.1)
    return Draw(kind=kind, faults=faults, rate=rate, moment=moment, delay_seconds=delay, rng=rng)


@dataclass
class Outcome:
    """What one run came to.

    Attributes:
        seed: of the run.
        kind: as drawn.
        right: the cohort was there and right; else the step refused, or was killed.
        killed: the process was killed before it ended.
        message: of the refusal.
        wrong: what should never be, where a caller notes that; :func:`fault_run` raises instead.
        faults: that struck, by kind.
        volume_bytes: that the pull wants.
        moved_again: volume bytes that the calm run moved.
    """

    seed: int
    kind: str
    right: bool = False
    killed: bool = False
    message: str = ""
    wrong: str = ""
    volume_bytes: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    moved_again: int = 0


def make_source(folder: Path) -> Cohort:
    """Write the cohort that all runs pull: three sites, some test patients."""
    number = np.arange(_SCANS)
    table = scan_table(
        _SCANS,
        patient_id=[f"patient-{i // 2}" for i in number],
        site_id=number % 3,
        split=np.where(number // 2 % 5 == 4, "test", "train"),
        sex=["F" if i % 3 else "M" for i in number],
        age_years=30.0 + number / 2,
    )
    return build_cohort(folder, table, cohort_meta(_SHAPE, "ABC", name="faults"), 3)


@contextlib.contextmanager
def fault_environment(servers: dict[str, str]) -> Iterator[None]:
    """Set the variables that make pulls talk to the server and lose patience soon."""
    ours = {
        **servers,
        "FLPRIVACY_STORAGE_FIRST_DELAY_SECONDS": "0.002",
        "FLPRIVACY_STORAGE_LONGEST_DELAY_SECONDS": "0.01",
        "FLPRIVACY_STORAGE_ATTEMPTS": "4",
        "FLPRIVACY_STORAGE_PART_BYTES": "20000",
        "FLPRIVACY_STORAGE_READ_BYTES": "20000",
        "FLPRIVACY_STORAGE_READ_TIMEOUT_SECONDS": "20",
    }
    before = {name: os.environ.get(name) for name in ours}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def fault_run(seed: int, source: Cohort, folder: Path, name: str = "S3") -> Outcome:
    """Pull once from a failing server and once from a calm one, into ``folder``.

    Args:
        seed: draws what it is put to.
        source: what is pulled.
        folder: empty.
        name: of the server, a key of SIDES.

    Raises:
        AssertionError: wrong data, half a cohort, or an error that is not one line of ours.
    """
    drawn, side = draw(seed), SIDES[name]()
    outcome = Outcome(seed=seed, kind=drawn.kind, volume_bytes=len(_wanted(source)) * int(np.prod(_SHAPE)))
    with serving(side.server) as server, fault_environment(side.environment()):
        whole = read_folder(source.folder)
        side.put(whole)
        server.script = Script(seed=seed, rate=drawn.rate, faults=drawn.faults)
        if drawn.kind == "changed":
            server.before_read = _changing(side, whole, drawn)
        if drawn.kind == "killed":
            outcome.killed = _run_and_kill(side, drawn, folder)
            outcome.right = (folder / "out").exists()
        else:
            _run(outcome, side.uri, folder)
            assert outcome.right == (folder / "out").exists()
        _check_whole_or_absent(folder / "out", source)
        outcome.faults = Counter(server.injected)
        server.script, server.before_read = Script(), None
        side.put(whole)
        server.sent.clear()
        _pull(side.uri, folder / "calm", folder / "store")
        outcome.moved_again = sum(n for key, n in server.sent.items() if key.endswith(".npy"))
        assert (folder / "calm").exists()
        _check_whole_or_absent(folder / "calm", source)
    return outcome


def _pull(uri: str, out: Path, store: Path) -> None:
    plan = audit_plan(out.with_suffix(".json"), cohort=uri, fractions=_FRACTIONS, seeds=_SEEDS)
    pull_cohort(Plan.read(plan), out, store=str(store))


def _run(outcome: Outcome, uri: str, folder: Path) -> None:
    try:
        _pull(uri, folder / "out", folder / "store")
    except FlprivacyError as error:
        outcome.message = str(error)
        assert "\n" not in outcome.message
        assert uri in outcome.message, outcome.message
    else:
        outcome.right = True


def _changing(side: S3Side | GcsSide, objects: dict[str, bytes], drawn: Draw) -> Callable[[str], None]:
    """Return what replaces some object by another of its size once ``moment`` reads were answered."""
    reads: list[str] = []
    victim = drawn.rng.choice(sorted(objects))

    def hook(key: str) -> None:
        reads.append(key)
        if len(reads) == drawn.moment:
            data = objects[victim]
            side.replace(victim, data[:200] + bytes(255 - b for b in data[200:]))

    return hook


def _run_and_kill(side: S3Side | GcsSide, drawn: Draw, folder: Path) -> bool:
    """Pull in a process of its own, and kill that a little after its ``moment``-th read; say if that met it alive."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    words = (dict(os.environ), side.uri, folder / "out", folder / "store")
    process = context.Process(target=_pull_quietly, args=words)
    reads: list[str] = []

    def hook(key: str) -> None:
        reads.append(key)
        if len(reads) == drawn.moment:
            threading.Timer(drawn.delay_seconds, process.kill).start()

    side.server.before_read = hook
    process.start()
    process.join(timeout=60)
    if process.exitcode is None:
        process.kill()
        raise AssertionError("the pull neither ended nor failed within a minute")
    assert process.exitcode in (0, 2, -signal.SIGKILL), process.exitcode
    return process.exitcode == -signal.SIGKILL


def _pull_quietly(environment: dict[str, str], uri: str, out: Path, store: Path) -> None:
    os.environ.update(environment)
    try:
        _pull(uri, out, store)
    except FlprivacyError:
        raise SystemExit(2) from None


def _wanted(source: Cohort) -> npt.NDArray[np.int64]:
    """Return the rows that the pull asks for: the naive union."""
    exposed = [exposed_rows(source, fraction=max(_FRACTIONS), seed=seed) for seed in _SEEDS]
    members = member_rows(source, fractions=_FRACTIONS, seeds=_SEEDS)
    return np.unique(np.concatenate([source.rows("test"), *exposed, members]))


def _check_whole_or_absent(out: Path, source: Cohort) -> None:
    """Check that there is nothing, or exactly the rows that were asked for, and right."""
    if not out.exists():
        return
    found = verify_cohort(out)
    assert found.meta == source.meta
    rows = _wanted(source)
    assert found.places is not None
    np.testing.assert_array_equal(np.flatnonzero(found.places >= 0), rows)
    np.testing.assert_array_equal(read_volumes(found, rows), read_volumes(source, rows))
    whole = dataclasses.replace(open_cohort(source.folder), folder=found.folder)
    for fraction in _FRACTIONS:
        for seed in _SEEDS:
            drawn = [exposed_rows(cohort, fraction=fraction, seed=seed) for cohort in (found, whole)]
            np.testing.assert_array_equal(*drawn)
