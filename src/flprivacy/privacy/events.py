"""DP events: what private training did, apart from what it costs.

One record stands for a number of equal steps. In each step every unit (a scan, a patient or a site) took part
independently with the sampling rate, its contribution was clipped to an L2 norm, and Gaussian noise of standard
deviation ``noise_multiplier * clip_norm`` was added once to the sum. Everything that pricing needs is in the record,
and nothing else is: it goes into ``target.json`` (``TargetRecord.dp_events``) as it is.
"""

import math
from dataclasses import dataclass, replace

from flprivacy.core.errors import check

SCAN, PATIENT, SITE = "scan", "patient", "site"
UNITS = (SCAN, PATIENT, SITE)
ADD_REMOVE, ZERO_OUT = "add-remove", "zero-out"
ADJACENCIES = (ADD_REMOVE, ZERO_OUT)
MECHANISM = "poisson-sampled-gaussian"


@dataclass(frozen=True, kw_only=True)
class SampledGaussianSteps:
    """Steps of the Poisson-sampled Gaussian mechanism on one client's data.

    Attributes:
        steps: how many were done; 0 for a run that stopped before its first.
        sampling_rate: probability with which each unit took part in a step, in (0, 1]; 1 is no sampling.
        noise_multiplier: noise standard deviation over ``clip_norm``; positive.
        clip_norm: bound on the L2 norm of a unit's contribution to a step's sum; positive.
        unit: what was clipped as one: ``scan``, ``patient`` or ``site``.
        population: units of the client, a number that everybody may know.
        scans_per_patient: most scans that one patient has there; matters where the unit is a scan. None: not known.
        adjacency: which data sets are neighbours: ``add-remove`` (one unit more or less) or ``zero-out`` (one unit's
            data replaced by nothing, the number of units being public). Both cost the same.
        client: whose data; empty for central training and for the server of site-level DP.
        mechanism: tells this record from others to come.
    """

    steps: int
    sampling_rate: float
    noise_multiplier: float
    clip_norm: float
    unit: str
    population: int
    scans_per_patient: int | None = 1
    client: str = ""
    mechanism: str = MECHANISM
    adjacency: str = ADD_REMOVE

    def __post_init__(self) -> None:
        check(self.mechanism == MECHANISM, "mechanism", self.mechanism, f"must be {MECHANISM}, the only one known")
        check(self.unit in UNITS, "unit", self.unit, f"must be one of {', '.join(UNITS)}")
        check(self.steps >= 0, "steps", self.steps, "must not be negative")
        check(0.0 < self.sampling_rate <= 1.0, "sampling_rate", self.sampling_rate, "must be in (0, 1]")
        for name in ("noise_multiplier", "clip_norm"):
            value = getattr(self, name)
            check(0.0 < value < math.inf, name, value, "must be positive and finite; without it nothing is private")
        known = ", ".join(ADJACENCIES)
        check(self.adjacency in ADJACENCIES, "adjacency", self.adjacency, f"must be one of {known}")
        for name in ("population", "scans_per_patient"):
            count = getattr(self, name)
            check(count is None or count >= 1, name, count, "must be at least 1")

    @property
    def expected_batch(self) -> float:
        """Units that take part in a step on average: the fixed denominator of its update."""
        return self.sampling_rate * self.population

    @property
    def steps_per_pass(self) -> int:
        """Steps after which each unit has taken part once on average, rounded."""
        return steps_per_pass(self.sampling_rate)

    def with_steps(self, steps: int) -> "SampledGaussianSteps":
        """Return the record of a run that did ``steps`` of these steps, such as one that stopped early."""
        return replace(self, steps=steps)


def steps_per_pass(rate: float) -> int:
    """Return the steps after which each unit, drawn with this rate, has taken part once on average, rounded."""
    return max(1, round(1.0 / rate))
