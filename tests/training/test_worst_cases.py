"""Worst cases: the right training keeps its claim in each, and what only they show is found."""

from collections.abc import Collection

import pytest
from planted_bugs import INVISIBLE, REPEATED, RIGHT, planted

from flprivacy.auditing.epsilon.audit import audit_epsilon
from flprivacy.training.worst_cases import CASES, worst_cases

SHOWN_BY = {
    "batch mean clipped, noise on the mean": ("one against all", 300),
    "noise halved": ("one against all", 300),
    "clients weighted by scans": ("many scans", 100),
    "number of units read off the data": ("one more", 100),
}


def contradicted(name: str, *, cases: Collection[str], trials: int) -> list[str]:
    """Return the cases that contradict a training's claim."""
    with planted(name) as method:
        found = worst_cases(method, cases=cases, trials=trials)
    names = []
    for case in found:
        ins, outs = case.scores[case.included], case.scores[~case.included]
        audit = audit_epsilon(ins, outs, delta=case.delta, confidence=0.9875)
        print(f"{name}, {case.name}: claimed {case.epsilon:.2f}, proven {audit.epsilon_lower:.2f}")
        names += [case.name] if audit.epsilon_lower > case.epsilon else []
    return names


def test_the_right_training_keeps_its_claim_in_every_case() -> None:
    assert contradicted(RIGHT, cases=tuple(CASES), trials=300) == []


@pytest.mark.parametrize("name", SHOWN_BY)
def test_what_canaries_of_one_training_do_not_show_is_found(name: str) -> None:
    case, trials = SHOWN_BY[name]
    assert contradicted(name, cases=[case], trials=trials) == [case]


def test_every_mistake_has_a_case_that_shows_it() -> None:
    assert set(SHOWN_BY) == set(REPEATED)
    assert {case for case, _ in SHOWN_BY.values()} == set(CASES)
    assert not set(REPEATED) & set(INVISIBLE)


def test_another_seed_draws_other_coins_and_noise_and_the_same_seed_the_same() -> None:
    one, again, other = (worst_cases(cases=["one against all"], trials=20, seed=seed)[0] for seed in (0, 0, 1))
    assert one.scores.tolist() == again.scores.tolist() != other.scores.tolist()
    assert one.included.tolist() == again.included.tolist() != other.included.tolist()
