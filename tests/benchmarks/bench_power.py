"""Power and false alarms of a whole audit's verdicts: the step-down over all of them beside Holm's method.

Audits of 160 tests (five targets, four attributes, four accesses, two metrics) as cheap simulations whose truth is
known. Run with ``python tests/benchmarks/bench_power.py [audits]``.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import multiprocessing
import sys
import time
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from flprivacy.auditing import multiplicity
from tests.auditing.hits import Hits
from tests.auditing.test_multiplicity import leaks

NULLS = {
    "40 verdicts": Hits(attributes=5, targets=4, accesses=2),
    "80 verdicts": Hits(),
    "80 verdicts, models differ": Hits(spread=0.3),
    "80 verdicts, seeds differ": Hits(seed_spread=0.5),
    "80 verdicts, 60 patients": Hits(patients=60, spread=0.1),
    "80 verdicts, 4 of them true leaks": Hits(planted=0.3, leaks=4, spread=0.1),
}
PLANTED = {f"excess {planted:g}": Hits(planted=planted, leaks=2) for planted in (0.05, 0.1, 0.15, 0.2)} | {
    f"excess {planted:g}, models differ": Hits(planted=planted, leaks=2, spread=0.1) for planted in (0.1, 0.15, 0.2)
}


def counted(kind: Hits, threshold: float, seed: int) -> np.ndarray:
    """Return, by the step-down and by Holm's method, whether any false leak was called and the share of true ones."""
    multiplicity._DRAWS = 2000
    drawn = kind.audit(seed)
    planted = np.array([one.leaks for one in drawn])
    return np.array([[(f & ~planted).any(), f[planted].mean() if kind.leaks else 0.0] for f in leaks(drawn, threshold)])


def main() -> None:
    """Print both tables."""
    audits, started = int(sys.argv[1]) if len(sys.argv) > 1 else 200, time.monotonic()
    with multiprocessing.get_context("spawn").Pool() as pool:
        for title, kinds, threshold, column in (
            ("any false leak", NULLS, 0.0, 0),
            ("planted leaks that were called, at a threshold of .02", PLANTED, 0.02, 1),
        ):
            print(f"{title}, {audits} audits: step-down / Holm")
            for name, kind in kinds.items():
                found = np.mean(pool.map(partial(counted, kind, threshold), range(1000, 1000 + audits)), axis=0)
                print(f"  {name:<36} {found[0, column]:.3f} / {found[1, column]:.3f}", flush=True)
    print(f"{time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
