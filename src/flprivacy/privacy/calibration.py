"""The noise multiplier that meets a target epsilon."""

import math
from collections.abc import Callable
from functools import cache

from scipy.optimize import brentq

from flprivacy.core.checks import check
from flprivacy.core.errors import ConfigError
from flprivacy.privacy.accounting import check_delta
from flprivacy.privacy.events import SCAN, SampledGaussianSteps
from flprivacy.privacy.mechanisms import discretisation, pld_accountant, rdp_epsilon

_RELATIVE_TOLERANCE = 1e-3
_LARGEST = 1e6


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

    Args:
        epsilon: target; positive.
        delta: of the guarantee; below 1 / population.
        steps: private steps that the run will do.
        sampling_rate: probability with which each unit takes part in a step, in (0, 1].
        population: units in the data.
        group_size: units that are added or removed together (scans of one patient).

    Raises:
        ConfigError: an argument out of range, or a target that no noise multiplier up to a million meets.
    """
    check(epsilon > 0.0, "epsilon", epsilon, "must be positive; 0 would mean that nothing is learnt")
    check_delta(delta, population)
    check(steps >= 1, "steps", steps, "must be at least 1")
    check(group_size >= 1, "group_size", group_size, "must be at least 1")

    def event(noise_multiplier: float) -> list[SampledGaussianSteps]:
        return [
            SampledGaussianSteps(
                steps=steps,
                sampling_rate=sampling_rate,
                noise_multiplier=noise_multiplier,
                clip_norm=1.0,
                unit=SCAN,
                population=population,
            )
        ]

    def by_rdp(noise_multiplier: float) -> float:
        return rdp_epsilon(event(noise_multiplier), group_size=group_size, delta=delta)

    def by_pld(noise_multiplier: float) -> float:
        accountant = pld_accountant(event(noise_multiplier), group_size=group_size, interval=interval)
        return float(accountant.get_epsilon(delta))

    # RDP is cheap and never promises too much: the search by PLD starts from its answer.
    interval = discretisation(epsilon, steps)
    enough = _least(by_rdp, epsilon, start=1.0, step=2.0)
    return _least(by_pld, epsilon, start=enough, step=1.1)


def _least(price: Callable[[float], float], epsilon: float, *, start: float, step: float) -> float:
    """Return the least noise multiplier, within the tolerance, whose price does not exceed ``epsilon``.

    The price falls with the noise. Search outwards from ``start`` by factors of ``step``, then between.
    """

    @cache
    def excess(log_noise: float) -> float:
        return math.log(max(price(math.exp(log_noise)), 1e-300) / epsilon)

    width, tolerance = math.log(step), _RELATIVE_TOLERANCE / 2.0
    enough = math.log(start)
    while excess(enough) > 0.0:
        enough += width
        if enough > math.log(_LARGEST):
            raise ConfigError(
                f"epsilon is {epsilon!r}; no noise_multiplier up to {_LARGEST:g} meets it: raise epsilon or delta, or "
                "do fewer steps"
            )
    too_little = enough - width
    while excess(too_little) <= 0.0:
        enough, too_little = too_little, too_little - width
        if too_little < -math.log(_LARGEST):
            return math.exp(enough)
    root = float(brentq(excess, too_little, enough, xtol=tolerance))
    while excess(root) > 0.0:
        root += tolerance
    return math.exp(root)
