"""The plan of one private training run: who is protected, each client's steps, and the secret that draws the noise."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from flprivacy.core.checkpoint_events import announce
from flprivacy.core.cohort import TRAIN, Cohort
from flprivacy.core.errors import TrainingError
from flprivacy.core.target import PrivacyStatement
from flprivacy.privacy.budget import ClientData, choose_delta, done, plan_clients, plan_sites
from flprivacy.privacy.config import PrivacyConfig
from flprivacy.privacy.events import PATIENT, SITE, SampledGaussianSteps
from flprivacy.privacy.randomness import secret_seed
from flprivacy.privacy.statement import state_privacy
from flprivacy.training.config import TargetConfig
from flprivacy.training.draws import draw_clients
from flprivacy.training.pool import Indices, natural_partition, partition

SERVER = 0
SEED_FILE = "noise-seed.json"


@dataclass(frozen=True, kw_only=True, eq=False)
class PrivateRun:
    """What private training is to do, and with which secret.

    Attributes:
        events: client number -> all of its planned steps; of site-level training the server's rounds.
        seed: draws samples and noise; a secret.
        patients: client number -> (unit,) patient of each scan (or gradient canary), where the unit is a patient.
        exposures: groups of clients that hold scans of one patient.
        first_canary: position from which on a client's units are gradient canaries; None where there are none.
    """

    config: PrivacyConfig
    events: dict[int, SampledGaussianSteps]
    delta: float
    seed: int = field(repr=False)
    patients: dict[int, npt.NDArray[np.int64]] = field(default_factory=dict)
    exposures: tuple[tuple[str, ...], ...] = ()
    first_canary: int | None = None

    @property
    def site_level(self) -> bool:
        """Whether sites are protected, by clipping and noising their updates."""
        return self.config.unit == SITE

    def state(self, steps: Mapping[int, int]) -> tuple[tuple[SampledGaussianSteps, ...], PrivacyStatement]:
        """Return the record of the steps that were done, and what they guarantee."""
        events = done(self.events, steps)
        known_seed = self.config.noise_seed is not None
        return events, state_privacy(events, delta=self.delta, exposures=self.exposures, known_seed=known_seed)


def plan_private_run(
    config: TargetConfig, cohort: Cohort, *, seed: int, members: Indices | None = None, gradient_canaries: int = 0
) -> PrivateRun | None:
    """Return the plan of a private target, or None for one that is not private.

    ``members`` are indices into the pool that central training is on, None for all; ``gradient_canaries`` counts units
    of central training that are no scans.

    Raises:
        ConfigError: a budget that cannot be met, a delta of 1 / n or more, or a batch larger than the data.
    """
    privacy = config.privacy
    if privacy is None:
        return None
    parts = _parts(config, cohort, members)
    if privacy.unit == SITE:
        sites = plan_sites(privacy, sites=len(parts), rounds=config.rounds, client_fraction=config.client_fraction)
        return PrivateRun(config=privacy, events={SERVER: sites}, delta=choose_delta(privacy, len(parts)), seed=seed)
    ids = cohort.manifest["patient_id"].to_numpy()[cohort.rows(TRAIN)]
    _, patient_of = np.unique(ids, return_inverse=True)
    # Canaries behind the scans are patients of their own.
    known = np.concatenate([patient_of, len(ids) + np.arange(max(int(p.max()) for p in parts.values()) + 1)])
    patients = {number: known[part].astype(np.int64) for number, part in parts.items()}
    if gradient_canaries:
        strangers = len(known) + len(ids) + np.arange(gradient_canaries)
        patients = {number: np.concatenate([p, strangers]) for number, p in patients.items()}
    clients = {
        number: _client_data(config, number, patients[number], alone=config.topology == "central", passes=passes)
        for number, passes in _passes(config, len(parts)).items()
        if passes
    }
    events = plan_clients(privacy, clients, batch_size=config.batch_size)
    return PrivateRun(
        config=privacy,
        events=events,
        delta=choose_delta(privacy, sum(event.population for event in events.values())),
        seed=seed,
        patients=patients,
        exposures=_exposures([patients[n] for n in clients], [c.name for c in clients.values()]),
        first_canary=len(parts[0]) if gradient_canaries else None,
    )


def _parts(config: TargetConfig, cohort: Cohort, members: Indices | None) -> dict[int, Indices]:
    """Return client number -> its scans, as indices into the pool."""
    if config.topology == "central":
        return {0: np.arange(len(cohort.rows(TRAIN))) if members is None else members}
    if config.topology == "siloed":
        return dict(enumerate(natural_partition(cohort)))
    return dict(enumerate(partition(cohort, kind=config.partition, seed=config.seed)))


def _passes(config: TargetConfig, n_clients: int) -> dict[int, int]:
    """Return client number -> passes over its data that are planned."""
    if config.topology != "federated":
        return dict.fromkeys(range(n_clients), config.epochs)
    drawn = [draw_clients(n_clients, config.client_fraction, config.seed, r) for r in range(config.rounds)]
    return {c: config.local_epochs * sum(int(c in clients) for clients in drawn) for c in range(n_clients)}


def _client_data(
    config: TargetConfig, number: int, patients: npt.NDArray[np.int64], *, alone: bool, passes: int
) -> ClientData:
    scans = np.unique(patients, return_counts=True)[1]
    by_patient = config.privacy is not None and config.privacy.unit == PATIENT
    return ClientData(
        name="" if alone else f"site-{number:02d}",
        units=len(scans) if by_patient else len(patients),
        scans_per_patient=int(scans.max()),
        passes=passes,
    )


def _exposures(patients: Sequence[npt.NDArray[np.int64]], names: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Return the groups of clients that hold scans of one and the same patient, without single ones and subsets."""
    holders: dict[int, set[str]] = {}
    for name, held in zip(names, patients, strict=True):
        for patient in np.unique(held).tolist():
            holders.setdefault(patient, set()).add(name)
    groups = {frozenset(held) for held in holders.values() if len(held) > 1}
    kept = (group for group in groups if not any(group < other for other in groups))
    return tuple(sorted(tuple(sorted(group)) for group in kept))


def noise_seed(config: PrivacyConfig, folder: Path) -> int:
    """Return the configured seed, else the one kept with the checkpoints in ``folder``, else a new secret kept there.

    Only its owner can read the file.

    Raises:
        TrainingError: the kept seed is damaged.
    """
    if config.noise_seed is not None:
        return config.noise_seed
    path = folder / SEED_FILE
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}.partial")
        partial.unlink(missing_ok=True)
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
            json.dump({"seed": secret_seed()}, stream)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(path)
        announce(path)
    try:
        return int(json.loads(path.read_text())["seed"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(f"{path}: damaged; delete this folder of checkpoints and train again") from error
