"""Private training: what it records, that it repeats and resumes bit for bit, and what it refuses."""

import dataclasses
import json
import stat
from pathlib import Path

import numpy as np
import pytest
from private_examples import PRIVATE, private_run, with_shared_patients
from tiny_training import assert_same_bits

from flprivacy.core.cohort import Cohort
from flprivacy.core.errors import ConfigError, TrainingError
from flprivacy.core.parsing import from_mapping, to_mapping
from flprivacy.core.target import TargetRecord
from flprivacy.privacy.accounting import account
from flprivacy.privacy.budget import public_units
from flprivacy.privacy.config import PrivacyConfig
from flprivacy.privacy.events import SampledGaussianSteps
from flprivacy.targets.folder import read_target
from flprivacy.training.alone import train_central, train_siloed
from flprivacy.training.checkpoint import Checkpoint, Checkpoints
from flprivacy.training.config import CanaryConfig, TargetConfig
from flprivacy.training.federated import train_federated
from flprivacy.training.private_run import SEED_FILE, noise_seed, plan_private_run
from flprivacy.training.train import train_target

TRAINERS = {"central": train_central, "siloed": train_siloed, "federated": train_federated}
SITE = PrivacyConfig(
    adjacency="zero-out", unit="site", noise_multiplier=1.0, delta=0.01, sampling_rate=0.5, noise_seed=5, clip_norm=0.3
)


class Killed(BaseException):
    """Stands for a kill: nothing may catch it."""


@pytest.fixture(scope="module")
def record(cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> tuple[TargetRecord, Path]:
    """A federated target, protecting patients, one of whom was scanned at two sites, with an own secret."""
    folder = tmp_path_factory.mktemp("private")
    config = TargetConfig(
        topology="federated",
        rounds=2,
        privacy=PrivacyConfig(
            adjacency="zero-out", epsilon=6.0, sampling_rate=0.34, stop_after=1, clients_per_patient=2
        ),
    )
    shared = with_shared_patients(cohort)
    train_target("t", config, shared, protocol="standard", work=folder / "work", out=folder / "out")
    return read_target(folder / "out"), folder


def test_the_record_says_who_is_protected_and_how_much(record: tuple[TargetRecord, Path]) -> None:
    found, _ = record
    events = [from_mapping(SampledGaussianSteps, e) for e in found.dp_events]
    assert [e.client for e in events] == ["site-00", "site-01", "site-02"]
    assert [e.steps for e in events] == [3, 3, 3]  # one of two rounds: stopped early
    assert [e.population for e in events] == [11, 6, 3]  # patients, not scans
    assert {(e.adjacency, e.scans_per_patient) for e in events} == {("zero-out", 1)}
    assert found.privacy is not None
    assert found.privacy.unit == "patient"
    assert "any one patient" in found.privacy.words
    assert "several sites" in found.privacy.words
    # Each site keeps the target, stopped early is less, and the patient of two sites pays for both.
    own = account(events[:1], delta=1e-5).epsilon
    assert found.privacy.client_epsilons == pytest.approx(dict.fromkeys(("site-00", "site-01", "site-02"), own))
    assert own < found.epsilon == pytest.approx(account(events, delta=1e-5, exposures=[("site-00", "site-01")]).epsilon)
    whole = account([e.with_steps(6) for e in events[:1]], delta=1e-5).epsilon
    assert 5.9 < whole <= 6.0
    assert from_mapping(TargetRecord, json.loads(json.dumps(to_mapping(found)))) == found


def test_nothing_that_is_not_private_is_published_beside_the_model(record: tuple[TargetRecord, Path]) -> None:
    found, folder = record
    history = json.loads((folder / "out" / "private" / "history.json").read_text())
    assert history == {"model": [{"round": 1, "clients": 3}]}
    (secret,) = (folder / "work").rglob(SEED_FILE)
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    seed = str(json.loads(secret.read_text())["seed"])
    assert len(seed) > 30
    assert not [p for p in (folder / "out").rglob("*.*") if seed.encode() in p.read_bytes()]
    assert not any("seed in the configuration" in c for c in found.privacy.caveats)


def test_a_secret_is_kept_for_the_run_and_drawn_anew_for_another(tmp_path: Path) -> None:
    config = PrivacyConfig(adjacency="zero-out", noise_multiplier=1.0)
    assert (
        noise_seed(config, tmp_path / "a") == noise_seed(config, tmp_path / "a") != noise_seed(config, tmp_path / "b")
    )
    (tmp_path / "a" / SEED_FILE).write_text("{")
    with pytest.raises(TrainingError, match="damaged"):
        noise_seed(config, tmp_path / "a")


CASES = {
    "central": ({"epochs": 2}, PRIVATE, 2),
    "siloed": ({"epochs": 1}, PRIVATE, 3),
    "federated": ({"rounds": 2, "local_epochs": 2, "client_fraction": 0.67}, PRIVATE, 2),
    "sites": ({"rounds": 3}, SITE, 3),
    "canaries": ({"epochs": 2}, dataclasses.replace(PRIVATE, optimizer="sgd"), 2),
}


@pytest.mark.parametrize("case", CASES)
def test_killed_at_every_checkpoint_and_between_it_ends_with_the_same_bits_and_steps(
    case: str, cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields, privacy, boundaries = CASES[case]
    topology = {"sites": "federated", "canaries": "central"}.get(case, case)
    extra = {"canaries": CanaryConfig(count=20)} if case == "canaries" else {}

    def run(name: str):
        return private_run(cohort, tmp_path / name, topology, privacy=privacy, **extra, **fields)

    whole = run("undisturbed")
    undisturbed = TRAINERS[topology](whole)
    killed = run("killed")
    save, left = Checkpoints.save, iter(range(3))

    def save_and_die(self: Checkpoints, model: str, checkpoint: Checkpoint) -> None:
        save(self, model, checkpoint)
        raise Killed

    def read_and_die(indices):
        if next(left, None) is None:
            raise Killed
        return whole.pool.read(indices)

    if case in ("federated", "canaries"):  # in the middle of an epoch: its steps are done again, and counted once
        with pytest.raises(Killed):
            TRAINERS[topology](dataclasses.replace(killed, pool=dataclasses.replace(killed.pool, read=read_and_die)))
        killed = run("killed")
    monkeypatch.setattr(Checkpoints, "save", save_and_die)
    for _ in range(boundaries):
        with pytest.raises(Killed):
            TRAINERS[topology](killed)
    resumed = TRAINERS[topology](killed)
    for left_, right in zip(undisturbed, resumed, strict=True):
        assert_same_bits(left_.weights, right.weights)
        assert_same_bits(left_.memory, right.memory)
        assert left_.history == right.history
        assert left_.steps == right.steps
    counts = {client: count for model in resumed for client, count in model.steps.items()}
    events, _ = whole.private.state(counts)
    assert [e.steps for e in events] == [e.steps for e in whole.private.events.values()]  # planned and done agree


def test_another_secret_gives_another_model(cohort: Cohort, tmp_path: Path) -> None:
    weights = []
    for seed in (5, 5, 6):
        privacy = dataclasses.replace(PRIVATE, noise_seed=seed)
        run = private_run(cohort, tmp_path / str(len(weights)), privacy=privacy, epochs=1)
        weights.append(train_central(run)[0].weights[0])
    assert np.array_equal(weights[0], weights[1])
    assert not np.array_equal(weights[0], weights[2])


def test_each_client_has_its_own_rate_noise_and_denominator(cohort: Cohort, tmp_path: Path) -> None:
    """With batches of 2, small sites sample more often, so they get more noise to keep the same budget."""
    privacy = PrivacyConfig(adjacency="zero-out", unit="scan", epsilon=4.0, noise_seed=1)
    run = private_run(cohort, tmp_path, "federated", privacy=privacy, batch_size=2, rounds=2)
    served = []
    rule = run.learner._step.run.__self__._rule
    serve = rule.serve
    rule.serve = lambda **settings: served.append(tuple(settings.values())) or serve(**settings)
    (trained,) = train_federated(run)
    events, stated = run.private.state(trained.steps)
    rates = [e.sampling_rate for e in events]
    assert rates == pytest.approx([2 / 13, 2 / 6, 2 / 3])
    noise = [e.noise_multiplier for e in events]
    assert sorted(noise) == noise
    assert {round(expected, 6) for _, expected in served} == {2.0}
    assert {n for n, _ in served} == set(noise)
    assert all(3.9 < epsilon <= 4.0 for epsilon in stated.client_epsilons.values())
    assert stated.epsilon == max(stated.client_epsilons.values())


def test_clients_count_by_their_public_numbers_of_units(cohort: Cohort, tmp_path: Path) -> None:
    """Without noise worth speaking of, a step of everybody at each client is a step on all scans together."""
    quiet = dataclasses.replace(PRIVATE, noise_multiplier=1e-6, optimizer="sgd", sampling_rate=1.0, clip_norm=100.0)
    moved = {}
    declared = {"site-00": 13, "site-01": 6, "site-02": 3}
    for topology, privacy in (
        ("central", quiet),
        ("federated", quiet),
        ("declared", dataclasses.replace(quiet, adjacency="add-remove", populations=declared)),
        ("alike", dataclasses.replace(quiet, adjacency="add-remove", population=10)),
    ):
        where = "central" if topology == "central" else "federated"
        run = private_run(cohort, tmp_path / topology, where, privacy=privacy, epochs=1, rounds=1)
        (trained,) = TRAINERS[where](run)
        moved[topology] = trained.weights[0] - run.initial_weights(0)[0]
    for topology in ("federated", "declared"):
        np.testing.assert_allclose(moved[topology], moved["central"], rtol=1e-3, atol=1e-6)
    assert np.abs(moved["alike"] - moved["central"]).max() > 1e-3


def test_a_patients_scans_are_drawn_and_clipped_together(cohort: Cohort, tmp_path: Path) -> None:
    patients = dataclasses.replace(PRIVATE, unit="patient", clients_per_patient=2)
    run = private_run(with_shared_patients(cohort), tmp_path, privacy=patients)
    (event,) = run.private.events.values()
    assert (event.population, event.scans_per_patient) == (22 - 3, 1)  # how many scans of one enters nothing
    (trained,) = train_central(run)
    assert "any one patient, with all of their scans" in run.private.state(trained.steps)[1].words
    declared = dataclasses.replace(PRIVATE, scans_per_patient=3)
    by_scan = private_run(with_shared_patients(cohort), tmp_path / "scan", privacy=declared)
    stated = by_scan.private.state({0: 4})[1]
    assert stated.patient_epsilon is not None
    assert stated.patient_epsilon > 2 * stated.epsilon
    assert "up to 3 scans" in stated.words
    silent = private_run(with_shared_patients(cohort), tmp_path / "silent").private.state({0: 4})[1]
    assert (silent.patient_epsilon, silent.scans_per_patient) == (None, None)
    assert "not declared" in silent.words


def test_site_level_updates_are_clipped_sums_over_a_fixed_denominator(cohort: Cohort, tmp_path: Path) -> None:
    """Without noise worth speaking of, one round moves the weights by clipped updates over the expected sites."""
    quiet = dataclasses.replace(SITE, noise_multiplier=1e-4, sampling_rate=1.0, clip_norm=0.01)
    run = private_run(cohort, tmp_path, "federated", privacy=quiet, rounds=1)
    (trained,) = train_federated(run)
    moved = trained.weights[0] - run.initial_weights(0)[0]
    # Three sites learn much the same: each update is cut to 0.01, and their mean is hardly shorter.
    assert 0.005 < np.linalg.norm(moved) < 0.0101
    assert trained.steps == {0: 1}
    assert trained.history == [{"round": 1}]


def test_mislabelled_canaries_that_are_out_are_not_trained_on(cohort: Cohort, tmp_path: Path) -> None:
    run = private_run(cohort, tmp_path, canaries=CanaryConfig(kind="mislabelled", count=20, seed=2))
    changed = run.pool.labels != private_run(cohort, tmp_path / "plain").pool.labels
    assert changed.sum() == 20
    assert 0 < 22 - len(run.members) < 20
    assert run.private.events[0].population == len(run.members)


def test_blank_canaries_are_scans_of_patients_of_their_own(cohort: Cohort, tmp_path: Path) -> None:
    run = private_run(cohort, tmp_path, canaries=CanaryConfig(kind="blank-pattern", count=20))
    inside = run.members[run.members >= 22]
    volumes = run.pool.read(np.array([0, *inside]))
    assert volumes.dtype == np.uint8
    assert set(np.unique(volumes[1:])) == {0, 255}
    assert len({v.tobytes() for v in volumes[1:]}) == len(inside)
    assert len(set(run.private.patients[0].tolist())) == len(run.private.patients[0])
    assert run.pool.view(inside[:2], 1).shape == (2, 8, 32, 40, 1)


def test_a_participation_of_a_gradient_canary_leaves_a_mark_of_one(cohort: Cohort, tmp_path: Path) -> None:
    quiet = dataclasses.replace(PRIVATE, noise_multiplier=1e-3, optimizer="sgd", sampling_rate=0.5)
    run = private_run(cohort, tmp_path, privacy=quiet, canaries=CanaryConfig(count=60, norm=7.0), epochs=10)
    (trained,) = train_central(run)
    marks = trained.memory[0].sum(axis=0)
    rng = np.random.default_rng([7, 0])
    included = rng.random(60) < 0.5
    assert np.abs(marks[~included]).max() < 2.0  # what real scans leave in their weights
    # 20 steps at rate 1/2: each took part a whole number of times, about 10.
    assert marks[included].mean() == pytest.approx(10.0, abs=1.5)
    assert marks[included].min() > 2.0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"epsilon": 0.0}, "epsilon is 0.0; must be positive"),
        ({"epsilon": -1.0}, "epsilon is -1.0; must be positive"),
        ({"epsilon": 1.0, "noise_multiplier": 1.0}, "give exactly one of the two"),
        ({}, "give exactly one of the two"),
        ({"epsilon": 1.0, "clip_norm": 0.0}, "clip_norm is 0.0; must be positive"),
        ({"epsilon": 1.0, "delta": 0.0}, "delta is 0.0"),
        ({"epsilon": 1.0, "unit": "hospital"}, "unit is 'hospital'"),
        ({"epsilon": 1.0, "sampling_rate": 1.5}, "sampling_rate is 1.5"),
        ({"epsilon": 1.0, "stop_after": 0}, "stop_after is 0"),
        ({"epsilon": 1.0, "optimizer": "lamb"}, "optimizer is 'lamb'"),
    ],
)
def test_bad_budgets_are_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace("(", r"\(")):
        PrivacyConfig(**fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"topology": "untrained", "privacy": PRIVATE}, "an untrained target needs none"),
        ({"topology": "central", "privacy": SITE}, "a central target protects scan or patient"),
        ({"topology": "federated", "partition": "iid", "privacy": SITE}, "must be natural where sites are protected"),
        ({"topology": "siloed", "canaries": CanaryConfig()}, "canaries are for central targets"),
        ({"topology": "central", "canaries": CanaryConfig()}, "gradient canaries need privacy with optimizer sgd"),
    ],
)
def test_what_does_not_go_together_is_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TargetConfig(**fields)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"delta": 1 / 22}, r"delta is 0.04.*below 1/n"),
        ({"sampling_rate": None}, "batch_size is 40, but the cohort has 22 units.*lower batch_size"),
    ],
)
def test_data_that_does_not_carry_the_plan_is_refused(cohort: Cohort, change: dict[str, object], message: str) -> None:
    privacy = dataclasses.replace(PRIVATE, **change)
    with pytest.raises(ConfigError, match=message):
        plan_private_run(TargetConfig(topology="central", batch_size=40, privacy=privacy), cohort, seed=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"adjacency": "add-remove"}, r"privacy.population is missing.*set privacy.adjacency to zero-out"),
        ({"unit": "patient"}, "clients_per_patient is 1, but a patient has scans at 2 clients"),
        ({"scans_per_patient": 2, "clients_per_patient": 2}, "scans_per_patient is 2, but a patient has 3"),
    ],
)
def test_what_is_not_declared_is_not_read_off_the_data(cohort: Cohort, change: dict[str, object], message: str) -> None:
    config = TargetConfig(topology="federated", privacy=dataclasses.replace(PRIVATE, **change))
    with pytest.raises(ConfigError, match=message):
        plan_private_run(config, with_shared_patients(cohort), seed=0)


def test_declared_numbers_alone_set_rates_denominators_and_delta(cohort: Cohort) -> None:
    declared = dataclasses.replace(
        PRIVATE, adjacency="add-remove", sampling_rate=None, population=40, populations={"site-02": 10}
    )
    config = TargetConfig(topology="federated", batch_size=4, privacy=declared)
    run = plan_private_run(config, cohort, seed=0)
    assert [e.population for e in run.events.values()] == [40, 40, 10]
    assert [e.sampling_rate for e in run.events.values()] == [0.1, 0.1, 0.4]
    assert {e.expected_batch for e in run.events.values()} == {4.0}
    assert "one scan (add-remove)" in run.state({0: 1})[1].caveats[0]


@pytest.mark.parametrize(("counted", "public"), [(3, 3), (22, 22), (961, 960), (1284, 1300), (99_600, 100_000)])
def test_numbers_that_the_data_may_say_are_rounded(counted: int, public: int) -> None:
    assert public_units(PRIVATE, "site-00", counted) == public


def test_batch_norm_is_refused_with_reason_and_remedy(cohort: Cohort, tmp_path: Path) -> None:
    for privacy, reason in ((PRIVATE, "no scan is private"), (SITE, "moving variances")):
        config = TargetConfig(topology="federated", architecture="cnn3d", privacy=privacy)
        with pytest.raises(TrainingError, match=rf"{reason}.*GroupNormalization.*cnn3d_small"):
            train_target("t", config, cohort, protocol="standard", work=tmp_path / "work", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("noise", "rate"), [(1e30, 1e10), (1e40, 0.1)])
def test_more_noise_than_training_bears_is_a_clear_error(
    cohort: Cohort, tmp_path: Path, noise: float, rate: float
) -> None:
    loud = dataclasses.replace(PRIVATE, noise_multiplier=noise, optimizer="sgd")
    with pytest.raises(TrainingError, match=r"not finite.*lower|no longer finite.*lower"):
        train_central(private_run(cohort, tmp_path, privacy=loud, learning_rate=rate))


def test_the_default_delta_is_below_one_in_ten_n(cohort: Cohort) -> None:
    run = plan_private_run(TargetConfig(topology="central", privacy=PRIVATE), cohort, seed=0)
    assert run is not None
    assert run.delta == 1e-5
    from flprivacy.privacy.budget import choose_delta

    assert choose_delta(PRIVATE, 10**6) == pytest.approx(1e-7)
