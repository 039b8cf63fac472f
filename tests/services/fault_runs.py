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
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from flprivacy.cohorts.format import open_cohort, read_volumes, verify_cohort, write_cohort
from flprivacy.cohorts.sampling import exposed_rows
from flprivacy.core.cohort import Cohort, CohortMeta
from flprivacy.core.errors import FlprivacyError
from flprivacy.steps.pull import pull_cohort
from tests.services.scripted_s3 import FAULTS, Script, ScriptedS3, scripted_s3

_SHAPE, _SCANS = (4, 30, 50), 90  # 6,000 bytes a volume
_URI = "s3://bucket/cohort"
_FRACTIONS, _SEEDS = (0.1, 0.4), (0, 1)
KINDS = ("plain", "changed", "killed")


@dataclass
class Outcome:
    """What one run came to.

    Attributes:
        seed: of the run.
        kind: one of ``KINDS``: faults alone, with an object that changes, or with a kill.
        right: the cohort was there and right; else the step refused, or was killed.
        killed: the process was killed before it ended.
        message: of the refusal.
        faults: that struck, by kind.
        volume_bytes: that the pull wants.
        moved_again: volume bytes that the calm run moved.
    """

    seed: int
    kind: str
    right: bool = False
    killed: bool = False
    message: str = ""
    volume_bytes: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    moved_again: int = 0


def make_source(folder: Path) -> Cohort:
    """Write the cohort that all runs pull: three sites, some test patients."""
    number = np.arange(_SCANS)
    manifest = pd.DataFrame(
        {
            "scan_id": [f"scan-{i}" for i in number],
            "patient_id": [f"patient-{i // 2}" for i in number],
            "site_id": number % 3,
            "split": np.where(number // 2 % 5 == 4, "test", "train"),
            "label": number % 2,
            "sex": ["F" if i % 3 else "M" for i in number],
            "age_years": 30.0 + number / 2,
        }
    )
    meta = CohortMeta(
        name="faults",
        shape=_SHAPE,
        window_hu=(-1000.0, 400.0),
        spacing_mm=None,
        site_names=("A", "B", "C"),
        class_names=("x", "y"),
    )
    data = np.random.default_rng(3).integers(0, 256, (_SCANS, *_SHAPE), dtype=np.uint8)
    return write_cohort(folder, meta=meta, manifest=manifest, volumes=iter(enumerate(data)))


def serve_source(server: ScriptedS3, folder: Path) -> None:
    """Put a cohort's files into the server's bucket."""
    files = (path for path in folder.rglob("*") if path.is_file())
    server.objects["bucket"] = {f"cohort/{p.relative_to(folder).as_posix()}": p.read_bytes() for p in files}


@contextlib.contextmanager
def fault_environment(endpoint: str) -> Iterator[None]:
    """Set the variables that make pulls talk to the server and lose patience soon."""
    ours = {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "scripted",
        "AWS_SECRET_ACCESS_KEY": "scripted",
        "AWS_EC2_METADATA_DISABLED": "true",
        "FLPRIVACY_STORAGE_FIRST_DELAY_SECONDS": "0.002",
        "FLPRIVACY_STORAGE_LONGEST_DELAY_SECONDS": "0.01",
        "FLPRIVACY_STORAGE_ATTEMPTS": "4",
        "FLPRIVACY_STORAGE_PART_BYTES": "20000",
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


def fault_run(seed: int, source: Cohort, folder: Path) -> Outcome:
    """Pull once from a failing server and once from a calm one, into ``folder``.

    Raises:
        AssertionError: wrong data, half a cohort, or an error that is not one line of ours.
    """
    rng = random.Random(seed)
    kind = rng.choice(("plain", *KINDS))
    outcome = Outcome(seed=seed, kind=kind, volume_bytes=len(_wanted(source)) * int(np.prod(_SHAPE)))
    with scripted_s3() as server, fault_environment(server.endpoint):
        serve_source(server, source.folder)
        whole = dict(server.objects["bucket"])
        faults = tuple(rng.sample(FAULTS, rng.randint(1, len(FAULTS))))
        rates = (0.0, 0.05, 0.2) if kind == "killed" else (0.05, 0.2, 0.5, 0.9)
        server.script = Script(seed=seed, rate=rng.choice(rates), faults=faults)
        moment = rng.randint(1, 25)  # of about as many reads
        if kind == "changed":
            server.before_read = _changing(server, moment, rng)
        if kind == "killed":
            outcome.killed = _run_and_kill(server, moment, rng.uniform(0.0, 0.1), folder)
            outcome.right = (folder / "out").exists()
        else:
            _run(outcome, folder / "out", folder / "store")
            assert outcome.right == (folder / "out").exists()
        _check_whole_or_absent(folder / "out", source)
        outcome.faults = Counter(server.injected)
        server.script, server.before_read = Script(), None
        server.objects["bucket"] = whole
        server.sent.clear()
        _pull(folder / "calm", folder / "store")
        outcome.moved_again = sum(n for key, n in server.sent.items() if key.endswith(".npy"))
        assert (folder / "calm").exists()
        _check_whole_or_absent(folder / "calm", source)
    return outcome


def _pull(out: Path, store: Path) -> None:
    pull_cohort(cohort=_URI, out=out, fractions=_FRACTIONS, seeds=_SEEDS, store=str(store))


def _run(outcome: Outcome, out: Path, store: Path) -> None:
    try:
        _pull(out, store)
    except FlprivacyError as error:
        outcome.message = str(error)
        assert "\n" not in outcome.message
        assert "bucket" in outcome.message, outcome.message
    else:
        outcome.right = True


def _changing(server: ScriptedS3, moment: int, rng: random.Random):  # type: ignore[no-untyped-def]
    """Return what replaces some object by another of its size once ``moment`` reads were answered."""
    reads: list[str] = []
    victim = rng.choice(sorted(server.objects["bucket"]))

    def hook(key: str) -> None:
        reads.append(key)
        if len(reads) == moment:
            data = server.objects["bucket"][victim]
            server.objects["bucket"][victim] = data[:200] + bytes(255 - b for b in data[200:])

    return hook


def _run_and_kill(server: ScriptedS3, moment: int, delay_seconds: float, folder: Path) -> bool:
    """Pull in a process of its own, and kill that a little after its ``moment``-th read; say if that met it alive."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    process = context.Process(target=_pull_quietly, args=(dict(os.environ), folder / "out", folder / "store"))
    reads: list[str] = []

    def hook(key: str) -> None:
        reads.append(key)
        if len(reads) == moment:
            threading.Timer(delay_seconds, process.kill).start()

    server.before_read = hook
    process.start()
    process.join(timeout=60)
    if process.exitcode is None:
        process.kill()
        raise AssertionError("the pull neither ended nor failed within a minute")
    assert process.exitcode in (0, 2, -signal.SIGKILL), process.exitcode
    return process.exitcode == -signal.SIGKILL


def _pull_quietly(environment: dict[str, str], out: Path, store: Path) -> None:
    os.environ.update(environment)
    try:
        _pull(out, store)
    except FlprivacyError:
        raise SystemExit(2) from None


def _wanted(source: Cohort) -> npt.NDArray[np.int64]:
    """Return the rows that the pull asks for: the naive union."""
    exposed = [exposed_rows(source, fraction=max(_FRACTIONS), seed=seed) for seed in _SEEDS]
    return np.union1d(source.rows("test"), np.concatenate(exposed))


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
