"""What the recorded events cost: epsilon at a given delta, or an error. Never a guess.

The epsilon that is stated is that of the privacy loss distribution (PLD), a numerical upper bound that is tight to some
0.1%; that of Renyi differential privacy (RDP) is stated beside it as a second opinion, and is larger.

Clients whose data are disjoint compose in parallel: a unit is in one of them, so the run costs it what its own client
did (what other clients' data do to the messages that a client sees is post-processing as far as this unit is
concerned). A patient who was scanned at two sites is in two clients, which then compose one after the other: name such
clients together in ``exposures``.

It holds for the released model and every intermediate one, against whoever does not know the seed of the noise
(:mod:`flprivacy.privacy.randomness`); not for training losses that are published, nor for hyper-parameters chosen by
looking at the data.
"""

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from flprivacy.core.errors import ConfigError, check
from flprivacy.privacy.events import PATIENT, SCAN, SITE, SampledGaussianSteps


@dataclass(frozen=True, kw_only=True)
class PrivacySpent:
    """The guarantee that a run gives: (epsilon, delta)-differential privacy of one unit, added, removed or zeroed out.

    Attributes:
        unit: who is protected: ``scan``, ``patient`` or ``site``.
        epsilon: by privacy loss distribution; the number to state.
        epsilon_rdp: by Renyi differential privacy.
        delta: at which both hold.
        group_size: scans that count as one unit; above 1 where a patient is protected by scan-level training.
        clients: whose events cost the most; empty name for central training and for the server.
        steps: private steps of those clients that were priced.
    """

    unit: str
    epsilon: float
    epsilon_rdp: float
    delta: float
    group_size: int
    clients: tuple[str, ...]
    steps: int

    def in_words(self) -> str:
        """Return what is protected, in a sentence for ``target.json`` and the report."""
        whom = {
            SCAN: "any one scan; a patient with several scans is protected less",
            PATIENT: "any one patient, with all of their scans",
            SITE: "any one site, with all of its patients",
        }[self.unit]
        how = f" (group privacy over up to {self.group_size} scans)" if self.group_size > 1 else ""
        return (
            f"({self.epsilon:.3g}, {self.delta:.1g})-differential privacy of {whom}{how}, "
            f"after {self.steps} private steps (PLD accounting; RDP gives {self.epsilon_rdp:.3g})"
        )


def account(
    events: Sequence[SampledGaussianSteps],
    *,
    delta: float,
    unit: str | None = None,
    exposures: Iterable[Collection[str]] = (),
) -> PrivacySpent:
    """Price a run's events.

    Args:
        events: everything that the run did, of all clients.
        delta: of the guarantee; below 1 / (number of units in all clients together).
        unit: who is to be protected; the unit of the events if None. Scan-level events protect a patient too, as a
            group of ``scans_per_patient`` scans; every other change of unit is refused.
        exposures: groups of clients that hold data of one and the same unit. Each client on its own is always priced.

    Returns:
        The guarantee of the unit that is protected least.

    Raises:
        ConfigError: no events, events of different units, a delta out of range, an unknown client in ``exposures``,
            or a unit that these events say nothing about.
    """
    if not events:
        raise ConfigError("DP events are missing; a run without them is not known to be private, so leave epsilon null")
    recorded = _common_unit(events)
    wanted = unit or recorded
    group_size = _group_size(events, recorded, wanted)
    check_delta(delta, population(events))
    by_client = _by_client(events)
    spent = [
        _price([e for c in clients for e in by_client[c]], clients, delta, wanted, group_size)
        for clients in _groups(by_client, exposures)
    ]
    return max(spent, key=lambda s: (s.epsilon, s.epsilon_rdp))


def spent_by_client(events: Sequence[SampledGaussianSteps], *, delta: float) -> dict[str, PrivacySpent]:
    """Return client -> what its own events, all of one unit, cost one of its units.

    Raises:
        ConfigError: as :func:`account`.
    """
    if not events:
        return {}
    unit = _common_unit(events)
    check_delta(delta, population(events))
    return {client: _price(found, (client,), delta, unit, 1) for client, found in _by_client(events).items()}


def population(events: Iterable[SampledGaussianSteps]) -> int:
    """Return the number of units in all clients together."""
    return sum({event.client: event.population for event in events}.values())


def check_delta(delta: float, n: int) -> None:
    """Refuse a delta at which publishing one of ``n`` units' data whole would count as private.

    Raises:
        ConfigError: ``delta`` is not in (0, 1 / n).
    """
    check(
        0.0 < delta < 1.0 / n,
        "delta",
        delta,
        f"must be above 0 and below 1/n = {1.0 / n:.3g} for n = {n}; releasing a random one of n records whole "
        "would meet a larger delta",
    )


def _by_client(events: Iterable[SampledGaussianSteps]) -> dict[str, list[SampledGaussianSteps]]:
    found: dict[str, list[SampledGaussianSteps]] = {}
    for event in events:
        found.setdefault(event.client, []).append(event)
    return found


def _common_unit(events: Sequence[SampledGaussianSteps]) -> str:
    units = sorted({event.unit for event in events})
    if len(units) > 1:
        raise ConfigError(
            f"DP events are of units {', '.join(units)}; they cannot be priced together, so state one epsilon a unit"
        )
    return units[0]


def _group_size(events: Sequence[SampledGaussianSteps], recorded: str, wanted: str) -> int:
    """Return how many recorded units make a wanted one."""
    if wanted == recorded:
        return 1
    if (recorded, wanted) == (SCAN, PATIENT):
        known = [event.scans_per_patient for event in events if event.scans_per_patient is not None]
        if len(known) == len(events):
            return max(known)
        raise ConfigError("scans_per_patient is not stated, so nothing bounds what a patient's scans tell; declare it")
    raise ConfigError(
        f"unit is {wanted!r}, but training clipped each {recorded} as one; adding or removing a {wanted} then changes "
        f"a {recorded} instead of adding one, which these events do not bound; state the epsilon of a {recorded}"
    )


def _groups(clients: Collection[str], exposures: Iterable[Collection[str]]) -> list[tuple[str, ...]]:
    shared = [tuple(sorted(set(group))) for group in exposures]
    unknown = sorted({c for group in shared for c in group} - set(clients))
    if unknown:
        raise ConfigError(f"exposures name client {unknown[0]!r}, which has no events; known are {sorted(clients)}")
    return sorted({*shared, *((c,) for c in clients)} - {()})


def _price(
    events: Sequence[SampledGaussianSteps], clients: tuple[str, ...], delta: float, unit: str, group_size: int
) -> PrivacySpent:
    # Who holds the data changes nothing: clients that did the same are priced once.
    alike = [replace(e, client="", population=1, scans_per_patient=1) for e in events]
    kinds = tuple(sorted(alike, key=lambda e: (e.steps, e.sampling_rate, e.noise_multiplier)))
    by_pld, by_rdp = _epsilons(kinds, group_size, delta)
    return PrivacySpent(
        unit=unit,
        epsilon=by_pld,
        epsilon_rdp=by_rdp,
        delta=delta,
        group_size=group_size,
        clients=clients,
        steps=sum(event.steps for event in events),
    )


@lru_cache(maxsize=1024)
def _epsilons(events: tuple[SampledGaussianSteps, ...], group_size: int, delta: float) -> tuple[float, float]:
    """Return epsilon by privacy loss distribution and by Renyi differential privacy."""
    from flprivacy.privacy.mechanisms import pld_accountant, rdp_epsilon  # dp-accounting takes seconds to import

    interval = _interval(events, group_size, delta)
    accountant = pld_accountant(events, group_size=group_size, interval=interval)
    by_pld = _finite(accountant.get_epsilon(delta))
    return by_pld, _finite(rdp_epsilon(events, group_size=group_size, delta=delta))


def _interval(events: Sequence[SampledGaussianSteps], group_size: int, delta: float) -> float:
    from flprivacy.privacy.mechanisms import discretisation, rdp_epsilon

    rough = _finite(rdp_epsilon(events, group_size=group_size, delta=delta))
    return discretisation(rough, sum(event.steps for event in events))


def _finite(epsilon: float) -> float:
    """Return a finite epsilon; where there is none, no guarantee can be stated."""
    if not math.isfinite(epsilon):
        raise ConfigError(f"epsilon is {epsilon}: nothing is guaranteed; raise noise_multiplier or delta")
    return float(epsilon)
