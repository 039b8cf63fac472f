"""What a run guarantees, in numbers and words, from what it recorded."""

from collections.abc import Collection, Sequence

from flprivacy.core.errors import ConfigError
from flprivacy.core.target import PrivacyStatement
from flprivacy.privacy.accounting import PrivacySpent, account, spent_by_client
from flprivacy.privacy.events import PATIENT, SCAN, SITE, SampledGaussianSteps

_NEIGHBOURS = "Neighbouring data sets differ by adding or removing one {unit}; how many there are is taken as known."
_UNCOVERED = (
    "Covered are the released weights and every intermediate model. Not covered: the private part that auditors keep "
    "(never publish it), numbers of units, the held-out patients that utility is measured on, and hyper-parameters "
    "chosen by looking at data."
)
_KNOWN_SEED = "The noise was drawn from a seed in the configuration: whoever knows it can subtract the noise."


def state_privacy(
    events: Sequence[SampledGaussianSteps],
    *,
    delta: float,
    exposures: Collection[Collection[str]] = (),
    known_seed: bool = False,
) -> PrivacyStatement:
    """Return the guarantee of a run of these events.

    ``exposures`` are groups of clients that hold scans of one patient.

    Raises:
        ConfigError: nothing finite can be stated.
    """
    unit = events[0].unit
    # A scan is at one client only; scans of a patient may be at several.
    spent = account(events, delta=delta, exposures=exposures if unit == PATIENT else ())
    most_scans = max(event.scans_per_patient for event in events)
    patient = _patient_epsilon(events, delta, exposures) if unit == SCAN else None
    named = [event for event in events if event.client]
    caveats = [_NEIGHBOURS.format(unit=unit), *([_KNOWN_SEED] if known_seed else []), _UNCOVERED]
    return PrivacyStatement(
        unit=unit,
        epsilon=spent.epsilon,
        epsilon_rdp=spent.epsilon_rdp,
        delta=delta,
        words=_words(spent, events, patient, most_scans, shared=bool(exposures)),
        caveats=tuple(caveats),
        patient_epsilon=patient,
        scans_per_patient=most_scans,
        client_epsilons={client: s.epsilon for client, s in spent_by_client(named, delta=delta).items()},
        noise_multipliers=_noise(events),
        clip_norm=events[0].clip_norm,
        steps=spent.steps,
    )


def _patient_epsilon(
    events: Sequence[SampledGaussianSteps], delta: float, exposures: Collection[Collection[str]]
) -> float | None:
    """Return a patient's epsilon by group privacy, or None where it is not finite."""
    try:
        return account(events, delta=delta, unit=PATIENT, exposures=exposures).epsilon
    except ConfigError:
        return None


def _words(
    spent: PrivacySpent,
    events: Sequence[SampledGaussianSteps],
    patient: float | None,
    most_scans: int,
    *,
    shared: bool,
) -> str:
    parts = [spent.in_words()]
    if len(events) > 1:
        parts.append(
            f"stated for the worst of {len(events)} sites, which compose in parallel: their patients are "
            + ("not all different, and those at several sites are counted with all of them" if shared else "different")
        )
    if spent.unit == SCAN and (most_scans > 1 or shared):
        bound = "nothing finite can be said" if patient is None else f"epsilon is {patient:.3g} by group privacy"
        parts.append(f"for any one patient with up to {most_scans} scans {bound}")
    if spent.unit == SITE:
        parts.append("sites are told apart by nothing but their updates, each clipped and noised as a whole")
    return "; ".join(parts)


def _noise(events: Sequence[SampledGaussianSteps]) -> dict[str, float]:
    if len({event.noise_multiplier for event in events}) == 1:
        return {"": events[0].noise_multiplier}
    return {event.client: event.noise_multiplier for event in events}
