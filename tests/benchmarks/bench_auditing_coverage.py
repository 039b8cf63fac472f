"""How often intervals cover the truth and verdicts are false, on simulated studies whose truth is known.

Run with ``make bench`` or ``python tests/benchmarks/bench_auditing_coverage.py [repetitions] [seed]``.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # one process per core is faster than threads on small matrices

import multiprocessing
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.auditing.simulation import Attacker, Study, count_verdicts, measure_coverage
from tests.auditing.test_family import false_leaks

REPETITIONS, SEED = 1000, 2024

SITES = Study(
    target=Attacker(strength=1.8), untrained=Attacker(strength=1.3, model_spread=0.2), pixels=Attacker(strength=1.3)
)
YEARS = Study(
    attribute="age_years",
    target=Attacker(strength=0.6),
    untrained=Attacker(strength=0.4, model_spread=0.2),
    pixels=Attacker(strength=0.4),
)


def _all(study: Study, **changes: object) -> Study:
    """Return a study in which all attackers are changed."""
    attackers = {name: replace(getattr(study, name), **changes) for name in ("target", "untrained", "pixels")}
    return replace(study, **attackers)


COVERAGE = {
    "8 heavy-tailed classes, 300 patients": SITES,
    "the same, sizes of the classes fixed": replace(SITES, fixed_sizes=True),
    "21 heavy-tailed classes, 330 patients": replace(SITES, n_classes=21, patients=330),
    "2 classes, 300 patients": replace(SITES, n_classes=2, tail=0.1, attribute="sex"),
    "2 classes, nearly always right": replace(
        SITES, n_classes=2, tail=0.1, attribute="sex", target=Attacker(strength=6.0), pixels=Attacker(strength=5.0)
    ),
    "8 classes, 60 patients": replace(SITES, patients=60, tail=0.3),
    "8 classes, 3 seeds": replace(SITES, seeds=3),
    "years, 300 patients": YEARS,
    "years, 60 patients": replace(YEARS, patients=60),
    "years, gross errors about 5% of 300 patients": _all(YEARS, gross=0.05),
    "years, gross errors about 5% of 40 patients": replace(_all(YEARS, gross=0.05), patients=40),
    "2 seeds that matter": replace(_all(SITES, seed_spread=0.6, own_seed_spread=0.6), seeds=2),
    "years, 2 seeds that matter": replace(_all(YEARS, seed_spread=0.6, own_seed_spread=0.6), seeds=2),
    "12 sites of 2 held-out scans": replace(SITES, n_classes=12, tail=0.0, patients=24, scans=1, fixed_sizes=True),
    "2 classes, 12 patients of 16 scans": replace(SITES, n_classes=2, tail=0.1, attribute="sex", patients=12, scans=16),
    "years, 12 patients of 16 scans": replace(YEARS, patients=12, scans=16),
    "21 siloed models": replace(SITES, target=replace(SITES.target, model_spread=0.3), models=21, patients=150),
    "ties": _all(SITES, decimals=0),
    "2 classes, 90:10": replace(SITES, shares=(0.9, 0.1), attribute="sex", patients=200),
}

NOTHING, EQUAL, FRESH = Attacker(strength=0.0), Attacker(strength=1.5), Attacker(strength=1.2, model_spread=0.4)
WEAK = Attacker(strength=0.1)
NULL = Study(target=NOTHING, untrained=NOTHING, pixels=NOTHING, n_classes=4, tail=0.2, patients=200)
LUCK = replace(NULL, target=FRESH, untrained=FRESH, pixels=WEAK)
OLDER = Attacker(strength=0.8, model_spread=0.4)
NULLS = {
    "nobody learns anything": NULL,
    "all learn the same": replace(NULL, target=EQUAL, untrained=EQUAL, pixels=EQUAL),
    "as much as untrained, others weak": replace(NULL, target=EQUAL, untrained=EQUAL, pixels=WEAK),
    "one more draw of fresh weights": LUCK,
    "the same, 2 initialisations": replace(LUCK, initialisations=2),
    "the same, 2 attacker seeds": replace(LUCK, seeds=2),
    "5 more draws of fresh weights": replace(LUCK, models=5),
    "21 heavy-tailed sites, fresh weights": replace(LUCK, n_classes=21, tail=1.0, patients=330),
    "years, all learn the same": replace(
        NULL, attribute="age_years", target=Attacker(strength=0.7), untrained=Attacker(strength=0.7), pixels=WEAK
    ),
    "years, fresh weights": replace(NULL, attribute="age_years", target=OLDER, untrained=OLDER, pixels=WEAK),
}
STRONG = Attacker(strength=2.5)
LEAKS = {
    "planted, 200 patients": replace(NULL, target=STRONG, untrained=EQUAL, pixels=EQUAL),
    "planted, 10 patients": replace(NULL, target=STRONG, untrained=EQUAL, pixels=EQUAL, patients=10),
    # The true excess is .022 in weighted F1 (true_metrics, 300 draws): "no leak found" at .02 would be wrong, barely.
    "planted, barely above the threshold": replace(NULL, target=Attacker(strength=1.6), untrained=EQUAL, pixels=EQUAL),
    "weaker than its baselines": replace(NULL, target=NOTHING, untrained=EQUAL, pixels=EQUAL),
    "planted, years": replace(
        NULL, attribute="age_years", target=Attacker(strength=0.9), untrained=Attacker(strength=0.4), pixels=WEAK
    ),
}


def _coverage(task: tuple[str, int, int]) -> tuple[str, dict]:
    name, repetitions, seed = task
    return name, measure_coverage(COVERAGE[name], repetitions=repetitions, seed=seed)


def _thresholds(study: Study) -> tuple[float, float]:
    return (0.0, 0.5) if study.attribute == "age_years" else (0.0, 0.02)


def _verdicts(task: tuple[str, int, int]) -> tuple[str, list[Counter]]:
    name, repetitions, seed = task
    study = (NULLS | LEAKS)[name]
    return name, count_verdicts(study, thresholds=_thresholds(study), repetitions=repetitions, seed=seed)


def main() -> None:
    """Print coverage of the 95% intervals, then verdicts where there is no leak, then where there is one."""
    numbers = [int(argument) for argument in sys.argv[1:3]]
    repetitions, seed = [*numbers, *(REPETITIONS, SEED)[len(numbers) :]]
    started = time.monotonic()
    with multiprocessing.get_context("spawn").Pool() as pool:
        print(f"95% intervals that cover the truth, of {repetitions}; wholly above it; mean width")
        for name, found in pool.imap(_coverage, [(name, repetitions, seed) for name in COVERAGE]):
            print(f"\n{name}")
            for (what, metric), c in found.items():
                share = 100.0 * c.covered / c.repetitions
                outside = "" if 92.0 <= share <= 98.0 else "  outside 92-98%"
                print(
                    f"  {what:<16} {metric:<18} {c.covered:>5} {share:5.1f}% {c.above:>4}  {c.mean_width:.3f}{outside}"
                )
        for title, studies in (("no leak", NULLS), ("known truth", LEAKS)):
            print(f"\nverdicts of {repetitions}, {title}: leak / inconclusive / no leak found, by threshold")
            for name, counts in pool.imap(_verdicts, [(name, repetitions, seed) for name in studies]):
                cells = [
                    f"{threshold:>4g}: {c['leak']:>4} / {c['inconclusive']:>4} / {c['no leak found']:>4}"
                    for threshold, c in zip(_thresholds(studies[name]), counts, strict=True)
                ]
                print(f"  {name:<38} {'    '.join(cells)}", flush=True)
    audits = repetitions // 5
    any_leak, uncorrected = false_leaks(audits)
    print(f"\n40 harmless verdicts: any leak in {any_leak} of {audits} audits; without correction in {uncorrected}")
    print(f"\n{time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
