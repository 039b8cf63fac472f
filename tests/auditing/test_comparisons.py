"""Targets held against each other: a difference that is there is found, none is not."""

from dataclasses import replace

import numpy as np

from flprivacy.auditing.estimates import compare_targets
from flprivacy.auditing.measures import Measured, measure
from flprivacy.auditing.uncertainty import resample_patients
from flprivacy.core.audit import ExcessEstimate
from tests.auditing.simulation import Attacker, Draw, heavy_tailed


def _measured(seed: int, strengths: dict[str, float]) -> list[Measured]:
    rng = np.random.default_rng(seed)
    draw = Draw(rng, frequencies=heavy_tailed(8), patients=250)
    held_out = draw.held_out()
    resampling = resample_patients(held_out.patients, replicates=150, seed=seed)
    found = []
    for name, strength in strengths.items():
        runs = draw.runs(held_out, "target", draw.scores(Attacker(strength=strength)))
        found.append(measure(replace(runs, attack=runs.attack.on(name)), resampling))
    return found


def _differences(seed: int, strengths: dict[str, float]) -> list[ExcessEstimate]:
    return [c for c in compare_targets(_measured(seed, strengths), confidence=0.95) if c.metric == "f1_weighted"]


def test_every_pair_once_the_stronger_first_and_equal_to_the_difference_of_means() -> None:
    measured = _measured(0, {"a": 1.0, "b": 2.0, "c": 1.5})
    values = {one.runs.attack.target: one.point("f1_weighted") for one in measured}
    found = [c for c in compare_targets(measured, confidence=0.95) if c.metric == "f1_weighted"]
    assert {frozenset((c.attack.target, c.baseline)) for c in found} == {frozenset(p) for p in ("ab", "ac", "bc")}
    for c in found:
        assert c.value >= 0.0
        np.testing.assert_allclose(c.value, values[c.attack.target] - values[c.baseline], atol=1e-9)


def test_a_clear_difference_is_found_and_none_is_covered() -> None:
    clear = [_differences(seed, {"a": 1.0, "b": 2.0})[0] for seed in range(20)]
    assert all(c.attack.target == "b" and c.ci_low > 0.0 for c in clear)
    equal = [_differences(seed, {"a": 1.5, "b": 1.5})[0] for seed in range(100)]
    assert sum(c.ci_low > 0.0 for c in equal) <= 9  # 95% intervals miss 5 of 100; 10 or more has a chance of 3%


def test_baselines_and_other_accesses_are_passed_over() -> None:
    a, b = _measured(0, {"a": 1.0, "b": 2.0})
    baseline = replace(b, runs=replace(b.runs, role="baseline"))
    other = replace(b, runs=replace(b.runs, attack=replace(b.runs.attack, access="outputs")))
    assert compare_targets([a, baseline, other], confidence=0.95) == []
