"""All checks of a generator: from its folder, the cohort that it was trained on and a cohort of its samples."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from flprivacy.auditing.config import MembershipRule
from flprivacy.auditing.membership.targets import Claim
from flprivacy.core.cohort import Cohort
from flprivacy.core.generator_audit import GeneratorAudit
from flprivacy.core.membership_scores import MembershipScores
from flprivacy.synthesis.checks.appearance import learn_appearance, measure_appearance
from flprivacy.synthesis.checks.closeness import Closeness, measure_closeness
from flprivacy.synthesis.checks.membership import audit_generator_members, generator_members
from flprivacy.synthesis.checks.pictures import nearest_pairs, sample_pictures
from flprivacy.synthesis.checks.subject import Subject, subject_of
from flprivacy.synthesis.folder import PRIVATE_FOLDER, GeneratorRecord, read_generator
from flprivacy.synthesis.sample import load_discriminator
from flprivacy.synthesis.train import settle_process

_MOST_SAMPLES = 1000
ERROR_RATE = 0.01  # of the test for copies


def audit_generator(
    generator: Path,
    cohort: Cohort,
    synthetic: Cohort,
    *,
    phantoms: bool,
    rule: MembershipRule | None,
    confidence: float,
    seed: int = 0,
) -> tuple[GeneratorAudit, MembershipScores]:
    """Check a generator: does it copy patients, does it tell who was trained on, and are its scans any good?

    Args:
        generator: its folder, with the private part.
        cohort: that it was trained on, with all volumes.
        synthetic: cohort of its samples.
        phantoms: whether the real scans are of nobody, so that pictures of them may be shown.
        rule: what is a leak of membership; None: there are numbers and no verdicts.
        confidence: of intervals and verdicts.
        seed: draws everything.

    Returns:
        What was found, with pictures: see :meth:`GeneratorAudit.without_patients`; and what attacks on the generator
        say of each real scan, by pseudonym.

    Raises:
        AuditError: so few patients that nothing can be compared.
        GeneratorError: the generator's folder is damaged.
    """
    record = read_generator(generator)
    settle_process(private=record.privacy is not None)
    subject = subject_of(cohort, synthetic, most=_MOST_SAMPLES, seed=seed)
    discriminator = load_discriminator(generator / PRIVATE_FOLDER)
    with ThreadPoolExecutor(1) as aside:  # much of either is done by one core
        learning = aside.submit(learn_appearance, subject, seed=seed)
        near = measure_closeness(subject, discriminator, record.conditions, error_rate=ERROR_RATE, seed=seed)
        look = measure_appearance(subject, learning.result(), seed=seed)
    members = _members(subject, near, record)
    stated = record.privacy
    claim = Claim(unit=stated.unit, epsilon=stated.epsilon, delta=stated.delta) if stated is not None else None
    found = GeneratorAudit(
        generator_digest=record.digest,
        cohort_name=cohort.meta.name,
        cohort_digest=cohort.meta.digest,
        synthetic_digest=synthetic.meta.digest,
        n_training=int(subject.training.sum()),
        n_held_out=int((~subject.training).sum()),
        n_synthetic=len(subject.samples),
        memorisation=near.memorisation,
        membership=audit_generator_members(members, rule=rule, confidence=confidence, claim=claim),
        **vars(look),
        samples=sample_pictures(cohort, synthetic),
        nearest=nearest_pairs(cohort, synthetic, subject.samples, near.neighbours, near.to_real),
        phantoms=phantoms,
        epsilon=record.epsilon,
        delta=record.delta,
    )
    return found, members


def _members(subject: Subject, near: Closeness, record: GeneratorRecord) -> MembershipScores:
    manifest, meta = subject.cohort.manifest, subject.cohort.meta
    return generator_members(
        near.scores,
        members=subject.training,
        scan_ids=manifest["scan_id"].to_numpy(),
        patient_ids=manifest["patient_id"].to_numpy(),
        sites=[meta.site_names[one] for one in subject.truth("site_id")],
        classes=[meta.class_names[one] for one in subject.truth("label")],
        digest=record.digest,
        unusual=near.to_others,
    )
