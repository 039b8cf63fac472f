"""What the checks of a generator of synthetic scans found, as a step writes it and reporting and tracking read it.

Of all checks memorisation and membership alone are about privacy: whoever returns the training scans is perfect in the
others. :mod:`flprivacy.reporting.generator` says in words what each number means.
"""

from dataclasses import dataclass, field, replace
from typing import Any

from flprivacy.core.membership import MembershipFinding
from flprivacy.core.parsing import JsonRecord

COPIES, NO_COPIES, UNDECIDED = "copies patients", "no copying found", "inconclusive"


@dataclass(frozen=True, kw_only=True)
class ClosenessTest:
    """One statistic of how near synthetic scans lie to training patients, and its permutation test.

    Attributes:
        name: ``nearer``, ``data copying``, ``authenticity`` or ``single patients``.
        value: of the statistic.
        expected: its mean if it did not matter who was trained on and who was held out.
        p_value: one-sided, of a value at least as suspicious as this.
    """

    name: str
    value: float
    expected: float
    p_value: float


@dataclass(frozen=True, kw_only=True)
class Memorisation:
    """Whether a generator returns its training patients.

    Attributes:
        verdict: ``copies patients``, ``no copying found`` or ``inconclusive``.
        reason: the verdict in a sentence.
        p_value: of all tests together, exact over patients.
        error_rate: share of generators that copy nobody and are flagged all the same.
        tests: each statistic with its own p-value; none where patients were too few to test.
        found_rates: share of the samples that are copies -> how often a generator like this one with so many planted
            copies is flagged; empty where it was not tried.
        detectable_share: smallest share of copies that is flagged in 95% of cases; None if none of those tried.
        suspects: synthetic scans that are nearer to one patient, relative to all others, than all but 1% of the
            held-out patients are; than all, where these are fewer than 100.
        suspects_expected: how many of as many scans of other patients would be.
        suspects_of_training: suspects whose nearest patient was trained on.
        n_synthetic: synthetic scans.
        n_training: training patients.
        n_held_out: held-out patients.
    """

    verdict: str
    reason: str
    p_value: float
    error_rate: float
    tests: tuple[ClosenessTest, ...]
    found_rates: dict[str, float]
    detectable_share: float | None
    suspects: int
    suspects_expected: float
    suspects_of_training: int
    n_synthetic: int
    n_training: int
    n_held_out: int


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A number with its interval over patients.

    Attributes:
        value: the estimate.
        low: lower end of its interval.
        high: upper end.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Fidelity:
    """How far synthetic scans are from held-out ones in a feature space: a Frechet distance.

    Attributes:
        features: in what space.
        distance: of synthetic from held-out scans.
        floor: of real training scans from the same held-out ones: what a perfect generator would get.
        n: scans on each side of either distance, whose bias depends on it.
    """

    features: str
    distance: Measured
    floor: Measured
    n: int


@dataclass(frozen=True, kw_only=True)
class Diversity:
    """Density and coverage (Naeem et al., arXiv:2002.09797) of synthetic scans among held-out ones.

    Attributes:
        density: how deep synthetic scans lie among real ones; 1 for scans of the same distribution.
        coverage: share of real scans that have a synthetic one in their neighbourhood.
        ideal_coverage: what scans of the same distribution would be expected to cover.
        k: neighbours that define a neighbourhood.
        n_real: real scans.
        n_synthetic: synthetic scans.
    """

    density: float
    coverage: float
    ideal_coverage: float
    k: int
    n_real: int
    n_synthetic: int


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How often a classifier, trained on real scans, sees in a synthetic scan what it was asked to show.

    Attributes:
        condition: ``site`` or ``class``.
        classifier: what says what it sees, in words.
        synthetic: share of synthetic scans that are classified as they were asked for.
        real: the classifier's accuracy on held-out real scans.
        chance: what is to be expected if a scan had nothing to do with what it was asked for.
        p_value: one-sided, of agreement by chance.
        n: synthetic scans.
    """

    condition: str
    classifier: str
    synthetic: Measured
    real: Measured
    chance: float
    p_value: float
    n: int


@dataclass(frozen=True, kw_only=True)
class AnatomyCheck:
    """A property of the body that no generator is conditioned on, among synthetic and held-out scans.

    Attributes:
        name: of the property.
        unit: of its values.
        distance: Wasserstein distance of synthetic from held-out scans, in standard deviations of the latter.
        floor: of training from held-out scans, for as many.
        mean_synthetic: in the property's unit.
        mean_real: of held-out scans.
    """

    name: str
    unit: str
    distance: Measured
    floor: Measured
    mean_synthetic: float
    mean_real: float


@dataclass(frozen=True, kw_only=True)
class SamplePicture:
    """The middle slice of a synthetic scan, and of a real one of the same hospital and class.

    Attributes:
        site: name of the hospital.
        label: name of the class.
        synthetic: the picture, as a data URI.
        real: likewise; empty where it is a patient's, or where there is none.
    """

    site: str
    label: str
    synthetic: str
    real: str


@dataclass(frozen=True, kw_only=True)
class NearestPair:
    """A synthetic scan that is suspiciously near to a patient, and that patient's scan.

    Attributes:
        synthetic: its middle slice, as a data URI.
        real: the patient's.
        closeness: 1 for a copy, 0 where the nearest patient is no nearer than the second nearest.
        trained_on: whether the patient was.
    """

    synthetic: str
    real: str
    closeness: float
    trained_on: bool


@dataclass(frozen=True, kw_only=True)
class GeneratorAudit(JsonRecord):
    """Everything that the checks of one generator found."""

    _kind, _step = "an audit of a generator", "evaluate_generator"

    generator_digest: str
    cohort_name: str
    cohort_digest: str  # of the cohort that it was trained on
    synthetic_digest: str  # of the synthetic cohort that was looked at
    n_training: int  # real scans
    n_held_out: int
    n_synthetic: int  # that were looked at
    memorisation: Memorisation
    membership: tuple[MembershipFinding, ...]
    fidelity: Fidelity | None  # None, as with the next two: see ``unchecked``
    diversity: Diversity | None  # of synthetic scans
    diversity_of_real: Diversity | None  # of training scans in their place
    agreement: tuple[Agreement, ...]
    anatomy: tuple[AnatomyCheck, ...]
    samples: tuple[SamplePicture, ...] = ()
    nearest: tuple[NearestPair, ...] = ()  # the nearest first; none where the scans are of patients
    unchecked: dict[str, str] = field(default_factory=dict)  # check that so few scans do not allow -> why
    phantoms: bool = False  # whether the real scans are of nobody
    epsilon: float | None = None  # that the generator's training claims; None: not private
    delta: float | None = None
    provenance: dict[str, Any] = field(default_factory=dict)

    def without_patients(self) -> "GeneratorAudit":
        """Return it as it may leave the auditors: without a picture of a patient, or of what may be a copy of one."""
        if self.phantoms:
            return self
        clear = self.memorisation.verdict == NO_COPIES
        samples = tuple(replace(one, real="") for one in self.samples) if clear else ()
        return replace(self, samples=samples, nearest=())
