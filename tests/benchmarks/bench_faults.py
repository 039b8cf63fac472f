"""Pulls of a cohort from servers that fail: 200 seeded runs; none may leave wrong data, nor half a cohort.

Faults: connections reset or closed in mid-body, bursts of 500, 503 and SlowDown, stalls, bodies cut short with a good
status, other ranges than asked for, corrupted bytes, objects that change between look and read, and processes killed.
Every fault strikes alone in some runs and with others in more. A quarter as many runs again do the same to Google
Cloud Storage. As many at a time as there are cores.
Runs by environment: FLPRIVACY_BENCH_FAULT_RUNS (200), from seed FLPRIVACY_BENCH_FAULT_SEED (0).
"""

import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from flprivacy.cohorts.format import open_cohort
from flprivacy.core.progress import track
from tests.services.failing_server import FAULTS
from tests.services.fault_runs import KINDS, Outcome, draw, fault_run, make_source
from tests.services.own_environment import forget_foreign_variables

_RUNS = int(os.environ.get("FLPRIVACY_BENCH_FAULT_RUNS", 200))
_SEED = int(os.environ.get("FLPRIVACY_BENCH_FAULT_SEED", 0))
_OTHERS = {"changed": "object changed", "killed": "process killed"}


def one_run(seed: int, side: str, folder: Path) -> Outcome:
    """Return what became of a run, also where that should never be."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        try:
            return fault_run(seed, open_cohort(folder / "source"), Path(name), side)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding
            drawn = draw(seed)
            text = f"{side} seed {seed}: {type(error).__name__}: {error}"
            return Outcome(seed=seed, kind=drawn.kind, wrong=text, faults=Counter(drawn.faults))


def all_runs(side: str, count: int, folder: Path) -> list[Outcome]:
    """Return what became of every run."""
    context = multiprocessing.get_context("forkserver")
    with ProcessPoolExecutor(os.cpu_count(), mp_context=context) as pool:
        waiting = [pool.submit(one_run, seed, side, folder) for seed in range(_SEED, _SEED + count)]
        return [one.result() for one in track(waiting, f"{side}: pulls under faults", count)]


def too_easy(outcomes: Sequence[Outcome]) -> list[str]:
    """Return what the runs did not put to the test."""
    struck: set[str] = set().union(*(outcome.faults for outcome in outcomes))
    missing = [f"fault {name!r} never struck" for name in FAULTS if name not in struck]
    missing += [f"no run of kind {kind!r}" for kind in KINDS if not any(o.kind == kind for o in outcomes)]
    checks = {
        "no pull came through its faults": any(o.right and o.faults for o in outcomes),
        "no pull was refused": any(o.message for o in outcomes),
        "no changed object was noticed": any(o.kind == "changed" and "changed" in o.message for o in outcomes),
        "no process was killed": any(o.killed for o in outcomes),
        "none went on from what a killed one had": any(o.killed and o.moved_again < o.volume_bytes for o in outcomes),
    }
    return missing + [text for text, holds in checks.items() if not holds]


def tell(side: str, outcomes: Sequence[Outcome]) -> None:
    """Print what became of the runs by fault: a run counts for every fault that struck it."""
    print(f"\n{side}: {len(outcomes)} pulls; each counts for every fault that struck it")
    print(f"{'fault':16} struck  runs  alone  right  failed clearly  killed  wrong")
    for fault in (*FAULTS, *_OTHERS):
        if fault in _OTHERS:
            runs = [o for o in outcomes if o.kind == fault]
            alone = sum(not o.faults for o in runs)
        else:
            runs = [o for o in outcomes if o.faults[fault]]
            alone = sum(len(o.faults) == 1 and o.kind == "plain" for o in runs)
        _row(_OTHERS.get(fault, fault), sum(o.faults[fault] for o in runs), alone, runs)
    _row("no fault struck", 0, 0, [o for o in outcomes if not o.faults and o.kind == "plain"])
    _row("all", sum(sum(o.faults.values()) for o in outcomes), 0, outcomes)
    again = [o for o in outcomes if not o.right]
    share = sum(o.moved_again for o in again) / max(1, sum(o.volume_bytes for o in again))
    print(f"calm runs after those that did not end right: all right, {share:.0%} of the volume bytes moved again")
    reasons = Counter(_reason(outcome.message) for outcome in outcomes if outcome.message)
    print(f"failed because: {', '.join(f'{text} ({count})' for text, count in reasons.most_common())}")


def _row(name: str, struck: int, alone: int, runs: Sequence[Outcome]) -> None:
    right, refused = sum(o.right for o in runs), sum(bool(o.message) for o in runs)
    refused += sum(not (o.right or o.killed or o.message or o.wrong) for o in runs)  # by the exit code, of a process
    killed, wrong = sum(o.killed and not o.right for o in runs), sum(bool(o.wrong) for o in runs)
    cells = f"{struck or '':>6} {len(runs):5} {alone or '':>6} {right:6} {refused:15} {killed:7} {wrong:6}"
    print(f"{name:16} {cells}")


def _reason(message: str) -> str:
    """Shorten a message to what it says of the object."""
    known = ("changed", "is not what its checksum says", "not those of its checksum", "gave up", "not a plain array")
    return next((words for words in known if words in message), message)


def main() -> int:
    """Run everything; return 0 if nothing was wrong and the runs were hard enough."""
    forget_foreign_variables()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that folders are removed
    started, findings = time.perf_counter(), []
    with tempfile.TemporaryDirectory(prefix="bench-faults-") as name:
        make_source(Path(name) / "source")
        for side, count in (("S3", _RUNS), ("GCS", max(1, _RUNS // 4))):
            outcomes = all_runs(side, count, Path(name))
            tell(side, outcomes)
            findings += [outcome.wrong for outcome in outcomes if outcome.wrong]
            findings += [f"{side}: {text}" for text in too_easy(outcomes)]
    for text in findings:
        print(f"  WRONG: {text}")
    print(f"\n{time.perf_counter() - started:.0f} s: {len(findings)} findings; 0 is wanted")
    return 1 if findings else 0


if __name__ == "__main__":
    raise SystemExit(main())
