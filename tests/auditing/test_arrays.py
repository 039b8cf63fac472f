"""audit_attribute on arrays: known truths, a naive reference, the numbers of score tables, and missing baselines."""

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import f1_score

from flprivacy.auditing.arrays import AttributeResult, audit_attribute
from flprivacy.auditing.attributes import audit_attributes
from flprivacy.auditing.config import AuditConfig, PolicyRule
from flprivacy.core.attributes import BY_NAME, Attribute
from flprivacy.core.errors import AuditError
from tests.auditing.score_tables import People, make_curves, make_study

CONFIG = AuditConfig(bootstrap=200)
SCANS, CLASSES, SEEDS = 240, 4, 5
PATIENTS = np.arange(SCANS) * 2 // 3


class Attacks:
    """Scores of attackers of any strength on the same scans."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.truth = self.rng.integers(0, CLASSES, SCANS)
        self.years = self.rng.uniform(20.0, 90.0, SCANS)

    def scores(self, strength: float, *models: int) -> np.ndarray:
        """Return ([model,] seed, scan, class) scores."""
        noise = self.rng.normal(size=(*models, SEEDS, SCANS, CLASSES))
        return strength * np.eye(CLASSES)[self.truth] + noise

    def predictions(self, error_years: float, *models: int) -> np.ndarray:
        """Return ([model,] seed, scan) predicted years."""
        return self.years + self.rng.normal(0.0, error_years, (*models, SEEDS, SCANS))

    def audit(self, strength: float, **changes: Any) -> AttributeResult:
        """Audit a target of some strength against baselines of strength 1."""
        baselines = {"untrained": self.scores(1.0, 3), "pixels": self.scores(1.0)}
        settings = {"baselines": baselines, "patients": PATIENTS, "config": CONFIG} | changes
        return audit_attribute(self.truth, self.scores(strength), **settings)


def test_a_leak_is_found_and_its_numbers_hang_together() -> None:
    found = Attacks(0).audit(3.0)
    assert found.verdict == "leak"
    assert found.caveats == ()
    low, high = found.interval
    assert 0.02 < low < found.excess < high
    assert found.p_value < 0.01
    assert {e.baseline for e in found.excesses} == {"untrained", "pixels", "majority"}
    value = {m.attack.target: m.value for m in found.metrics if m.metric == "f1_weighted"}
    assert found.excess == pytest.approx(value["target"] - max(value["untrained"], value["pixels"], value["majority"]))


def test_a_harmless_target_is_hardly_ever_called_a_leak() -> None:
    rule = PolicyRule(threshold=0.0)
    verdicts = [Attacks(seed).audit(1.0, rule=rule).verdict for seed in range(60)]
    assert verdicts.count("leak") <= 3


def test_the_excess_and_its_interval_are_those_of_a_naive_bootstrap() -> None:
    attacks = Attacks(1)
    target, pixels = attacks.scores(2.0), attacks.scores(1.5)
    found = audit_attribute(attacks.truth, target, baselines={"pixels": pixels}, patients=PATIENTS, config=CONFIG)

    def difference(rows: np.ndarray, seeds: np.ndarray) -> float:
        truth = attacks.truth[rows]
        f1 = [
            [f1_score(truth, scores[seed, rows].argmax(axis=-1), average="weighted") for seed in seeds]
            for scores in (target, pixels)
        ]
        return float(np.mean(f1[0]) - np.mean(f1[1]))

    assert found.excess == pytest.approx(difference(np.arange(SCANS), np.arange(SEEDS)))
    rng = np.random.default_rng(2)
    of_patient = [np.flatnonzero(p == PATIENTS) for p in range(PATIENTS.max() + 1)]
    draws = [
        difference(
            np.concatenate([of_patient[p] for p in rng.integers(len(of_patient), size=len(of_patient))]),
            rng.integers(SEEDS, size=SEEDS),
        )
        for _ in range(300)
    ]
    naive = 2.0 * 1.96 * np.std(draws)
    low, high = found.interval
    assert 0.75 * naive < high - low < 1.6 * naive


def test_years_saved_are_the_excess() -> None:
    attacks = Attacks(3)
    baselines = {"untrained": attacks.predictions(9.0, 3), "pixels": attacks.predictions(9.0)}
    settings: dict[str, Any] = {"baselines": baselines, "patients": PATIENTS, "config": CONFIG}
    found = audit_attribute(attacks.years, attacks.predictions(3.0), attribute="age_years", **settings)
    assert found.verdict == "leak"
    assert "years" in found.reason
    assert 4.0 < found.excess < 6.0
    column = audit_attribute(attacks.years, attacks.predictions(3.0)[..., None], attribute="age_years", **settings)
    assert column.decision.metric == found.decision.metric == "mae_years"


@pytest.mark.parametrize("attribute", ["site", "age_band", "age_years"])
@pytest.mark.parametrize("target", ["central", "siloed"])
def test_arrays_and_tables_give_the_same_numbers(attribute: str, target: str) -> None:
    tables = make_study(people=People(n=90))
    whole = audit_attributes(tables, make_curves(), config=CONFIG)
    first = next(iter(tables[0].select(attribute=attribute, fraction=0.25)))
    order = np.argsort(first.scan_ids)
    truth, patients = first.truth[order], first.patient_ids[order]

    def scores(name: str) -> np.ndarray:
        (table,) = [t for t in tables if t.target == name]
        access = "none" if name in ("pixels", "majority") else "features"
        blocks = list(table.select(attribute=attribute, access=access, fraction=0.25))
        of_model: dict[str, list[np.ndarray]] = {}
        for block in blocks:
            of_model.setdefault(block.model, []).append(block.scores[np.argsort(block.scan_ids)])
        return np.array(list(of_model.values()))

    found = audit_attribute(
        truth,
        scores(target),
        baselines={name: scores(name) for name in ("untrained", "majority")},
        patients=patients,
        attribute=attribute,
        config=CONFIG,
    )
    (verdict,) = [
        v
        for v in whole.verdicts
        if (v.attack.target, v.attack.attribute, v.attack.access) == (target, attribute, "features")
    ]
    for name in ("metric", "value", "value_ci_low", "value_ci_high", "baseline", "baseline_value", "verdict"):
        assert getattr(found.decision, name) == getattr(verdict, name)
    assert found.decision.looks[0].reason == verdict.looks[0].reason
    assert (found.excess, *found.interval, found.p_value) == (
        verdict.excess, verdict.ci_low, verdict.ci_high, verdict.p_value,
    )  # fmt: skip
    by_table = {(e.baseline, e.metric): e.value for e in whole.excesses if e.attack == verdict.attack}
    assert {(e.baseline, e.metric): e.value for e in found.excesses} == by_table


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ((), "no 'untrained' baseline was given"),
        (("pixels",), "no 'untrained' baseline was given"),
    ],
)
def test_without_a_baseline_nothing_is_called_a_leak_and_the_reason_says_so(given: tuple[str, ...], words: str) -> None:
    attacks = Attacks(4)
    baselines = {"untrained": attacks.scores(1.0, 3), "pixels": attacks.scores(1.0)}
    found = attacks.audit(3.0, baselines={name: baselines[name] for name in given})
    assert found.verdict == "inconclusive"
    assert words in found.reason
    assert any(words in caveat for caveat in found.caveats)
    assert found.interval[0] > 0.02


def test_the_baselines_say_which_question_is_asked() -> None:
    """Weaker alone than pixels, and stronger than fresh weights: a leak to whoever has no scan."""
    attacks = Attacks(8)
    target, fresh, pixels = attacks.scores(1.6), attacks.scores(0.5, 3), attacks.scores(1.8)
    settings: dict[str, Any] = {"patients": PATIENTS, "config": CONFIG}
    without = audit_attribute(attacks.truth, target, baselines={"untrained": fresh}, **settings)
    assert (without.question, without.verdict) == ("training", "leak")
    assert without.reason.startswith("what training put in, for whoever has no scan: lower end")
    baselines = {"untrained": fresh + pixels, "pixels": pixels}
    holding = audit_attribute(attacks.truth, target, baselines=baselines, **settings)
    assert (holding.question, holding.decision.baseline) == ("holding", "pixels")
    assert holding.excess < 0.0
    both = audit_attribute(attacks.truth, target + pixels, baselines=baselines, **settings)
    assert (both.question, both.verdict) == ("holding", "leak")
    assert both.reason.startswith("what the model adds for whoever holds the scan: lower end")


def test_what_else_weakens_a_verdict_is_said() -> None:
    attacks = Attacks(5)
    one = attacks.audit(3.0, baselines={"untrained": attacks.scores(1.0), "pixels": attacks.scores(1.0)})
    assert one.verdict == "inconclusive"
    assert "a single initialisation" in one.reason
    alone = attacks.audit(3.0, patients=None)
    assert alone.verdict == "leak"
    assert "patients were not given" in alone.reason
    few = audit_attribute(attacks.truth, attacks.scores(3.0)[:2], patients=PATIENTS, config=CONFIG)
    assert "only 2 attacker seeds" in few.reason


def test_the_attribute_says_which_metrics_and_threshold_apply() -> None:
    attacks = Attacks(6)
    assert {m.metric for m in attacks.audit(2.0, attribute="site").metrics} == {*BY_NAME["site"].metrics, "auc_class"}
    assert "top3_accuracy" not in {m.metric for m in attacks.audit(2.0, attribute="sex").metrics}
    own = Attribute(name="scanner", threshold=0.9)
    assert attacks.audit(3.0, attribute=own).verdict == "no leak found"
    macro = attacks.audit(3.0, rule=PolicyRule(metric="f1_macro", threshold=0.02))
    assert (macro.decision.metric, macro.verdict) == ("f1_macro", "leak")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"scores": np.zeros((SCANS, CLASSES))},
            r"scores of 'target' have shape \(240, 4\); give \(seed, scan, class\)",
        ),
        ({"scores": np.zeros((1, SCANS, CLASSES))}, "attacked with 1 seed"),
        ({"scores": np.full((2, SCANS, CLASSES), np.nan)}, "not finite"),
        ({"baselines": {"pixels": np.zeros((3, SCANS, CLASSES))}}, r"'pixels' have shape .* with 5 seeds"),
        ({"truth": np.full(SCANS, 7)}, "same true value"),
        ({"truth": np.arange(SCANS)}, "no index into its 4 class names"),
        ({"truth": np.zeros((2, 2))}, "truth has shape"),
        ({"patients": np.zeros(3)}, "one patient for each scan"),
        ({"patients": np.zeros(SCANS)}, "of one patient"),
        ({"rule": PolicyRule(metric="top3_accuracy")}, "which this attack is not measured by"),
    ],
)
def test_what_does_not_fit_is_named(change: dict[str, Any], message: str) -> None:
    attacks = Attacks(7)
    given = {"truth": attacks.truth, "scores": attacks.scores(1.0), "config": CONFIG} | change
    with pytest.raises(AuditError, match=message):
        audit_attribute(given.pop("truth"), given.pop("scores"), **given)
