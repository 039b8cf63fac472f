"""Pulls of a cohort from a server that fails: 200 seeded runs; none may leave wrong data, nor half a cohort.

Faults: connections reset or closed in mid-body, bursts of 500, 503 and SlowDown, stalls, bodies cut short with a good
status, other ranges than asked for, corrupted bytes, objects that change between look and read, and processes killed.
Runs by environment: FLPRIVACY_BENCH_FAULT_RUNS (200), from seed FLPRIVACY_BENCH_FAULT_SEED (0).
"""

import os
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from flprivacy.core.cohort import Cohort
from tests.services.fault_runs import KINDS, Outcome, fault_run, make_source
from tests.services.scripted_s3 import FAULTS

_RUNS = int(os.environ.get("FLPRIVACY_BENCH_FAULT_RUNS", 200))
_SEED = int(os.environ.get("FLPRIVACY_BENCH_FAULT_SEED", 0))


def all_runs(source: Cohort, folder: Path) -> tuple[list[Outcome], list[str]]:
    """Return what became of every run, and what was wrong, by seed."""
    outcomes, wrong = [], []
    for seed in range(_SEED, _SEED + _RUNS):
        with tempfile.TemporaryDirectory(dir=folder) as name:
            try:
                outcomes.append(fault_run(seed, source, Path(name)))
            except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding
                wrong.append(f"seed {seed}: {type(error).__name__}: {error}")
    return outcomes, wrong


def too_easy(outcomes: list[Outcome]) -> list[str]:
    """Return what the runs did not put to the test."""
    struck = set().union(*(outcome.faults for outcome in outcomes))
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


def tell(outcomes: list[Outcome]) -> None:
    """Print what became of the runs, kind by kind, and what struck them."""
    struck: Counter[str] = sum((outcome.faults for outcome in outcomes), Counter())
    print("kind      runs  right  refused  killed  volume bytes that the next, calm run still moved")
    for kind in KINDS:
        runs = [outcome for outcome in outcomes if outcome.kind == kind]
        again = sum(o.moved_again for o in runs) / max(1, sum(o.volume_bytes for o in runs))
        counts = [sum(map(bool, values)) for values in ((o.right for o in runs), (o.message for o in runs))]
        killed = sum(o.killed for o in runs)
        print(f"{kind:8} {len(runs):5} {counts[0]:6} {counts[1]:8} {killed:7}  {again:.0%}")
    print(f"faults that struck: {', '.join(f'{name} {count}' for name, count in sorted(struck.items()))}")
    reasons = Counter(_reason(outcome.message) for outcome in outcomes if outcome.message)
    print(f"refused because: {', '.join(f'{text} ({count})' for text, count in reasons.most_common())}")


def _reason(message: str) -> str:
    """Shorten a message to what it says of the object."""
    known = ("changed", "is not what its checksum says", "not those of its checksum", "gave up")
    return next((words for words in known if words in message), message)


def main() -> int:
    """Run everything; return 0 if nothing was wrong and the runs were hard enough."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that folders are removed
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="bench-faults-") as name:
        source = make_source(Path(name) / "source")
        outcomes, wrong = all_runs(source, Path(name))
    tell(outcomes)
    easy = too_easy(outcomes)
    for text in (*wrong, *easy):
        print(f"  WRONG: {text}")
    print(f"{_RUNS} pulls under faults in {time.perf_counter() - started:.0f} s: {len(wrong)} wrong; 0 is wanted")
    return 1 if wrong or easy else 0


if __name__ == "__main__":
    raise SystemExit(main())
