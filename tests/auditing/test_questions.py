"""Each question has its own attack, baselines and verdict; what was planted for one is called by that one."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from flprivacy.auditing.attributes import audit_attributes
from flprivacy.auditing.config import AuditConfig, Policy, PolicyRule
from flprivacy.core.attributes import AttackKey
from flprivacy.core.audit import Verdict
from flprivacy.core.scores import CURVE_COLUMNS, ScoreBlock, ScoreTable

SEEDS, SITES = range(5), 7
CONFIG = AuditConfig(bootstrap=200, policy=Policy(rules={"site": PolicyRule(threshold=0.02)}))


class Hospital:
    """Held-out scans whose site attackers of any strength infer, each with errors of its own."""

    def __init__(self, seed: int, scans: int = 400) -> None:
        self.rng = np.random.default_rng([77, seed])
        self.truth = self.rng.integers(0, SITES, scans)
        self.ids = np.array([f"scan-{i}" for i in range(scans)])

    def log_odds(self, strength: float, models: int = 1) -> np.ndarray:
        """Return (model, seed, scan, class) evidence: errors that seeds share for the most part."""
        scans = len(self.truth)
        error = self.rng.normal(size=(models, 1, scans, SITES)) + 0.3 * self.rng.normal(size=(models, 5, scans, SITES))
        return strength * np.eye(SITES)[self.truth] + error

    def table(self, target: str, of_access: dict[str, np.ndarray], role: str = "baseline") -> ScoreTable:
        """Return the score table of one target: access -> log-odds."""
        blocks = [
            ScoreBlock(
                attack=AttackKey(target=target, attribute="site", access=access, fraction=0.25),
                model=f"m-{model}",
                seed=seed,
                scan_ids=self.ids,
                patient_ids=self.ids,
                truth=self.truth.astype(float),
                scores=np.exp(log_odds[model, seed]).astype(np.float32),
            )
            for access, log_odds in of_access.items()
            for model in range(len(log_odds))
            for seed in SEEDS
        ]
        return ScoreTable(
            target=target, target_digest=target, cohort_digest="c", role=role,
            class_names={"site": tuple(f"site-{i}" for i in range(SITES))}, blocks=tuple(blocks),
        )  # fmt: skip

    def audit(self, features: float, pixels: float, fresh: float) -> dict[str, Verdict]:
        """Return question -> verdict: the joint attacks add up the evidence of scan and model."""
        of_pixels, of_target, of_fresh = (self.log_odds(*s) for s in ((pixels,), (features,), (fresh, 5)))
        tables = [
            self.table("target", {"features": of_target, "joint": of_target + of_pixels}, role="target"),
            # What fresh weights tell of a scan, its pixels tell as well: joined, they add nothing.
            self.table("untrained", {"features": of_fresh, "joint": np.repeat(of_pixels, 5, axis=0)}),
            self.table("pixels", {"none": of_pixels}),
            self.table("majority", {"none": np.zeros((1, 5, len(self.truth), SITES)) + np.eye(SITES)[0]}),
        ]
        found = audit_attributes(tables, pd.DataFrame(columns=CURVE_COLUMNS), config=CONFIG).verdicts
        return {v.question: v for v in found}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_features_weaker_alone_than_pixels_are_a_leak_to_whoever_has_no_scan_and_to_whoever_has_it(seed: int) -> None:
    found = Hospital(seed).audit(features=2.3, pixels=2.9, fresh=0.8)
    training, holding = found["training"], found["holding"]
    assert training.value < holding.baseline_value - 0.05, "weaker alone than pixels"
    assert (training.verdict, training.baseline) == ("leak", "untrained")
    assert holding.verdict == "leak"
    assert {training.attack.access, holding.attack.access} == {"features", "joint"}


@pytest.mark.parametrize("seed", [4, 5, 6])
def test_what_pixels_tell_as_well_is_a_leak_only_to_whoever_has_no_scan(seed: int) -> None:
    """Training made the features repeat what the scan shows anyway: its errors are the pixels' own."""
    hospital = Hospital(seed)
    pixels, fresh = hospital.log_odds(2.6), hospital.log_odds(0.8, 5)
    blurred = pixels + hospital.rng.normal(size=pixels.shape)
    tables = [
        hospital.table("target", {"features": blurred, "joint": pixels}, role="target"),
        hospital.table("untrained", {"features": fresh, "joint": np.repeat(pixels, 5, axis=0)}),
        hospital.table("pixels", {"none": pixels}),
        hospital.table("majority", {"none": np.zeros_like(pixels) + np.eye(SITES)[0]}),
    ]
    found = audit_attributes(tables, pd.DataFrame(columns=CURVE_COLUMNS), config=CONFIG).verdicts
    assert {v.question: v.verdict for v in found} == {"training": "leak", "holding": "no leak found"}


def test_a_harmless_target_is_a_leak_to_nobody() -> None:
    for seed in range(10, 22):
        hospital = Hospital(seed, scans=200)
        pixels, fresh, target = hospital.log_odds(2.6), hospital.log_odds(0.8, 5), hospital.log_odds(0.8)
        tables = [
            hospital.table("target", {"features": target, "joint": pixels + 0.05 * target}, role="target"),
            hospital.table("untrained", {"features": fresh, "joint": pixels + 0.05 * fresh}),
            hospital.table("pixels", {"none": pixels}),
            hospital.table("majority", {"none": np.zeros_like(pixels) + np.eye(SITES)[0]}),
        ]
        strict = replace(CONFIG, policy=Policy(rules={"site": PolicyRule(threshold=0.0)}))
        found = audit_attributes(tables, pd.DataFrame(columns=CURVE_COLUMNS), config=strict).verdicts
        assert "leak" not in {v.verdict for v in found}, seed
