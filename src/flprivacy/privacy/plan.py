"""The plan of a private run: for each client its sampling rate, noise and denominators, before anything is trained.

A client's steps are planned as DP events, so that what is trained, recorded and priced is one and the same record.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from flprivacy.core.errors import ConfigError
from flprivacy.privacy.accounting import account, check_delta
from flprivacy.privacy.calibration import calibrate_noise_multiplier
from flprivacy.privacy.config import PrivacyConfig
from flprivacy.privacy.events import SCAN, SITE, SampledGaussianSteps
from flprivacy.privacy.sampling import sampling_rate

_USUAL_DELTA, _SHARE = 1e-5, 0.1


@dataclass(frozen=True, kw_only=True)
class ClientData:
    """A client's data as far as accounting goes.

    Attributes:
        name: of the client, ``site-03``; empty for central training.
        units: scans or patients there.
        scans_per_patient: most scans of one patient there.
        passes: times that the client is to go over its data in the whole run.
    """

    name: str
    units: int
    scans_per_patient: int
    passes: int


def choose_delta(config: PrivacyConfig, n: int) -> float:
    """Return the configured delta, or the smaller of 1e-5 and a tenth of 1 / n.

    Args:
        config: of the run.
        n: units in all clients together.

    Raises:
        ConfigError: a delta of 1 / n or more.
    """
    delta = min(_USUAL_DELTA, _SHARE / n) if config.delta is None else config.delta
    check_delta(delta, n)
    return delta


def plan_clients(
    config: PrivacyConfig, clients: Mapping[int, ClientData], *, batch_size: int
) -> dict[int, SampledGaussianSteps]:
    """Return client -> all of its planned steps.

    Clients hold disjoint data, so that each has the whole budget (parallel composition).

    Args:
        config: unit ``scan`` or ``patient``, budget and clipping.
        clients: those that will train.
        batch_size: expected units a step, unless the configuration gives a sampling rate.

    Raises:
        ConfigError: a budget that cannot be met or a delta of 1 / n or more.
        TrainingError: a batch larger than a client's data.
    """
    delta = choose_delta(config, sum(c.units for c in clients.values()))
    events = {}
    for number, data in clients.items():
        rate = config.sampling_rate if config.sampling_rate is not None else _rate(batch_size, data)
        events[number] = _event(config, data, rate=rate, steps=data.passes * steps_per_pass(rate), delta=delta)
    return events


def plan_sites(config: PrivacyConfig, *, sites: int, rounds: int, client_fraction: float) -> SampledGaussianSteps:
    """Return the planned rounds of site-level training (DP-FedAvg), in which each site takes part at random.

    Raises:
        ConfigError: a budget that cannot be met or a delta of 1 / sites or more.
    """
    rate = client_fraction if config.sampling_rate is None else config.sampling_rate
    data = ClientData(name="", units=sites, scans_per_patient=1, passes=rounds)
    return _event(config, data, rate=rate, steps=rounds, delta=choose_delta(config, sites))


def steps_per_pass(rate: float) -> int:
    """Return the steps after which each unit has taken part once on average, rounded."""
    return max(1, round(1.0 / rate))


def expected_batch(event: SampledGaussianSteps) -> float:
    """Return the units that take part in a step on average: the fixed denominator of its update."""
    return event.sampling_rate * event.population


def done(planned: Mapping[int, SampledGaussianSteps], steps: Mapping[int, int]) -> tuple[SampledGaussianSteps, ...]:
    """Return the record of what was done: each client's event with its counted steps.

    Raises:
        ConfigError: steps of a client that none were planned for, or more than planned.
    """
    for client, count in steps.items():
        if client not in planned or count > planned[client].steps:
            raise ConfigError(f"client {client}: {count} private steps were done, which is more than planned")
    return tuple(event.with_steps(steps.get(client, 0)) for client, event in planned.items())


def shared_exposures(holders: Iterable[Iterable[str]]) -> list[tuple[str, ...]]:
    """Return the groups of clients that hold data of one and the same unit: without single ones and subsets.

    Args:
        holders: for each unit, the clients that hold some of its data.
    """
    groups = sorted({frozenset(h) for h in holders}, key=lambda g: (-len(g), sorted(g)))
    kept: list[frozenset[str]] = []
    for group in groups:
        if len(group) > 1 and not any(group <= other for other in kept):
            kept.append(group)
    return [tuple(sorted(group)) for group in kept]


def _rate(batch_size: int, data: ClientData) -> float:
    if batch_size > data.units:
        where = f"client {data.name!r}" if data.name else "the cohort"
        raise ConfigError(
            f"batch_size is {batch_size}, but {where} has {data.units} units (scans or patients) to draw it from; "
            "lower batch_size, or set privacy.sampling_rate, which suits clients of every size"
        )
    return sampling_rate(batch_size, data.units)


def _event(config: PrivacyConfig, data: ClientData, *, rate: float, steps: int, delta: float) -> SampledGaussianSteps:
    noise = config.noise_multiplier
    if noise is None:
        if config.epsilon is None:
            raise ConfigError("epsilon and noise_multiplier are both missing; give one of them")
        noise = _calibrated(config.epsilon, delta, steps, rate)
    return SampledGaussianSteps(
        steps=steps,
        sampling_rate=rate,
        noise_multiplier=noise,
        clip_norm=config.clip_norm,
        unit=config.unit,
        population=data.units,
        scans_per_patient=1 if config.unit == SITE else data.scans_per_patient,
        client=data.name,
    )


@lru_cache(maxsize=1024)
def _calibrated(epsilon: float, delta: float, steps: int, rate: float) -> float:
    """Calibrate once for all clients that sample alike; delta was checked against the whole population."""
    noise = calibrate_noise_multiplier(epsilon, delta=delta, steps=steps, sampling_rate=rate, population=1)
    # Calibration rounds privacy losses a little differently from pricing; what is stated must not exceed the target.
    while _priced(noise, delta, steps, rate) > epsilon:
        noise *= 1.0 + 1e-4
    return noise


def _priced(noise: float, delta: float, steps: int, rate: float) -> float:
    event = SampledGaussianSteps(
        steps=steps, sampling_rate=rate, noise_multiplier=noise, clip_norm=1.0, unit=SCAN, population=1
    )
    return account([event], delta=delta).epsilon
