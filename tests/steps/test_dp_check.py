"""``dp_check``: the right training passes, broken ones that claim the same are found, and the report says so."""

import dataclasses
import sys
from functools import partial
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest

from flprivacy.cohorts.format import open_cohort
from flprivacy.models.registry import ARCHITECTURES
from flprivacy.training.config import CanaryConfig, TargetConfig
from flprivacy.training.federated import train_federated
from flprivacy.training.topology import Run
from pipelines import COMPILED
from tests.services.artifact_bucket import ArtifactBucket, traces

sys.path.insert(0, str(Path(__file__).parents[1] / "training"))
sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import bench_dp_check
from planted_bugs import CAUGHT, METHODS, RIGHT, planted
from private_examples import PRIVATE, private_run
from tiny_training import TINY, tiny_manifest, write_tiny_cohort

from flprivacy.auditing.epsilon.audit import EpsilonAudit, audit_epsilon
from flprivacy.auditing.epsilon.bound import METHODS as BOUNDS
from flprivacy.core.cohort import Cohort
from flprivacy.core.dp_check import CONTRADICTED, NOT_CONTRADICTED, DpCheck
from flprivacy.core.errors import AuditError, ConfigError, PolicyError
from flprivacy.core.parsing import from_mapping, to_mapping
from flprivacy.privacy.accounting import account
from flprivacy.privacy.events import SampledGaussianSteps
from flprivacy.steps.check_dp_policy import check_dp_policy
from flprivacy.steps.dp_check import check_target
from flprivacy.steps.plan_dp_check import plan_dp_check
from flprivacy.targets.folder import read_target
from flprivacy.training import worst_cases
from flprivacy.training.alone import train_central

CANARIES, PASSES = 500, 10
CLAIM = dataclasses.replace(PRIVATE, noise_multiplier=0.8, sampling_rate=0.05, optimizer="sgd")


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return write_tiny_cohort(tmp_path_factory.mktemp("scans") / "cohort", tiny_manifest())


@pytest.mark.parametrize("name", [RIGHT, *CAUGHT])
def test_broken_training_is_found_and_the_right_one_passes(name: str, scans: Cohort, tmp_path: Path) -> None:
    passes = 2 if name == "everybody in every step" else PASSES  # shows at once, and is slow
    run = private_run(
        scans, tmp_path, privacy=CLAIM, method=METHODS[name], canaries=CanaryConfig(count=CANARIES), epochs=passes
    )
    (trained,) = train_central(run)
    _, stated = run.private.state(trained.steps)
    rng = np.random.default_rng([7, 0])
    included = rng.random(CANARIES) < 0.5
    marks = trained.memory[0]
    scores = {"released": marks.sum(axis=0), "same-step": marks.max(axis=0)}
    found = audited(included, scores, claimed_epsilon=stated.epsilon, delta=stated.delta)
    print(f"{name}: claimed {stated.epsilon:.2f}, proven {found.epsilon_lower:.2f}")
    assert (found.verdict == CONTRADICTED) == (name in CAUGHT)


def checked(run: Run, included: np.ndarray) -> EpsilonAudit:
    """Train a federated target with canaries and check it."""
    (trained,) = train_federated(run)
    _, stated = run.private.state(trained.steps)
    marks = trained.memory[0]
    scores = {"released": marks.sum(axis=0), "same-step": marks.max(axis=0)}
    found = audited(included, scores, claimed_epsilon=stated.epsilon, delta=stated.delta)
    print(f"claimed {stated.epsilon:.2f}, proven {found.epsilon_lower:.2f}")
    return found


@pytest.mark.parametrize(
    ("name", "verdict"),
    [(RIGHT, NOT_CONTRADICTED), ("no noise", CONTRADICTED), ("noise divided by the batch", CONTRADICTED)],
)
def test_clients_of_federated_training_are_checked_by_canaries_of_their_own(
    name: str, verdict: str, scans: Cohort, tmp_path: Path
) -> None:
    privacy = dataclasses.replace(CLAIM, unit="patient")
    canaries = CanaryConfig(count=CANARIES)
    run = private_run(scans, tmp_path, "federated", privacy=privacy, method=METHODS[name], canaries=canaries, rounds=5)
    dealt = [len(run.private.patients[client]) for client in range(3)]
    assert sum(dealt) == 22 + run.canaries.count
    assert checked(run, run.canaries.included).verdict == verdict


def test_sites_are_checked_by_canaries_that_are_sites(scans: Cohort, tmp_path: Path) -> None:
    privacy = dataclasses.replace(CLAIM, unit="site", noise_multiplier=1.5, sampling_rate=0.2, delta=1e-4)
    settings = {"privacy": privacy, "canaries": CanaryConfig(count=CANARIES), "rounds": 10}
    run = private_run(scans, tmp_path / "right", "federated", **settings)
    assert run.private.events[0].population == pytest.approx(3 + run.canaries.count, rel=0.05)
    assert checked(run, run.canaries.included).verdict == NOT_CONTRADICTED
    silent = private_run(scans, tmp_path / "no-noise", "federated", **settings)
    with planted("no noise on sites"):
        assert checked(silent, silent.canaries.included).verdict == CONTRADICTED


def audited(included: np.ndarray, scores: dict[str, np.ndarray], **settings: float) -> EpsilonAudit:
    """Audit canaries by the coins that put them in."""
    ins, outs = ({name: values[chosen] for name, values in scores.items()} for chosen in (included, ~included))
    return audit_epsilon(ins, outs, **settings)  # type: ignore[arg-type]


def marks_of(rate: float, steps: int, noise: float, canaries: int, seed: int) -> tuple[np.ndarray, dict]:
    """Return coins and scores of gradient canaries under Poisson sampling, without training anything."""
    rng = np.random.default_rng(seed)
    phases = round(1 / rate)
    included = rng.random(canaries) < 0.5
    taken = rng.binomial(steps // phases, rate, (phases, canaries)) * included
    marks = taken + noise * np.sqrt(steps // phases) * rng.normal(size=(phases, canaries))
    return included, {"released": marks.sum(axis=0), "same-step": marks.max(axis=0)}


def test_a_right_training_is_contradicted_in_hardly_any_of_many_audits() -> None:
    """Null: the claim is exactly what was done. Leak: the same scores against a claim of a quarter of it."""
    event = SampledGaussianSteps(
        steps=100, sampling_rate=0.1, noise_multiplier=0.8, clip_norm=1.0, unit="scan", population=500
    )
    claimed = account([event], delta=1e-5).epsilon
    verdicts, caught = [], []
    for seed in range(60):
        included, scores = marks_of(0.1, 100, 0.8, 1000, seed)
        verdicts.append(audited(included, scores, claimed_epsilon=claimed, delta=1e-5).verdict)
        caught.append(audited(included, scores, claimed_epsilon=claimed / 8, delta=1e-5).verdict)
    assert verdicts.count(CONTRADICTED) == 0
    assert caught.count(CONTRADICTED) > 50


def test_every_bound_gets_its_share_of_the_error() -> None:
    included, scores = marks_of(0.1, 100, 0.8, 100, 0)
    found = audited(included, scores, claimed_epsilon=5.0, delta=1e-5, confidence=0.9)
    assert len(found.bounds) == len(BOUNDS) * 2
    assert {round(b.confidence, 6) for b in found.bounds} == {round(1 - 0.1 / 8, 6)}
    assert found.epsilon_lower == found.bounds[0].epsilon_lower == max(b.epsilon_lower for b in found.bounds)
    assert "at least" in found.reason
    assert "90%" in found.reason


@pytest.mark.parametrize(
    ("included", "scores"), [([True] * 20, {"a": range(20)}), ([True, False], {}), ([False] * 5, {"a": range(5)})]
)
def test_scores_that_prove_nothing_are_refused(included: list[bool], scores: dict[str, range]) -> None:
    with pytest.raises(AuditError, match="insert more canaries"):
        audited(np.array(included), {k: np.array(v) for k, v in scores.items()}, claimed_epsilon=1.0, delta=1e-5)


PRESET = """
cohort: {name: phantom-tiny, scans: 90, sites: 3, shape: [8, 32, 40], seed: 7}
targets: {untrained: {topology: untrained}}
dp_check:
  target:
    topology: central
    epochs: 2
    learning_rate: 0.1
    privacy: {unit: scan, noise_multiplier: 0.8, adjacency: zero-out, sampling_rate: 0.2, optimizer: sgd}
    canaries: {count: 60}
"""


def test_the_steps_train_check_and_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The compiled pipeline as a backend runs it, in whose bucket nobody's pseudonym is but in the made-up cohort."""
    monkeypatch.setattr(worst_cases, "worst_cases", partial(worst_cases.worst_cases, trials=60))  # to save time
    preset = tmp_path / "mine.yaml"
    preset.write_text(PRESET)
    bucket = ArtifactBucket.make(tmp_path, MLFLOW_TRACKING_URI=f"sqlite:///{tmp_path / 'mlflow.db'}")
    given = {"preset": str(preset), "store": f"file://{tmp_path / 'store'}", "train_gpus": "0"}
    (checked,) = bucket.run(COMPILED / "dp_check.yaml", given).artifacts["check"]
    check = bucket.path(checked["uri"])
    ((target,), (cohort,)) = (list((tmp_path / "store" / kind).iterdir()) for kind in ("target", "cohort"))
    assert bucket.strange(but=["make-cohort"]) == set()
    assert bucket.holders(traces(open_cohort(cohort)), but=["make-cohort"]) == set()
    found = DpCheck.read(check / "dp_check.json")
    assert found == from_mapping(DpCheck, to_mapping(found))
    assert (found.claimed_epsilon, found.verdict) == (read_target(target).epsilon, NOT_CONTRADICTED)
    assert found.provenance["command"] == f"flprivacy run dp_check --preset {preset}"
    shown = {"claimed_epsilon": found.claimed_epsilon, "epsilon_lower": found.epsilon_lower, "contradicted": 0.0}
    assert bucket.metadata["dp-check"]["metrics"] == shown
    page = check.with_name("page")
    assert page.read_text() == (check / "report.html").read_text()
    assert found.n_included + found.n_excluded == 60
    text = page.read_text()
    assert "claim not contradicted" in text
    assert [c.name for c in found.worst_cases] == ["one against all", "many scans", "one more"]
    assert all(c.verdict == NOT_CONTRADICTED for c in found.worst_cases)
    assert {round(b.confidence, 6) for b in found.bounds} == {round(1 - 0.05 / 4 / 8, 6)}  # of four checks, 8 bounds
    assert "Worst cases, repeated" in text
    assert text.count("<img") == 2
    assert "<script" not in text
    assert check_dp_policy(check=check, fail_on_leak=True) == NOT_CONTRADICTED
    dataclasses.replace(found, verdict=CONTRADICTED).write(check / "dp_check.json")
    assert check_dp_policy(check=check, fail_on_leak=False) == CONTRADICTED
    with pytest.raises(PolicyError, match="dp-check: "):
        check_dp_policy(check=check, fail_on_leak=True)


def test_a_worst_case_alone_contradicts_and_says_which(tmp_path: Path, scans: Cohort) -> None:
    from flprivacy.training.train import train_target

    privacy = dataclasses.replace(CLAIM, sampling_rate=0.5)
    config = TargetConfig(
        topology="central", architecture="tiny", epochs=1, privacy=privacy, canaries=CanaryConfig(count=40)
    )
    work, out = tmp_path / "work", tmp_path / "out"
    with patch.dict(ARCHITECTURES, tiny=TINY):
        record = train_target("t", config, scans, protocol="standard", work=work, out=out)
    with planted("clients weighted by scans") as method:
        cases = worst_cases.worst_cases(method, cases=["many scans"], trials=100)
    found = check_target(out, record, confidence=0.95, cases=cases)
    assert (found.verdict, found.worst_cases[0].verdict) == (CONTRADICTED, CONTRADICTED)
    assert found.reason.startswith("many scans: with 98% confidence the canaries prove an epsilon of at least")
    assert found.epsilon_lower <= found.claimed_epsilon  # of canaries
    assert check_target(out, record, confidence=0.95).verdict == NOT_CONTRADICTED


def test_the_documented_table_is_that_of_the_trainings_which_the_benchmark_knows() -> None:
    page = bench_dp_check.METHOD_PAGE.read_text()
    lines = page.split(bench_dp_check.BEGIN)[1].split(bench_dp_check.END)[0].strip().splitlines()
    assert lines[:2] == bench_dp_check.header()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    trainings = bench_dp_check.trainings()
    assert [(row[0], row[1]) for row in rows] == [(target, name) for target, name, _ in trainings]
    found = [row[-1] != "none" for row in rows]
    assert found == [bool(expected) for _, _, expected in trainings]  # what is said to be invisible is not found


def test_a_target_without_canaries_and_a_check_without_privacy_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the check is about private training"):
        plan_dp_check(
            preset="demo",
            overrides={"dp_check": {"target": {"privacy": None, "canaries": None}}},
            plan=tmp_path / "plan.json",
        )
    with pytest.raises(AuditError, match="not a DP check"):
        DpCheck.read(tmp_path / "nothing.json")
