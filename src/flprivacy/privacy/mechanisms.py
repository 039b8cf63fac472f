"""Events as what an accountant takes: privacy loss distributions and Renyi divergences.

A group of k scans of one patient takes part in a Poisson-sampled step with J ~ Binomial(k, q) of them, which moves the
sum by at most J clip norms. Noise N(0, s^2) against noise N(J, s^2) with that J is the worst pair, under adaptive
composition too (Ganesh, arXiv:2401.10294; mixtures of Gaussians: arXiv:2310.15526). It is far tighter than the generic
rule of k epsilon, and for k = 1 it is the ordinary Poisson-sampled Gaussian.

Neighbouring data sets differ by adding or removing one unit (or one group of scans).
"""

import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import dp_accounting  # type: ignore[import-untyped]
import numpy as np
from dp_accounting import dp_event, pld, rdp
from scipy.special import logsumexp
from scipy.stats import binom

from flprivacy.core.array_types import FloatArray
from flprivacy.core.errors import ConfigError
from flprivacy.privacy.events import SampledGaussianSteps

ORDERS = tuple(float(order) for order in rdp.rdp_privacy_accountant.DEFAULT_RDP_ORDERS)
# Groups are hardly ever priced best at an order far up, and the integrals there are wide.
_GROUP_ORDERS = tuple(order for order in ORDERS if order <= 128.0)
_FINEST = 1e-4
# Mixtures are priced point by point, some thirty times slower than the closed form.
_MIXTURE_COARSER = 5.0
_MOST_POINTS = 4e6


def discretisation(epsilon: float, steps: int) -> float:
    """Return the interval of the privacy loss at which PLD overstates an epsilon of about that size by some 0.1%.

    What rounding adds grows with the number of compositions and the square of the interval.
    """
    return max(_FINEST, math.sqrt(1e-4 * epsilon / max(steps, 1)))


def pld_accountant(events: Sequence[SampledGaussianSteps], *, group_size: int, interval: float) -> pld.PLDAccountant:
    """Return a PLD accountant that has composed the events. Its epsilon is an upper bound at any interval."""
    coarser = _MIXTURE_COARSER if group_size > 1 else 1.0
    accountant = pld.PLDAccountant(value_discretization_interval=interval * coarser)
    for event in events:
        if event.steps:
            accountant.compose(_dp_event(event, group_size), event.steps)
    return accountant


def rdp_epsilon(events: Sequence[SampledGaussianSteps], *, group_size: int, delta: float) -> float:
    """Return the epsilon by Renyi differential privacy, that of groups by :func:`renyi_divergences`."""
    if group_size == 1:
        accountant = rdp.RdpAccountant(ORDERS)
        with _without_warnings():
            for event in events:
                if event.steps:
                    accountant.compose(_dp_event(event, 1), event.steps)
        return float(accountant.get_epsilon(delta))
    total = np.zeros(len(_GROUP_ORDERS))
    for event in events:
        if event.steps:
            total += event.steps * renyi_divergences(event, group_size, _GROUP_ORDERS)
    epsilon, _ = rdp.rdp_privacy_accountant.compute_epsilon(_GROUP_ORDERS, total, delta)
    return float(epsilon)


def renyi_divergences(event: SampledGaussianSteps, group_size: int, orders: Sequence[float]) -> FloatArray:
    """Return (order,) the Renyi divergences of one step, each the larger of adding and removing.

    ``log E[w(x)^a] / (a - 1)`` over x ~ N(0, s^2), where w is the likelihood ratio of the mixture to N(0, s^2), and
    ``log E[w(x)^(1 - a)] / (a - 1)`` for the other direction. The integrand is smooth and falls off like a Gaussian,
    so the trapezoid rule is exact to rounding once its step is a fraction of s.

    Raises:
        ConfigError: so little noise that the integral has too many points.
    """
    sigma = event.noise_multiplier
    if 2.0 * group_size * max(orders) / sigma > _MOST_POINTS / 16.0:
        raise ConfigError(
            f"noise_multiplier is {sigma:g}; a group of {group_size} scans cannot be priced with so little noise: "
            "raise it"
        )
    counts = np.arange(group_size + 1)
    log_p = binom.logpmf(counts, group_size, event.sampling_rate)
    values = np.empty(len(orders))
    for i, order in enumerate(orders):
        # Mass of w^a lies between 0 and a * group_size, that of w^(1 - a) between (1 - a) * group_size and 0.
        x = np.arange(-group_size * order - 12.0 * sigma, group_size * order + 12.0 * sigma, sigma / 16.0)
        terms = log_p + (counts * x[:, None] - counts**2 / 2.0) / sigma**2
        log_ratio = logsumexp(terms, axis=1)
        log_density = -0.5 * (x / sigma) ** 2 - np.log(sigma * np.sqrt(2.0 * np.pi)) + np.log(sigma / 16.0)
        both = [logsumexp(log_density + power * log_ratio) for power in (order, 1.0 - order)]
        values[i] = max(*both, 0.0) / (order - 1.0)
    return values


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Silence dp-accounting's line for each order whose series does not converge: leaving one out is safe."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _dp_event(event: SampledGaussianSteps, group_size: int) -> dp_accounting.DpEvent:
    if event.sampling_rate == 1.0:
        return dp_accounting.GaussianDpEvent(event.noise_multiplier / group_size)
    if group_size == 1:
        gaussian = dp_accounting.GaussianDpEvent(event.noise_multiplier)
        return dp_accounting.PoissonSampledDpEvent(event.sampling_rate, gaussian)
    counts = np.arange(group_size + 1)
    chances = binom.pmf(counts, group_size, event.sampling_rate)
    likely = chances > 0.0
    return dp_event.MixtureOfGaussiansDpEvent(
        event.noise_multiplier, counts[likely].astype(float).tolist(), (chances / chances.sum())[likely].tolist()
    )
