"""Configuration of differentially private training."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flprivacy.core.errors import check
from flprivacy.privacy.events import ADD_REMOVE, ADJACENCIES, UNITS

NOISE_SEED = "noise_seed"
PRIVATE_OPTIMIZERS = ("adam", "sgd")


@dataclass(frozen=True, kw_only=True)
class PrivacyConfig:
    """How a target is trained with differential privacy: DP-SGD for scans and patients, DP-FedAvg for sites.

    Give ``epsilon`` or ``noise_multiplier``, not both.

    Attributes:
        unit: who is protected: any one ``scan``, any one ``patient`` with all scans, or any one ``site`` with all its
            patients (federated training only).
        epsilon: target budget of each model or client; the noise multiplier is calibrated to it.
        noise_multiplier: noise standard deviation over ``clip_norm``; the budget follows from it.
        adjacency: which data sets are neighbours: ``add-remove`` (one unit more or less; how many there are is not
            published) or ``zero-out`` (one unit's data replaced by nothing; how many there are is public).
        population: units of each client (of the cohort, in central training; sites, where they are protected) that
            everybody may know: it sets sampling rate, denominator and delta, and is published. ``add-remove`` needs
            it; None under ``zero-out``: the number in the data, rounded to two figures.
        populations: the same by client (``site-03``), for clients of different sizes.
        scans_per_patient: most scans of one patient at one client, public; None: not stated, and then scan-level
            training states nothing of a patient.
        clients_per_patient: most clients that hold scans of one patient, public; a patient is charged for so many.
        delta: of the guarantee, below 1 / n for n units in all clients together; None: the smaller of 1e-5 and
            1 / (10 n).
        clip_norm: bound on the L2 norm of one unit's gradient (of a site's whole update).
        sampling_rate: probability with which each unit takes part in a step (a site: in a round), in (0, 1], the same
            for clients of every size. None: ``batch_size`` units a step on average (for sites: ``client_fraction``).
        stop_after: epochs or rounds after which training stops although the noise was calibrated for all of them; the
            budget that is stated is that of the steps done. None: all of them.
        optimizer: ``adam`` or ``sgd``; it sees noised gradients only (sites train locally with Adam in any case).
        loss_scale: keeps the gradients of a ``mixed_float16`` network from vanishing; 1 for others.
        noise_seed: None: drawn from the operating system, kept with the checkpoints and gone with them. A number makes
            a run repeatable, and whoever knows it can subtract the noise: for tests and measurements only.
    """

    unit: str = "patient"
    epsilon: float | None = None
    noise_multiplier: float | None = None
    adjacency: str = ADD_REMOVE
    population: int | None = None
    populations: dict[str, int] = field(default_factory=dict)
    scans_per_patient: int | None = None
    clients_per_patient: int = 1
    delta: float | None = None
    clip_norm: float = 1.0
    sampling_rate: float | None = None
    stop_after: int | None = None
    optimizer: str = "adam"
    loss_scale: float = 1.0
    noise_seed: int | None = None

    def __post_init__(self) -> None:
        check(self.unit in UNITS, "unit", self.unit, f"must be one of {', '.join(UNITS)}")
        both = (self.epsilon, self.noise_multiplier)
        check(None in both and both != (None, None), "(epsilon, noise_multiplier)", both, "give exactly one of the two")
        for name in ("epsilon", "noise_multiplier", "clip_norm", "loss_scale"):
            value = getattr(self, name)
            check(value is None or 0.0 < value < math.inf, name, value, "must be positive and finite")
        known = ", ".join(ADJACENCIES)
        check(self.adjacency in ADJACENCIES, "adjacency", self.adjacency, f"must be one of {known}")
        counts = {f"populations.{client}": count for client, count in self.populations.items()}
        for name in ("population", "scans_per_patient", "clients_per_patient"):
            counts[name] = getattr(self, name)
        for name, count in counts.items():
            check(count is None or count >= 1, name, count, "must be at least 1")
        check(self.delta is None or 0.0 < self.delta < 1.0, "delta", self.delta, "must be between 0 and 1")
        rate = self.sampling_rate
        check(rate is None or 0.0 < rate <= 1.0, "sampling_rate", rate, "must be in (0, 1]")
        check(self.stop_after is None or self.stop_after >= 1, "stop_after", self.stop_after, "must be at least 1")
        known = ", ".join(PRIVATE_OPTIMIZERS)
        check(self.optimizer in PRIVATE_OPTIMIZERS, "optimizer", self.optimizer, f"must be one of {known}")
        check(self.noise_seed is None or self.noise_seed >= 0, "noise_seed", self.noise_seed, "must not be negative")


def without_noise_seeds(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration's mapping without the seeds of noise in it: as more people may see it than draw noise."""
    return without_fields(config, (NOISE_SEED,))


def without_fields(mapping: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """Return a nested mapping without the fields of these names, at any depth."""
    kept = {name: value for name, value in mapping.items() if name not in names}
    return {name: without_fields(value, names) if isinstance(value, Mapping) else value for name, value in kept.items()}


@dataclass(frozen=True, kw_only=True)
class DpSgdConfig:
    """What one private step does.

    Attributes:
        noise_multiplier: noise standard deviation over ``clip_norm``; 0 adds none, which no event can record.
        expected_batch: units a step on average, ``sampling_rate * n``: the fixed denominator.
        unit: what is clipped as one: ``scan``, or ``patient`` (the sum over a drawn patient's scans).
        loss_scale: the loss is multiplied by it before, and the gradient divided by it after, differentiation.
    """

    clip_norm: float
    noise_multiplier: float
    expected_batch: float
    unit: str = "scan"
    loss_scale: float = 1.0

    def __post_init__(self) -> None:
        check(self.unit in ("scan", "patient"), "unit", self.unit, "must be scan or patient")
        for name in ("clip_norm", "expected_batch", "loss_scale"):
            value = getattr(self, name)
            check(0.0 < value < math.inf, name, value, "must be positive and finite")
        value = self.noise_multiplier
        check(0.0 <= value < math.inf, "noise_multiplier", value, "must not be negative, and finite")
