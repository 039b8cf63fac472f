"""A harmless model is called a leak in at most 5% of studies; a planted leak is found; too few patients settle nothing.

Baselines are made so weak in some studies that nothing but the luck of fresh weights is left to guard the target.
"""

from dataclasses import replace

import pytest

from tests.auditing.simulation import Attacker, Study, count_verdicts

REPETITIONS = 120
NOTHING, SIGNAL, WEAK = Attacker(strength=0.0), Attacker(strength=1.5), Attacker(strength=0.1)
FRESH, FRESH_YEARS = Attacker(strength=1.2, model_spread=0.4), Attacker(strength=0.8, model_spread=0.4)

NULL = Study(target=NOTHING, untrained=NOTHING, pixels=NOTHING, n_classes=4, tail=0.2, patients=150)
NULLS = {
    "scores independent of the truth": NULL,
    "equal signal": replace(NULL, target=SIGNAL, untrained=SIGNAL, pixels=SIGNAL),
    "one more draw of fresh weights": replace(NULL, target=FRESH, untrained=FRESH, pixels=WEAK),
    "one more draw of fresh weights, years": replace(
        NULL, attribute="age_years", target=FRESH_YEARS, untrained=FRESH_YEARS, pixels=WEAK
    ),
}


@pytest.mark.parametrize("name", NULLS)
def test_a_harmless_target_is_hardly_ever_a_leak(name: str) -> None:
    default = 0.5 if NULLS[name].attribute == "age_years" else 0.02
    for counts in count_verdicts(NULLS[name], thresholds=(0.0, default), repetitions=REPETITIONS, seed=3):
        assert sum(counts.values()) == REPETITIONS
        assert counts["leak"] <= 0.05 * REPETITIONS


def verdicts(study: Study, threshold: float, repetitions: int = 20) -> dict[str, int]:
    (counts,) = count_verdicts(study, thresholds=(threshold,), repetitions=repetitions, seed=4)
    return dict(counts)


def test_a_planted_leak_is_found() -> None:
    study = replace(NULL, target=Attacker(strength=3.0), untrained=SIGNAL, pixels=SIGNAL, patients=250)
    assert verdicts(study, 0.02) == {"leak": 20}


def test_a_planted_leak_of_age_is_found_although_lower_is_stronger() -> None:
    study = replace(NULL, attribute="age_years", target=Attacker(strength=0.95), untrained=WEAK, pixels=WEAK)
    study = replace(study, patients=250)
    assert verdicts(study, 0.5) == {"leak": 20}


def test_a_target_weaker_than_its_baselines_shows_no_leak() -> None:
    study = replace(NULL, target=NOTHING, untrained=SIGNAL, pixels=SIGNAL, patients=250)
    assert verdicts(study, 0.02) == {"no leak found": 20}


def test_a_worse_guess_of_the_age_shows_no_leak() -> None:
    strong = Attacker(strength=0.9)
    study = replace(NULL, attribute="age_years", target=WEAK, untrained=strong, pixels=strong)
    assert verdicts(study, 0.5) == {"no leak found": 20}


def test_a_handful_of_patients_is_inconclusive() -> None:
    study = replace(NULL, target=SIGNAL, untrained=SIGNAL, pixels=SIGNAL, patients=12)
    counts = verdicts(study, 0.02)
    assert counts["inconclusive"] >= 19


def test_a_leak_far_above_the_threshold_is_never_called_harmless() -> None:
    study = replace(NULL, target=Attacker(strength=2.2), untrained=SIGNAL, pixels=SIGNAL)
    assert "no leak found" not in verdicts(study, 0.02, repetitions=60)
