"""Distinguishing experiments: many small trainings, one unit in or out by a fair coin, and what an observer can prove.

They go through whole cohorts and topologies; :mod:`flprivacy.training.worst_cases` is the product's own, smaller kind.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from private_examples import private_run
from tiny_training import tiny_manifest, write_tiny_cohort

from flprivacy.auditing.epsilon.audit import EpsilonAudit, audit_epsilon
from flprivacy.privacy.config import PrivacyConfig
from flprivacy.training.alone import train_central
from flprivacy.training.federated import train_federated
from flprivacy.training.topology import Run

BUDGET = PrivacyConfig(
    unit="patient", noise_multiplier=8.0, sampling_rate=0.5, population=12, delta=1e-3, optimizer="sgd", noise_seed=1
)
Score = Callable[[bool, int], float]


@dataclass(frozen=True)
class Told:
    """What a claim says, and what was proven."""

    claimed: float
    audit: EpsilonAudit

    @property
    def clopper_pearson(self) -> float:
        """The lower bound that assumes only that runs do not influence each other, which they cannot."""
        return max(b.epsilon_lower for b in self.audit.bounds if b.method == "Clopper-Pearson")


def audited(score: Score, *, runs: int, claimed: float, delta: float, seed: int = 0) -> Told:
    """Run ``score(in or out, number)`` with a fair coin each, and set what it proves against what is claimed."""
    coins = np.random.default_rng([99, seed]).random(runs) < 0.5
    scores = np.array([score(bool(coin), number) for number, coin in enumerate(coins)])
    members, others = {"release": scores[coins]}, {"release": scores[~coins]}
    return Told(claimed, audit_epsilon(members, others, delta=delta, confidence=0.95, claimed_epsilon=claimed))


def reseeded(run: Run, seed: int, folder: Path) -> Run:
    """Return the run with another secret, without compiling anything anew."""
    object.__setattr__(run.private, "seed", seed)
    run.learner._step.run.__self__._rule._seed = seed
    return replace(run, checkpoints=replace(run.checkpoints, folder=folder / str(seed)))


def spread(run: Run, trained: list) -> float:
    """Return the spread of what training did to the weights: mostly noise."""
    return float(np.std(trained[0].weights[0] - run.initial_weights(0)[0]))


def scans_of_a_patient(folder: Path, *, runs: int) -> Told:
    """Federated training that protects patients; one of them has 8 scans (in) or 1 (out)."""
    sizes = (13, 6, 3)
    one, many = tiny_manifest(sizes), tiny_manifest((sizes[0] + 7, *sizes[1:]))
    late = many["scan_id"].isin([f"scan-0-{n}" for n in range(12, 20)])
    many.loc[late, "patient_id"] = "patient-0-12"
    return _by_spread(train_federated, "federated", {False: one, True: many}, folder, runs=runs)


def one_patient_more(folder: Path, *, runs: int, privacy: PrivacyConfig = BUDGET) -> Told:
    """Central training on 23 patients (in) or 22 (out)."""
    manifests = {False: tiny_manifest((13, 6, 3)), True: tiny_manifest((14, 6, 3))}
    # A larger denominator makes the noise smaller.
    return _by_spread(train_central, "central", manifests, folder, runs=runs, sign=-1.0, privacy=privacy)


def _by_spread(
    train: Callable[[Run], list],
    topology: str,
    manifests: dict[bool, pd.DataFrame],
    folder: Path,
    *,
    runs: int,
    sign: float = 1.0,
    privacy: PrivacyConfig = BUDGET,
) -> Told:
    worlds = {
        inside: private_run(
            write_tiny_cohort(folder / f"cohort-{inside}", manifest),
            folder / f"run-{inside}",
            topology,
            privacy=privacy,
            epochs=1,
            rounds=1,
            learning_rate=0.01,
        )
        for inside, manifest in manifests.items()
    }

    def score(inside: bool, number: int) -> float:
        run = reseeded(worlds[inside], 1000 + number, folder / f"work-{inside}")
        return sign * spread(run, train(run))

    plan = worlds[False].private
    _, stated = plan.state({client: event.steps for client, event in plan.events.items()})
    return audited(score, runs=runs, claimed=stated.epsilon, delta=stated.delta)
