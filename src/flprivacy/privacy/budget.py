"""How a privacy budget is spent: each client's sampling rate, noise and steps, before anything is trained.

A client's steps are planned as DP events, so that what is trained, recorded and priced is one and the same record.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache

from flprivacy.core.errors import ConfigError, check
from flprivacy.privacy.accounting import account, check_delta
from flprivacy.privacy.config import PrivacyConfig
from flprivacy.privacy.events import ADD_REMOVE, SCAN, SampledGaussianSteps, steps_per_pass

_USUAL_DELTA, _SHARE = 1e-5, 0.1
_RELATIVE_TOLERANCE = 1e-3  # of a calibrated noise multiplier
_LARGEST_NOISE = 1e6


@dataclass(frozen=True, kw_only=True)
class ClientData:
    """What everybody may know of a client: its units, and times that it is to go over them in the whole run.

    ``name`` is empty for central training. ``steps`` are given in place of passes where a run counts those.
    """

    name: str
    units: int
    passes: int = 1
    steps: int | None = None


def public_units(config: PrivacyConfig, name: str, counted: int) -> int:
    """Return a client's number of units that everybody may know.

    Under ``zero-out`` it may be the number in the data, rounded to two figures, since neighbours agree on that; under
    ``add-remove`` nothing that the data say may enter it.

    Raises:
        ConfigError: no number is declared where one has to be.
    """
    declared = config.populations.get(name, config.population)
    if declared is not None:
        return declared
    if config.adjacency == ADD_REMOVE:
        raise ConfigError(
            f"privacy.population is missing: how many units ({config.unit}s) a client has sets sampling rate, "
            "denominator and delta, and is published; give a number that everybody may know, such as a rounded one, or "
            "set privacy.adjacency to zero-out, under which the number in the data, rounded to two figures, is public"
        )
    digits = len(str(counted))
    return max(1, round(counted, min(0, 2 - digits)))


def choose_delta(config: PrivacyConfig, n: int) -> float:
    """Return the configured delta, or the smaller of 1e-5 and a tenth of 1 / n, for n units in all clients together.

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

    Clients hold disjoint data, so that each has the whole budget (parallel composition). ``batch_size`` is the expected
    units a step, unless the configuration gives a sampling rate.

    Raises:
        ConfigError: a budget that cannot be met, a delta of 1 / n or more, or a batch larger than a client's data.
    """
    delta = choose_delta(config, sum(c.units for c in clients.values()))
    events = {}
    for number, data in clients.items():
        rate = config.sampling_rate if config.sampling_rate is not None else _rate(batch_size, data)
        steps = data.passes * steps_per_pass(rate) if data.steps is None else data.steps
        events[number] = _event(config, data, rate=rate, steps=steps, delta=delta)
    return events


def plan_sites(config: PrivacyConfig, *, sites: int, rounds: int, client_fraction: float) -> SampledGaussianSteps:
    """Return the planned rounds of site-level training (DP-FedAvg), in which each site takes part at random.

    Raises:
        ConfigError: a budget that cannot be met or a delta of 1 / sites or more.
    """
    rate = client_fraction if config.sampling_rate is None else config.sampling_rate
    data = ClientData(name="", units=sites, passes=rounds)
    return _event(config, data, rate=rate, steps=rounds, delta=choose_delta(config, sites))


def done(planned: Mapping[int, SampledGaussianSteps], steps: Mapping[int, int]) -> tuple[SampledGaussianSteps, ...]:
    """Return the record of what was done: each client's event with its counted steps.

    Raises:
        ConfigError: steps of a client that none were planned for, or more than planned.
    """
    for client, count in steps.items():
        if client not in planned or count > planned[client].steps:
            raise ConfigError(f"client {client}: {count} private steps were done, which is more than planned")
    return tuple(event.with_steps(steps.get(client, 0)) for client, event in planned.items())


def _rate(batch_size: int, data: ClientData) -> float:
    if batch_size > data.units:
        where = f"client {data.name!r}" if data.name else "the cohort"
        raise ConfigError(
            f"batch_size is {batch_size}, but {where} has {data.units} units (scans or patients) to draw it from; "
            "lower batch_size, or set privacy.sampling_rate, which suits clients of every size"
        )
    return batch_size / data.units


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
        scans_per_patient=config.scans_per_patient if config.unit == SCAN else 1,
        client=data.name,
        adjacency=config.adjacency,
    )


@lru_cache(maxsize=1024)
def _calibrated(epsilon: float, delta: float, steps: int, rate: float) -> float:
    """Calibrate once for all clients that sample alike; delta was checked against the whole population."""
    noise = calibrate_noise_multiplier(epsilon, delta=delta, steps=steps, sampling_rate=rate, population=1)
    # Calibration rounds privacy losses a little differently from pricing; what is stated must not exceed the target.
    while account([_steps(noise, steps, rate)], delta=delta).epsilon > epsilon:
        noise *= 1.0 + 1e-4
    return noise


def _steps(noise: float, steps: int, rate: float) -> SampledGaussianSteps:
    """Return the event of steps whose price alone is asked for."""
    return SampledGaussianSteps(
        steps=steps, sampling_rate=rate, noise_multiplier=noise, clip_norm=1.0, unit=SCAN, population=1
    )


def calibrate_noise_multiplier(
    epsilon: float,
    *,
    delta: float,
    steps: int,
    sampling_rate: float,
    population: int,
    group_size: int = 1,
) -> float:
    """Return the least noise multiplier, to 0.1%, whose PLD epsilon after ``steps`` does not exceed the target.

    Raises:
        ConfigError: an argument out of range, or a target that no noise multiplier up to a million meets.
    """
    check(epsilon > 0.0, "epsilon", epsilon, "must be positive; 0 would mean that nothing is learnt")
    check_delta(delta, population)
    check(steps >= 1, "steps", steps, "must be at least 1")
    check(group_size >= 1, "group_size", group_size, "must be at least 1")
    # dp-accounting takes long to import, and training that is not private has no use for it
    from flprivacy.privacy.mechanisms import discretisation, pld_accountant, rdp_epsilon

    def by_rdp(noise: float) -> float:
        return rdp_epsilon([_steps(noise, steps, sampling_rate)], group_size=group_size, delta=delta)

    def by_pld(noise: float) -> float:
        events = [_steps(noise, steps, sampling_rate)]
        return float(pld_accountant(events, group_size=group_size, interval=interval).get_epsilon(delta))

    # RDP is cheap and never promises too much: the search by PLD starts from its answer.
    interval = discretisation(epsilon, steps)
    enough = _least(by_rdp, epsilon, start=1.0, step=2.0)
    return _least(by_pld, epsilon, start=enough, step=1.1)


def _least(price: Callable[[float], float], epsilon: float, *, start: float, step: float) -> float:
    """Return the least noise multiplier, within the tolerance, whose (falling) price does not exceed ``epsilon``."""
    from scipy.optimize import brentq  # slow to import: only where it is used

    @cache
    def excess(log_noise: float) -> float:
        return math.log(max(price(math.exp(log_noise)), 1e-300) / epsilon)

    width, tolerance = math.log(step), _RELATIVE_TOLERANCE / 2.0
    enough = math.log(start)
    while excess(enough) > 0.0:
        enough += width
        if enough > math.log(_LARGEST_NOISE):
            raise ConfigError(
                f"epsilon is {epsilon!r}; no noise_multiplier up to {_LARGEST_NOISE:g} meets it: raise epsilon or "
                "delta, or do fewer steps"
            )
    too_little = enough - width
    while excess(too_little) <= 0.0:
        enough, too_little = too_little, too_little - width
        if too_little < -math.log(_LARGEST_NOISE):
            return math.exp(enough)
    root = float(brentq(excess, too_little, enough, xtol=tolerance))
    while excess(root) > 0.0:
        root += tolerance
    return math.exp(root)
