"""Excess over a baseline: paired, allowing for the luck of fresh weights."""

import numpy as np
import pytest

from flprivacy.auditing import estimates
from flprivacy.auditing.intervals import effective_patients, metric_interval
from flprivacy.auditing.uncertainty import Uncertainty
from flprivacy.core.audit import ExcessEstimate
from tests.auditing.simulation import Attacker, Draw, audit_draw, heavy_tailed


@pytest.fixture
def draw() -> Draw:
    return Draw(np.random.default_rng(8), frequencies=heavy_tailed(4, 0.3), patients=80)


def over(found: list[ExcessEstimate], baseline: str, metric: str = "f1_weighted") -> ExcessEstimate:
    return next(e for e in found if (e.baseline, e.metric) == (baseline, metric))


def test_it_is_the_difference_of_the_metrics(draw: Draw) -> None:
    scores = {"target": draw.scores(Attacker(strength=2.0), 3), "untrained": draw.scores(Attacker(strength=1.0), 2)}
    metrics, found = audit_draw(draw, scores, replicates=100)
    values = {(m.attack.target, m.metric): m.value for m in metrics}
    assert {e.metric for e in found} == {metric for _, metric in values}
    for e in found:
        assert e.value == pytest.approx(values["target", e.metric] - values["untrained", e.metric])
        assert -1.0 <= e.ci_low < e.value < e.ci_high <= 1.0


def test_a_mean_over_classes_is_known_from_its_small_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its interval has the degrees of freedom of the patients that it rests on, of which there are fewer."""
    used: dict[str, list[float]] = {}

    def spied(value: float, spread: Uncertainty, *, metric: str, **settings: object) -> tuple[float, float]:
        used.setdefault(metric, []).append((spread.degrees, settings["held_out"]))
        return metric_interval(value, spread, metric=metric, **settings)

    monkeypatch.setattr(estimates, "metric_interval", spied)
    draw = Draw(np.random.default_rng(8), frequencies=heavy_tailed(12, 1.0), patients=80)
    audit_draw(draw, {"target": draw.scores(Attacker(strength=2.0)), "majority": draw.majority()}, replicates=100)
    (degrees, held_out), *_ = used["auc_ovr"]
    assert degrees <= effective_patients(held_out, "auc_ovr") + 4 < 40  # and those of five seeds
    assert used["f1_weighted"][0][0] > 50


def test_years_saved_are_positive() -> None:
    draw = Draw(np.random.default_rng(8), attribute="age_years", patients=80)
    good, bad = draw.scores(Attacker(strength=0.9, noise=0.1)), draw.scores(Attacker(strength=0.0))
    metrics, found = audit_draw(draw, {"target": good, "pixels": bad, "majority": draw.majority()}, replicates=100)
    value = {m.attack.target: m.value for m in metrics}
    saved = over(found, "pixels", "mae_years")
    assert saved.value == pytest.approx(value["pixels"] - value["target"])
    assert saved.ci_low > 0
    best = [e.baseline for e in found if e.best_baseline]
    assert best == [min(("pixels", "majority"), key=value.__getitem__)]  # the lowest error is the strongest


def test_the_strongest_baseline_is_marked_for_each_metric(draw: Draw) -> None:
    scores = {
        "target": draw.scores(Attacker(strength=2.0)),
        "untrained": draw.scores(Attacker(strength=1.5), 2),
        "pixels": draw.scores(Attacker(strength=0.2)),
        "majority": draw.majority(),
    }
    metrics, found = audit_draw(draw, scores, replicates=100)
    for metric in {m.metric for m in metrics}:
        marked = [e.baseline for e in found if e.metric == metric and e.best_baseline]
        strongest = max((m for m in metrics if m.metric == metric and m.role == "baseline"), key=lambda m: m.value)
        assert marked == [strongest.attack.target]


def test_pairing_cancels_what_the_attacks_share(draw: Draw) -> None:
    shared = Attacker(strength=1.5, model_patient_spread=0.05, own_seed_spread=0.05, noise=0.05)
    metrics, found = audit_draw(draw, {"target": draw.scores(shared), "pixels": draw.scores(shared)}, replicates=200)
    one = next(m for m in metrics if m.metric == "f1_weighted")
    paired = over(found, "pixels")
    assert paired.ci_high - paired.ci_low < 0.5 * (one.ci_high - one.ci_low)


def test_equal_scores_differ_by_nothing_but_not_for_certain(draw: Draw) -> None:
    scores = draw.scores(Attacker())
    found = over(audit_draw(draw, {"target": scores, "pixels": scores}, replicates=100)[1], "pixels")
    assert (found.value, found.p_value) == (0.0, 1.0)
    assert found.ci_high == pytest.approx(-found.ci_low)
    assert found.ci_high == pytest.approx(1.99 * np.sqrt(2 / (80 * len(draw.truth))), rel=1e-2)


def test_luck_of_initialisation_widens_the_interval(draw: Draw) -> None:
    lucky = Attacker(strength=1.0, model_spread=1.0)
    scores = {"target": draw.scores(lucky), "untrained": draw.scores(lucky, 5)}
    by_luck = over(audit_draw(draw, scores, replicates=100)[1], "untrained")
    # The same scores, taken as one baseline without draws of weights.
    scores = {"target": scores["target"], "pixels": scores["untrained"][:1]}
    without = over(audit_draw(draw, scores, replicates=100)[1], "pixels")
    assert by_luck.ci_high - by_luck.ci_low > 1.5 * (without.ci_high - without.ci_low)


def test_a_target_of_many_models_is_less_a_matter_of_luck(draw: Draw) -> None:
    lucky = Attacker(strength=1.0, model_spread=1.0)
    one, many, fresh = draw.scores(lucky), draw.scores(lucky, 12), draw.scores(lucky, 5)
    narrow = over(audit_draw(draw, {"target": many, "untrained": fresh}, replicates=100)[1], "untrained")
    wide = over(audit_draw(draw, {"target": one, "untrained": fresh}, replicates=100)[1], "untrained")
    assert narrow.ci_high - narrow.ci_low < 0.8 * (wide.ci_high - wide.ci_low)


def test_the_p_value_agrees_with_the_interval() -> None:
    decided = set()
    for seed in range(40):
        draw = Draw(np.random.default_rng(seed), frequencies=heavy_tailed(4, 0.3), patients=60)
        scores = {"target": draw.scores(Attacker(strength=1.8)), "pixels": draw.scores(Attacker(strength=1.3))}
        for confidence in (0.95, 0.8):
            e = over(audit_draw(draw, scores, replicates=100, confidence=confidence)[1], "pixels")
            excludes_zero = e.ci_low > 0 or e.ci_high < 0
            assert excludes_zero == (e.p_value < 1 - confidence)
            decided.add(excludes_zero)
    assert decided == {True, False}


def test_it_is_told_whose_the_variance_is() -> None:
    """Few patients, seeds that differ, initialisations that differ: each has most of the variance where planted."""

    def shares(patients: int, **luck: float) -> tuple[float, float, float]:
        draw = Draw(np.random.default_rng(8), frequencies=heavy_tailed(2, 0.0), patients=patients)
        drawn = Attacker(**{"strength": 1.0, "model_patient_spread": 0.0, "own_seed_spread": 0.0, "noise": 0.05} | luck)
        scores = {"target": draw.scores(drawn), "untrained": draw.scores(drawn, 5)}
        found = over(audit_draw(draw, scores, replicates=100)[1], "untrained")
        assert found.patients_share is not None
        assert found.seeds_share is not None
        parts = (found.patients_share, found.seeds_share, 1.0 - found.patients_share - found.seeds_share)
        assert min(parts) > -1e-9
        return parts

    assert shares(30, model_patient_spread=0.5)[0] > 0.5
    assert shares(800, own_seed_spread=2.0)[1] > 0.5
    assert shares(800, model_spread=2.0)[2] > 0.5
