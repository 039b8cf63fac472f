"""95% intervals cover the truth in 92% to 98% of 500 simulated studies.

Seeds are fixed, bounds are not tuned to them: tests/benchmarks/bench_auditing_coverage.py counts the same over more
studies, seeds and designs.
"""

from dataclasses import replace

import pytest

from tests.auditing.simulation import Attacker, Study, measure_coverage

SITES = Study(
    target=Attacker(strength=1.8),
    untrained=Attacker(strength=1.3),
    pixels=Attacker(strength=1.3),
    n_classes=6,
    initialisations=0,
)
YEARS = Study(
    attribute="age_years",
    target=Attacker(strength=0.6),
    untrained=Attacker(strength=0.4),
    pixels=Attacker(strength=0.4),
    initialisations=0,
)
MISSED_BY_DECADES = Attacker(strength=0.6, gross=0.05)
FEW_PATIENTS = replace(YEARS, target=MISSED_BY_DECADES, pixels=MISSED_BY_DECADES, patients=40)
OF_CLASSES = ("f1_weighted", "f1_macro", "balanced_accuracy", "accuracy", "top3_accuracy", "auc_ovr")
REPETITIONS = 500


@pytest.mark.parametrize(
    ("study", "metrics"),
    [
        (SITES, OF_CLASSES),
        (YEARS, ("mae_years",)),
    ],
    ids=["sites", "years"],
)
def test_coverage(study: Study, metrics: tuple[str, ...]) -> None:
    found = measure_coverage(study, repetitions=REPETITIONS, seed=1, replicates=100, draws=100)
    for what in ("target", "target - pixels"):
        for metric in metrics:
            covered = found[what, metric].covered
            assert 0.92 * REPETITIONS <= covered <= 0.98 * REPETITIONS, (what, metric, covered)


def test_the_error_of_an_attack_that_misses_one_patient_in_20_by_decades_is_covered_by_40() -> None:
    found = measure_coverage(FEW_PATIENTS, repetitions=REPETITIONS, seed=1, replicates=100, draws=100)
    covered = found["target", "mae_years"].covered
    assert 0.92 * REPETITIONS <= covered <= 0.98 * REPETITIONS, covered
