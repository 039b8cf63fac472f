"""What a run guarantees, in numbers and words, from what it recorded."""

from collections.abc import Collection, Sequence

from flprivacy.core.errors import ConfigError
from flprivacy.core.target import Disclosure, PrivacyStatement
from flprivacy.privacy.accounting import PrivacySpent, account, spent_by_client
from flprivacy.privacy.events import ADD_REMOVE, PATIENT, SCAN, SITE, ZERO_OUT, SampledGaussianSteps

_NEIGHBOURS = {
    ADD_REMOVE: "Neighbouring data sets differ by adding or removing one {unit} (add-remove); how many there are is "
    "not published: numbers of {unit}s are those that the configuration declares.",
    ZERO_OUT: "Neighbouring data sets differ in one {unit}, whose data are replaced by nothing (zero-out); how many "
    "{unit}s there are is public, rounded to two figures or as the configuration declares.",
}
_KNOWN_SEED = "The noise was drawn from a seed in the configuration: whoever knows it can subtract the noise."
_SIZES = {
    ADD_REMOVE: "set by the configuration alone",
    ZERO_OUT: "functions of the configuration and of numbers of units, which are public under this adjacency",
}
_UNCOVERED = (
    (
        "whether training ends",
        "it refuses data that exceed what is declared, a client without data, or what is not finite",
    ),
    ("time and memory that training takes", "they depend on who takes part in a step"),
    ("hyper-parameters", "whoever chose them may have looked at data"),
    (
        "audits and their reports: utility on held-out patients, scores of attacks, numbers of scans",
        "exact functions of scans; no part of target.json",
    ),
    (
        "the private part that auditors keep: members, losses, counts, the cohort's digest, seeds, canaries",
        "exact functions of the data; never publish it",
    ),
)


def disclosures(unit: str, adjacency: str, *, federated: bool) -> tuple[Disclosure, ...]:
    """Return everything that private training makes known, and whether the guarantee covers it."""
    covered = [
        ("weights", "only clipped and noised updates move them from initial ones that know no data"),
        ("every intermediate model", "the guarantee is that of all noised steps together"),
        ("target.json", "the configuration without seeds, and functions of the weights"),
        ("numbers of steps, sampling rates, denominators, numbers of units", _SIZES[adjacency]),
    ]
    if federated:
        averaged = "the server's weights for clients are equal, whatever data they hold"
        covered.append(("the average over clients", averaged))
    known = [Disclosure(what=what, covered=True, why=why) for what, why in covered]
    if federated and unit != SITE:
        why = "they are drawn from the run's seed, whatever the data; nothing is gained from it"
        known.append(Disclosure(what="which clients take part in a round", covered=True, why=why))
    return (*known, *(Disclosure(what=what, covered=False, why=why) for what, why in _UNCOVERED))


def state_privacy(
    events: Sequence[SampledGaussianSteps],
    *,
    delta: float,
    exposures: Collection[Collection[str]] = (),
    known_seed: bool = False,
    federated: bool = False,
) -> PrivacyStatement:
    """Return the guarantee of a run of these events.

    ``exposures`` are groups of clients that may hold scans of one patient.

    Raises:
        ConfigError: nothing finite can be stated.
    """
    unit = events[0].unit
    # A scan is at one client only; scans of a patient may be at several.
    spent = account(events, delta=delta, exposures=exposures if unit == PATIENT else ())
    most_scans, adjacency = events[0].scans_per_patient, events[0].adjacency
    patient = _patient_epsilon(events, delta, exposures) if unit == SCAN else None
    named = [event for event in events if event.client]
    known = disclosures(unit, adjacency, federated=federated)
    uncovered = "; ".join(f"{d.what} ({d.why})" for d in known if not d.covered)
    caveats = [_NEIGHBOURS[adjacency].format(unit=unit), *([_KNOWN_SEED] if known_seed else [])]
    return PrivacyStatement(
        unit=unit,
        epsilon=spent.epsilon,
        epsilon_rdp=spent.epsilon_rdp,
        delta=delta,
        words=_words(spent, events, patient, most_scans, shared=bool(exposures)),
        caveats=(*caveats, f"Not covered: {uncovered}."),
        patient_epsilon=patient,
        scans_per_patient=most_scans,
        client_epsilons={client: s.epsilon for client, s in spent_by_client(named, delta=delta).items()},
        noise_multipliers=_noise(events),
        clip_norm=events[0].clip_norm,
        steps=spent.steps,
        adjacency=adjacency,
        disclosures=known,
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
    most_scans: int | None,
    *,
    shared: bool,
) -> str:
    parts = [spent.in_words()]
    if len(events) > 1:
        parts.append(
            f"stated for the worst of {len(events)} sites, which compose in parallel: their patients are "
            + ("not all different, and any one is counted as if scanned at several sites" if shared else "different")
        )
    if spent.unit == SCAN and most_scans is None:
        parts.append("how many scans a patient has is not declared, so nothing is said of a patient")
    elif spent.unit == SCAN and most_scans is not None and (most_scans > 1 or shared):
        bound = "nothing finite can be said" if patient is None else f"epsilon is {patient:.3g} by group privacy"
        parts.append(f"for any one patient with up to {most_scans} scans {bound}")
    if spent.unit == SITE:
        parts.append("sites are told apart by nothing but their updates, each clipped and noised as a whole")
    return "; ".join(parts)


def _noise(events: Sequence[SampledGaussianSteps]) -> dict[str, float]:
    if len({event.noise_multiplier for event in events}) == 1:
        return {"": events[0].noise_multiplier}
    return {event.client: event.noise_multiplier for event in events}
