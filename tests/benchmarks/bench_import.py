"""Imports a large tree of DICOM series with one process and with two; fails if two are not 1.5 times as fast.

Also prints the memory of the processes, for a tree of a quarter and for all of it: it must not grow with the scans.

Usage: python tests/benchmarks/bench_import.py [SERIES]
"""

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parents[1] / "cohorts" / "importing"))

from dicom_scans import Scan, write_series

from flprivacy.cohorts.importing.build import import_cohort
from flprivacy.cohorts.importing.config import ImportConfig
from flprivacy.cohorts.importing.pseudonyms import Pseudonyms

SHAPE = (24, 64, 64)
WANTED = 1.5


def make_tree(root: Path, series: int) -> None:
    """Write ``series`` series of 24 slices."""
    for number in range(series):
        spacing = (4.0, 2.5 + number / series, 3.0)  # so that volumes differ
        scan = Scan(shape=SHAPE, spacing_mm=spacing, uid=f"1.{number}", study=f"2.{number}", patient=f"p{number}")
        write_series(root / f"{number:05d}", scan)


def one_import(root: Path, out: Path, workers: int) -> None:
    """Import, and print the digest, the seconds that it took and the MiB of this process and of its workers."""
    config = ImportConfig(name="large", site="A", shape=SHAPE)
    started = time.perf_counter()
    cohort, _ = import_cohort("dicom", root, out, config=config, pseudonyms=Pseudonyms("k" * 32), workers=workers)
    seconds = time.perf_counter() - started
    memory = [resource.getrusage(who).ru_maxrss >> 10 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    print(cohort.meta.digest, f"{seconds:.1f}", *memory)


def measured(root: Path, out: Path, workers: int) -> tuple[str, float, list[int]]:
    """Import in a fresh process; return the digest, seconds and MiB."""
    command = [sys.executable, __file__, "--import", str(root), str(out), str(workers)]
    digest, seconds, *memory = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    print(f"{workers} processes: {float(seconds):7.1f} s; MiB of this process and of a worker: {', '.join(memory)}")
    return digest, float(seconds), [int(part) for part in memory]


def main(series: int) -> int:
    """Compare one process with two."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_tree(folder / "quarter", series // 4)
        make_tree(folder / "whole", series)
        print(f"{series // 4} series")
        _, _, less = measured(folder / "quarter", folder / "a", 2)
        print(f"{series} series")
        first, alone, _ = measured(folder / "whole", folder / "b", 1)
        second, together, more = measured(folder / "whole", folder / "c", 2)
    growth = (more[0] - less[0]) * 1024 / (series - series // 4)
    print(f"{alone / together:.2f} times as fast; {growth:.0f} KiB a series of {SHAPE[0]} files")
    return 0 if first == second and alone / together >= WANTED else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["--import"]:
        one_import(Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
    else:
        sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000))
