"""What a target remembers of its own training patients: a planted memoriser, known nulls and a naive reference."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import f1_score

from flprivacy.auditing.attributes import audit_attributes
from flprivacy.auditing.config import AuditConfig, Policy, PolicyRule
from flprivacy.auditing.estimates import estimate_cell
from flprivacy.auditing.runs import AttackRuns
from flprivacy.auditing.uncertainty import resample_patients
from flprivacy.auditing.verdicts import judge
from flprivacy.core.attributes import MEMBERS
from flprivacy.core.audit import ExcessEstimate, MetricEstimate, Verdict
from flprivacy.core.errors import AuditError
from flprivacy.core.scores import CURVE_COLUMNS
from tests.auditing.score_tables import People, make_study
from tests.auditing.simulation import Attacker, Draw, heavy_tailed

RULE = PolicyRule(threshold=0.02)
GUESSING, GENERAL = Attacker(strength=0.0), Attacker(strength=2.0)


@dataclass(frozen=True, kw_only=True)
class Scene:
    """An attack on members and on held-out patients: of a target and of fresh weights."""

    members: Attacker
    held_out: Attacker
    fresh: Attacker
    fresh_on_members: Attacker | None = None
    attribute: str = "site"
    patients: int = 200

    def runs(self, seed: int) -> tuple[list[AttackRuns], list[AttackRuns]]:
        """Return the runs on held-out scans and those on members."""
        rng = np.random.default_rng([31, seed])
        frequencies = [] if self.attribute == "age_years" else heavy_tailed(5, 0.3)
        settings = {"attribute": self.attribute, "frequencies": frequencies, "patients": self.patients}
        other, own = Draw(rng, **settings), Draw(rng, **settings)
        own.by_seed = other.by_seed  # an attacker seed's exposed sample is the same whatever it is scored on
        on_members = self.fresh_on_members or self.fresh
        cell = _runs(other, {"target": (self.held_out, 1), "untrained": (self.fresh, 4)})
        members = _runs(own, {"target": (self.members, 1), "untrained": (on_members, 4)})
        return cell, [replace(one, attack=replace(one.attack, scans=MEMBERS)) for one in members]

    def estimates(self, seed: int, replicates: int = 100) -> tuple[list[MetricEstimate], list[ExcessEstimate]]:
        """Return metrics and excesses."""
        cell, members = self.runs(seed)
        resampling, of_members = (
            resample_patients(runs[0].held_out.patients, replicates=replicates, seed=0, stream=stream)
            for stream, runs in enumerate((cell, members))
        )
        found = estimate_cell(
            cell, lambda _, runs: runs[1:], resampling, confidence=0.95, members=members, of_members=of_members
        )
        return found.metrics, found.excesses

    def verdict(self, seed: int, rule: PolicyRule = RULE) -> Verdict:
        """Return the verdict on what is memorised."""
        metrics, excesses = self.estimates(seed)
        (found,) = [v for v in judge(metrics, excesses, {self.attribute: rule}) if v.question == "memorised"]
        return found


def _runs(draw: Draw, attackers: dict[str, tuple[Attacker, int]]) -> list[AttackRuns]:
    held_out = draw.held_out()
    return [draw.runs(held_out, name, draw.scores(*attacker)) for name, attacker in attackers.items()]


MEMORISER = Scene(members=Attacker(strength=3.3), held_out=GUESSING, fresh=GUESSING)
NULLS = {
    "nothing is known": Scene(members=GUESSING, held_out=GUESSING, fresh=GUESSING),
    "the target generalises": Scene(members=GENERAL, held_out=GENERAL, fresh=GUESSING),
    "members are easier for everybody": Scene(
        members=Attacker(strength=1.8), held_out=GENERAL, fresh=GENERAL, fresh_on_members=Attacker(strength=1.8)
    ),
    "years": Scene(
        members=Attacker(strength=0.6),
        held_out=Attacker(strength=0.6),
        fresh=Attacker(strength=0.2),
        attribute="age_years",
    ),
}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_memoriser_that_tells_nothing_of_other_patients_is_called(seed: int) -> None:
    metrics, excesses = MEMORISER.estimates(seed)
    strength = {m.attack: m.value for m in metrics if m.metric == "f1_weighted" and m.attack.target == "target"}
    on_held_out, on_members = (v for _, v in sorted(strength.items(), key=lambda item: item[0].scans))
    assert on_held_out < 0.3
    assert on_members > 0.85
    found = {v.question: v for v in judge(metrics, excesses, {"site": RULE})}
    assert found["memorised"].verdict == "leak"
    assert found["memorised"].attack.scans == "members"
    assert found["memorised"].value == on_members
    assert found["memorised"].reason.startswith("what the model remembers of its own training patients: lower end")
    assert found["training"].verdict != "leak", "nothing of it shows on held-out patients"


def test_years_that_are_remembered_are_saved() -> None:
    scene = Scene(
        members=Attacker(strength=0.95), held_out=Attacker(strength=0.2), fresh=Attacker(strength=0.2),
        attribute="age_years",
    )  # fmt: skip
    found = scene.verdict(1, PolicyRule(metric="mae_years", threshold=0.5))
    assert (found.verdict, found.metric) == ("leak", "mae_years")
    assert found.excess > 2.0


@pytest.mark.parametrize("name", NULLS)
def test_who_remembers_nothing_is_hardly_ever_called_and_intervals_cover_that(name: str) -> None:
    scene, trials = replace(NULLS[name], patients=90), 50
    metric = "mae_years" if scene.attribute == "age_years" else "f1_weighted"
    rules = {scene.attribute: PolicyRule(metric=metric, threshold=0.0, questions={"memorised": 0.0})}
    found = [judge(*scene.estimates(seed, 60), rules)[0] for seed in range(trials)]
    leaks, covered = sum(v.verdict == "leak" for v in found), sum(v.ci_low <= 0.0 <= v.ci_high for v in found)
    print(f"{name}: leak in {leaks} of {trials}, 0 covered by {covered}")
    assert leaks <= stats.binom.ppf(0.999, trials, 0.05)
    assert covered >= stats.binom.ppf(0.001, trials, 0.95)


def test_value_and_standard_error_are_those_of_a_naive_bootstrap() -> None:
    scene = Scene(members=Attacker(strength=2.6), held_out=Attacker(strength=1.2), fresh=GENERAL, patients=90)
    (found,) = [e for e in scene.estimates(5, 400)[1] if e.attack.scans == MEMBERS and e.metric == "f1_weighted"]
    runs = [{one.attack.target: one for one in kind} for kind in scene.runs(5)]
    rng = np.random.default_rng(6)

    def strength(one: AttackRuns, scans: np.ndarray, seeds: np.ndarray, models: np.ndarray) -> float:
        truth, guesses = one.held_out.truth[scans], one.scores.argmax(axis=-1)[:, :, scans]
        f1 = [f1_score(truth, guesses[m, s], average="weighted") for m in models for s in seeds]
        return float(np.mean(f1))

    def gap(draw: bool) -> float:
        seeds = rng.integers(5, size=5) if draw else np.arange(5)
        models = rng.integers(4, size=4) if draw else np.arange(4)
        total = 0.0
        for sign, kind in zip((-1.0, 1.0), runs, strict=True):
            patients = kind["target"].held_out.patients
            of_patient = [np.flatnonzero(patients == i) for i in range(patients.max() + 1)]
            chosen = rng.integers(len(of_patient), size=len(of_patient)) if draw else range(len(of_patient))
            scans = np.concatenate([of_patient[i] for i in chosen])
            ours = strength(kind["target"], scans, seeds, np.zeros(1, int))
            total += sign * (ours - strength(kind["untrained"], scans, seeds, models))
        return total

    assert found.value == pytest.approx(gap(draw=False))
    naive = np.std([gap(draw=True) for _ in range(60)])
    assert 0.7 * naive < found.standard_error < 1.6 * naive


def study_with_members(signal: float) -> list:
    """Return a study in which ``central`` knows ``signal`` more of members than of others."""
    held_out = make_study(people=People(n=90))
    trained = make_study(people=People(n=120))
    tables = []
    for one, other in zip(held_out, trained, strict=True):
        blocks = [
            replace(
                b,
                attack=replace(b.attack, scans=MEMBERS),
                patient_ids=np.char.add("own-", b.patient_ids),
                scan_ids=np.char.add("own-", b.scan_ids),
                scores=_sharper(b, signal if one.target == "central" else 0.0),
            )
            for b in other.blocks
            if one.target != "siloed"  # its models were each trained on one site's scans
        ]
        tables.append(replace(one, blocks=(*one.blocks, *blocks)))
    return tables


def _sharper(block, signal: float) -> np.ndarray:
    if block.attack.attribute == "age_years":
        return (block.scores + signal * (block.truth[:, None] - block.scores)).astype(np.float32)
    right = np.eye(block.scores.shape[1])[block.truth.astype(int)]
    return ((1.0 - signal) * block.scores + signal * right).astype(np.float32)


def test_score_tables_with_members_get_the_third_verdict_and_those_without_do_not() -> None:
    config = AuditConfig(bootstrap=100)
    curves = pd.DataFrame(columns=CURVE_COLUMNS)
    found = audit_attributes(study_with_members(0.9), curves, config=config).verdicts
    of_members = [v for v in found if v.question == "memorised"]
    assert {(v.attack.target, v.attack.scans) for v in of_members} == {("central", "members")}
    assert {v.attack.access for v in of_members} == {"features", "outputs"}
    assert next(v for v in of_members if v.attack.attribute == "age_years").excess > 0.0
    plain = audit_attributes(make_study(people=People(n=90)), curves, config=config).verdicts
    assert {v.question for v in plain} == {"training"}
    rules = {name: replace(rule, questions={"training": 0.02}) for name, rule in config.policy.rules.items()}
    asked = replace(config, policy=Policy(rules=rules))
    assert {v.question for v in audit_attributes(study_with_members(0.9), curves, config=asked).verdicts} == {
        "training"
    }


def test_scores_on_members_alone_are_refused() -> None:
    tables = study_with_members(0.0)
    lonely = [
        replace(t, blocks=tuple(b for b in t.blocks if b.attack.scans == MEMBERS or b.attack.access == "outputs"))
        if t.target == "central"
        else t
        for t in tables
    ]
    with pytest.raises(AuditError, match="no scores of the same models and seeds on held-out scans"):
        audit_attributes(lonely, pd.DataFrame(columns=CURVE_COLUMNS), config=AuditConfig(bootstrap=100))
