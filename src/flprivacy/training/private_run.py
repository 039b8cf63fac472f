"""The plan of one private training run: who is protected, each client's steps, and the secret that draws the noise."""

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from flprivacy.core.checkpoint_events import announce
from flprivacy.core.cohort import TRAIN, Cohort
from flprivacy.core.errors import ConfigError, TrainingError
from flprivacy.core.target import PrivacyStatement
from flprivacy.privacy.budget import ClientData, choose_delta, done, plan_clients, plan_sites, public_units
from flprivacy.privacy.config import DpSgdConfig, PrivacyConfig
from flprivacy.privacy.events import PATIENT, SCAN, SITE, SampledGaussianSteps
from flprivacy.privacy.randomness import secret_seed
from flprivacy.privacy.sampling import Chunk, patient_chunks, physical_batch, scan_chunks
from flprivacy.privacy.statement import state_privacy
from flprivacy.training.config import TargetConfig
from flprivacy.training.draws import draw_clients
from flprivacy.training.gradient_canaries import GradientCanaries
from flprivacy.training.pool import Indices, natural_partition, partition

SERVER = 0
SEED_FILE = "noise-seed.json"
# Scans in memory at a time: a larger draw comes in several chunks, a small client's is padded by less.
LARGEST_CHUNK = 32


@dataclass(frozen=True, kw_only=True, eq=False)
class PrivateRun:
    """What private training is to do, and with which secret.

    Attributes:
        events: client number -> all of its planned steps; of site-level training the server's rounds.
        seed: draws samples and noise; a secret.
        patients: client number -> (unit,) patient of each scan (or gradient canary), where the unit is a patient.
        exposures: groups of clients that may hold scans of one patient.
        first_canary: client number -> position from which on its units are gradient canaries.
    """

    config: PrivacyConfig
    events: dict[int, SampledGaussianSteps]
    delta: float
    seed: int = field(repr=False)
    patients: dict[int, npt.NDArray[np.int64]] = field(default_factory=dict)
    exposures: tuple[tuple[str, ...], ...] = ()
    first_canary: dict[int, int] = field(default_factory=dict)
    federated: bool = False

    @property
    def site_level(self) -> bool:
        """Whether sites are protected, by clipping and noising their updates."""
        return self.config.unit == SITE

    def state(self, steps: Mapping[int, int]) -> tuple[tuple[SampledGaussianSteps, ...], PrivacyStatement]:
        """Return the record of the steps that were done, and what they guarantee."""
        events = done(self.events, steps)
        known_seed = self.config.noise_seed is not None
        stated = state_privacy(
            events,
            delta=self.delta,
            exposures=self.exposures,
            known_seed=known_seed,
            federated=self.federated,
        )
        return events, stated

    def recorded(self, steps: Mapping[int, int]) -> dict[str, Any]:
        """Return the fields of a published record that say what was done and what it guarantees."""
        events, stated = self.state(steps)
        done_ = tuple(asdict(event) for event in events)
        return {"epsilon": stated.epsilon, "delta": stated.delta, "dp_events": done_, "privacy": stated}

    def settings(self) -> DpSgdConfig:
        """Return what every client's steps have in common; each is served its own noise and batch before it steps."""
        some = next(iter(self.events.values()))
        return DpSgdConfig(
            clip_norm=some.clip_norm,
            noise_multiplier=some.noise_multiplier,
            expected_batch=some.expected_batch,
            unit=self.config.unit,
            loss_scale=self.config.loss_scale,
        )

    def physical_batch(self) -> int:
        """Return how many scans are in memory at a time: enough for what clients draw, up to :data:`LARGEST_CHUNK`."""
        return min(LARGEST_CHUNK, max(self._drawn_by(number) for number in self.events))

    def _drawn_by(self, number: int) -> int:
        scans = np.ones(len(self.patients[number]))
        if self.config.unit == PATIENT:
            scans = np.unique(self.patients[number], return_counts=True)[1].astype(np.float64)
        return physical_batch(scans, self.events[number].sampling_rate)


def draw_chunks(run: PrivateRun, n: int, physical: int, key: tuple[int, ...]) -> Iterator[Chunk]:
    """Draw one step's units by Poisson sampling, with the rate planned for the client that ``key`` begins with."""
    rate = run.events[key[0]].sampling_rate
    if run.config.unit == PATIENT:
        return patient_chunks(run.patients[key[0]], rate, physical=physical, seed=run.seed, key=key)
    return scan_chunks(n, rate, physical=physical, seed=run.seed, key=key)


def plan_private_run(
    config: TargetConfig,
    cohort: Cohort,
    *,
    seed: int,
    members: Indices | None = None,
    canaries: GradientCanaries | None = None,
) -> PrivateRun | None:
    """Return the plan of a private target, or None for one that is not private.

    ``members`` are indices into the pool that central training is on, None for all; ``canaries`` are units that are
    no scans.

    Raises:
        ConfigError: a budget that cannot be met, a delta of 1 / n or more, or a batch larger than the data.
    """
    privacy = config.privacy
    if privacy is None:
        return None
    parts = _parts(config, cohort, members)
    if privacy.unit == SITE:
        n = public_units(privacy, "", len(parts) + (canaries.count if canaries else 0))
        sites = plan_sites(privacy, sites=n, rounds=config.rounds, client_fraction=config.client_fraction)
        delta = choose_delta(privacy, n)
        return PrivateRun(config=privacy, events={SERVER: sites}, delta=delta, seed=seed, federated=True)
    patient_of = training_patients(cohort)
    # Canaries behind the scans are patients of their own.
    n = len(patient_of)
    known = np.concatenate([patient_of, n + np.arange(max(int(p.max()) for p in parts.values()) + 1)])
    patients = {number: known[part] for number, part in parts.items()}
    if canaries:
        beyond = len(known) + n
        patients = {number: np.concatenate([p, beyond + canaries.inside(number)]) for number, p in patients.items()}
    passes = {number: {"passes": count} for number, count in _passes(config, len(parts)).items() if count}
    planned = plan_for_clients(
        privacy,
        patients,
        passes,
        seed=seed,
        batch_size=config.batch_size,
        named=config.topology != "central",
        federated=config.topology == "federated",
    )
    return replace(planned, first_canary={number: len(part) for number, part in parts.items()} if canaries else {})


def training_patients(cohort: Cohort) -> npt.NDArray[np.int64]:
    """Return (scan,) the patient of each scan of the training pool, as a number."""
    ids = cohort.manifest["patient_id"].to_numpy()[cohort.rows(TRAIN)]
    return np.unique(ids, return_inverse=True)[1].astype(np.int64)


def plan_for_clients(
    privacy: PrivacyConfig,
    patients: dict[int, npt.NDArray[np.int64]],
    effort: Mapping[int, Mapping[str, int]],
    *,
    seed: int,
    batch_size: int,
    named: bool,
    federated: bool,
) -> PrivateRun:
    """Return the plan of training on some clients' scans, where scans or patients are protected.

    Args:
        privacy: what is protected, and how well.
        patients: client number -> (unit,) patient of each of its scans.
        effort: number of each client that trains -> its ``passes`` or ``steps``, as :class:`ClientData` has them.
        seed: draws samples and noise; a secret.
        batch_size: where no sampling rate is configured.
        named: whether clients are sites; else there is one, of no name.
        federated: whether the clients train one model together.

    Raises:
        ConfigError: a budget that cannot be met, a delta of 1 / n or more, a batch larger than the data, or data that
            exceed what is declared.
    """
    clients = {}
    for number, much in effort.items():
        held, name = patients[number], f"site-{number:02d}" if named else ""
        counted = len(np.unique(held)) if privacy.unit == PATIENT else len(held)
        clients[number] = ClientData(name=name, units=public_units(privacy, name, counted), **much)
    check_declared(privacy, [patients[number] for number in clients])
    events = plan_clients(privacy, clients, batch_size=batch_size)
    together = min(privacy.clients_per_patient, len(clients))
    names = sorted(client.name for client in clients.values())
    return PrivateRun(
        config=privacy,
        events=events,
        delta=choose_delta(privacy, sum(event.population for event in events.values())),
        seed=seed,
        patients=patients,
        exposures=tuple(combinations(names, together)) if together > 1 else (),
        federated=federated,
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


def check_declared(config: PrivacyConfig, patients: Sequence[npt.NDArray[np.int64]]) -> None:
    """Refuse data that exceed what the configuration says of any patient, which the statement relies on."""
    holders: Counter[int] = Counter()
    for held in patients:
        found, scans = np.unique(held, return_counts=True)
        holders.update(found.tolist())
        most = config.scans_per_patient
        if config.unit == SCAN and most is not None and scans.max() > most:
            raise ConfigError(f"privacy.scans_per_patient is {most}, but a patient has {scans.max()}; raise it")
    shared = max(holders.values())
    concerned = config.unit == PATIENT or config.scans_per_patient is not None
    if concerned and shared > config.clients_per_patient:
        raise ConfigError(
            f"privacy.clients_per_patient is {config.clients_per_patient}, but a patient has scans at {shared} "
            "clients; raise it, so that a patient is charged for all of them"
        )


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
