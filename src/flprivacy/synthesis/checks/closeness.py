"""The checks that are about privacy: copies of patients, and attacks on the training scans."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from flprivacy.core.array_types import Float32Array, FloatArray, Volumes
from flprivacy.core.errors import AuditError
from flprivacy.core.generator_audit import Memorisation
from flprivacy.core.progress import progress
from flprivacy.synthesis.checks.likeness import Likeness, fit_likeness
from flprivacy.synthesis.checks.membership import DISCRIMINATOR, scores_by_distance
from flprivacy.synthesis.checks.memorisation import Evidence, find_copies, untested
from flprivacy.synthesis.checks.neighbours import Neighbours, nearest_patients
from flprivacy.synthesis.checks.planting import plant
from flprivacy.synthesis.checks.subject import Subject
from flprivacy.synthesis.conditions import Conditions, conditions_of

Discriminator = Callable[[Volumes, Conditions], FloatArray]

_PLANTED = 64  # copies
_LEAST_PATIENTS = 8
_BLOCK = 64  # scans at a time


@dataclass(frozen=True, kw_only=True, eq=False)
class Closeness:
    """How near synthetic and real scans lie to each other.

    Attributes:
        memorisation: what the test for copies found.
        neighbours: nearest patients of the samples.
        to_real: (sample, real scan) distances.
        scores: attack on membership -> (real scan,) scores.
        to_others: (real scan,) distance to the nearest real scan of another patient.
    """

    memorisation: Memorisation
    neighbours: Neighbours
    to_real: Float32Array
    scores: dict[str, FloatArray]
    to_others: FloatArray


def measure_closeness(
    subject: Subject, discriminator: Discriminator, conditions: tuple[str, ...], *, error_rate: float, seed: int
) -> Closeness:
    """Look for copies of patients among samples, and attack the training scans.

    Args:
        subject: what to look at.
        discriminator: (volumes, their conditions) -> scores, higher for likelier trained on.
        conditions: what the generator is conditioned on.
        error_rate: share of generators without copies that may be flagged.
        seed: draws permutations, and the copies that are planted.

    Raises:
        AuditError: fewer than 8 patients, among whom nothing is near or far.
    """
    n, owners = len(subject.patients), subject.patients
    if (patients := len(subject.first_scans())) < _LEAST_PATIENTS:
        raise AuditError(
            f"{patients} patients are too few to tell what is near to one of them; give at least {_LEAST_PATIENTS}"
        )
    with progress("comparing synthetic scans with patients", 4) as counter:
        likeness = fit_likeness(subject.real_volumes, n)
        counter.advance()
        real = likeness.neighbours(subject.real_volumes, n, owners, owners)
        counter.advance()
        to_real = _distances(likeness, subject)
        counter.advance()
        neighbours = nearest_patients(to_real, owners)
        evidence = _evidence(subject, likeness, real, neighbours, seed)
        try:
            memorisation = find_copies(evidence, error_rate=error_rate, seed=seed)
        except AuditError as error:
            memorisation = untested(evidence, str(error), error_rate=error_rate)
        counter.advance()
    to_others = real.distances[:, 0]
    scores = scores_by_distance(to_real.T, to_others)
    scores[DISCRIMINATOR] = _opinions(subject, discriminator, conditions)
    return Closeness(
        memorisation=memorisation, neighbours=neighbours, to_real=to_real, scores=scores, to_others=to_others
    )


def _distances(likeness: Likeness, subject: Subject) -> Float32Array:
    n = len(subject.samples)
    parts = (np.arange(start, min(start + _BLOCK, n)) for start in range(0, n, _BLOCK))
    return np.concatenate([likeness.distances(subject.sample_volumes(places)) for places in parts])


def _evidence(subject: Subject, likeness: Likeness, real: Neighbours, neighbours: Neighbours, seed: int) -> Evidence:
    first = subject.first_scans()
    members = np.flatnonzero(subject.training)
    sources = np.random.default_rng([seed, 4]).permutation(members)[:_PLANTED]
    planted = plant(subject.real_volumes(np.sort(sources)), seed=seed)
    return Evidence(
        synthetic=neighbours,
        real=real,
        owners=subject.patients,
        training=subject.training[first],
        strata=subject.truth("site_id")[first],
        planted=nearest_patients(likeness.distances(planted), subject.patients),
        planted_sources=subject.patients[np.sort(sources)],
    )


def _opinions(subject: Subject, discriminator: Discriminator, conditions: tuple[str, ...]) -> FloatArray:
    """Return (real scan,) what the discriminator says of each under its own conditions."""
    n = len(subject.patients)
    found = np.empty(n)
    with progress("asking the discriminator", n) as counter:
        for start in range(0, n, _BLOCK):
            rows = np.arange(start, min(start + _BLOCK, n))
            found[rows] = discriminator(subject.real_volumes(rows), conditions_of(subject.cohort, rows, conditions))
            counter.advance(len(rows))
    return found
