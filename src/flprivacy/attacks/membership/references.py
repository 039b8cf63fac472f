"""Membership attacks on a target with its reference models, from the tables that are left of them."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from flprivacy.attacks.membership.bavaria import membership_bavaria
from flprivacy.attacks.membership.lira import membership_lira
from flprivacy.attacks.membership.rmia import RmiaConfig, membership_rmia
from flprivacy.attacks.membership.signals import membership_signal
from flprivacy.attacks.membership.target import halves_of_patients
from flprivacy.attacks.membership.thresholds import membership_calibrated_loss, membership_loss
from flprivacy.core.array_types import BoolArray, FloatArray, IntArray
from flprivacy.core.cohort import Cohort
from flprivacy.core.errors import AttackError
from flprivacy.core.membership_scores import MembershipScores
from flprivacy.core.reference_scores import ReferenceScores

AGAIN = "train it again"
_LEAST_OF_A_KIND = 2  # references with a scan, and without it, from which LiRA learns how they vary


def attack_with_references(
    found: MembershipScores, cohort: Cohort, references: Iterable[ReferenceScores], *, recipe: str
) -> MembershipScores:
    """Score the scans of a target's table by what its references answer for them, beside the scores that are there.

    Of references of several models (siloed ones) each scan is asked of the one that the target is asked of. Where
    every scan has references that were trained on it, attacks are online, else offline. LiRA needs two of a kind.

    Args:
        found: the attacks without references, of a target that was attacked.
        cohort: that the scans come from.
        references: of the target, at least one; gone through once, so that one at a time need be in memory.
        recipe: digest of how the target was trained.

    Returns:
        The table with more scores and with the number of references.

    Raises:
        AttackError: references of another recipe, cohort or set of models, one twice, or too few for a scan.
    """
    signals, trained_on = _answers(found, cohort, references, recipe)
    more = _by_counts(found, signals, trained_on)
    vulnerability = _vulnerability(signals, trained_on)
    return replace(found, references=len(signals), scores=found.scores | more, vulnerability=vulnerability)


def attack_references(
    found: MembershipScores, cohort: Cohort, references: Iterable[ReferenceScores], *, recipe: str
) -> Iterator[MembershipScores]:
    """Attack each reference by the others as if it were the target, on the same scans: how trainings differ by chance.

    Args:
        found: the attacks on the target.
        cohort: that the scans come from.
        references: of the target, at least 6, so that LiRA has enough of either kind without one of them.
        recipe: digest of how the target was trained.

    Yields:
        A table a reference, without what the attack on the population finds.

    Raises:
        AttackError: as :func:`attack_with_references`.
    """
    signals, trained_on = _answers(found, cohort, references, recipe)
    for index in range(len(signals)):
        others = np.arange(len(signals)) != index
        own = replace(found, signals=signals[index], members=trained_on[index], references=len(signals) - 1)
        scores = _by_counts(own, signals[others], trained_on[others])
        yield replace(own, scores={"loss": membership_loss(own.signals)} | scores)


def _answers(
    found: MembershipScores, cohort: Cohort, references: Iterable[ReferenceScores], recipe: str
) -> tuple[FloatArray, BoolArray]:
    """Return (reference, scan) signals of a target's scans, and which reference was trained on which."""
    rows = _rows(found, cohort)
    labels = cohort.manifest["label"].to_numpy(dtype=np.int64)[rows]
    signals: dict[int, FloatArray] = {}
    trained_on: list[BoolArray] = []
    for one in references:
        _check_fit(found, cohort, one, recipe)
        if one.index in signals:
            raise AttackError(f"target {found.target!r}: a reference is given twice; {AGAIN}")
        numbers = {name: number for number, name in enumerate(one.models)}
        asked = np.array([numbers[str(name)] for name in found.models], dtype=np.int64)
        answers = one.probabilities[asked, rows]
        if unasked := int(np.isnan(answers).any(axis=1).sum()):
            raise AttackError(
                f"target {found.target!r}: {unasked} scans were asked of a model of another hospital, and of "
                "references each hospital's scans are asked of its own; state the recipe that the target was trained "
                "with"
            )
        signals[one.index] = membership_signal(answers, labels, kind="probabilities")
        trained_on.append(one.trained_on[asked, rows])
    return np.stack(list(signals.values())), np.stack(trained_on)


def _vulnerability(signals: FloatArray, trained_on: BoolArray) -> FloatArray:
    """Return (scan,) how far training on a scan moves the references' signals; where none was trained on some scan, how
    hard it is for those that were not.
    """
    inside, outside = trained_on.sum(axis=0), (~trained_on).sum(axis=0)
    without = np.where(trained_on, 0.0, signals).sum(axis=0) / outside
    with_it = np.where(trained_on, signals, 0.0).sum(axis=0) / np.maximum(inside, 1)
    moved: FloatArray = (with_it if (inside > 0).all() else 0.0) - without
    return moved


def _by_counts(found: MembershipScores, signals: FloatArray, trained_on: BoolArray) -> dict[str, FloatArray]:
    """Return the scores of the attacks that need some number of references of either kind for every scan."""
    inside, outside = (int(kind.sum(axis=0).min()) for kind in (trained_on, ~trained_on))
    online = inside > 0
    mode = "online" if online else "offline"
    scores = {
        "calibrated loss": membership_calibrated_loss(found.signals, signals, trained_on),
        "RMIA": _rmia(found, signals, trained_on, mode),
    }
    if trained_on.any():
        scores["BaVarIA"] = membership_bavaria(found.signals, signals, trained_on, mode=mode)
    if min(inside, outside) >= _LEAST_OF_A_KIND:
        scores["LiRA"] = membership_lira(found.signals, signals, trained_on)
    if outside >= _LEAST_OF_A_KIND:
        scores["LiRA offline"] = membership_lira(found.signals, signals, trained_on, mode="offline")
    return scores


def _rmia(found: MembershipScores, signals: FloatArray, trained_on: BoolArray, mode: str) -> FloatArray:
    """Compare every scan with the non-members of the other half of the patients, as the population attack does."""
    half = halves_of_patients(found.patient_ids)
    scores = np.empty(len(half))
    for own in (0, 1):
        mine, others = half == own, (half != own) & ~found.members
        scores[mine] = membership_rmia(
            found.signals[mine],
            signals[:, mine],
            trained_on[:, mine],
            found.signals[others],
            signals[:, others],
            trained_on[:, others],
            config=RmiaConfig(mode=mode),
        )
    return scores


def _rows(found: MembershipScores, cohort: Cohort) -> IntArray:
    """Return (scan,) rows of the cohort."""
    row_of = {scan: row for row, scan in enumerate(cohort.manifest["scan_id"].astype(str))}
    lacking = sum(str(scan) not in row_of for scan in found.scan_ids)
    if lacking:
        raise AttackError(
            f"target {found.target!r}: {lacking} of its scans are not in cohort {cohort.meta.name!r}; give the cohort "
            "that its membership was attacked with"
        )
    return np.array([row_of[str(scan)] for scan in found.scan_ids], dtype=np.int64)


def _check_fit(found: MembershipScores, cohort: Cohort, one: ReferenceScores, recipe: str) -> None:
    where = f"target {found.target!r}: reference {one.index}"
    check_reference(one, cohort, recipe, where)
    if set(found.models.tolist()) - set(one.models):
        models = f"{', '.join(sorted(set(one.models)))[:200]}, the target {', '.join(sorted(set(found.models)))[:200]}"
        raise AttackError(f"{where} has models {models}; state the recipe that the target was trained with")


def check_reference(one: ReferenceScores, cohort: Cohort, recipe: str, where: str) -> None:
    """Refuse a reference of another recipe or cohort, or with answers of another shape, with an AttackError.

    Args:
        one: the reference.
        cohort: that it should be of.
        recipe: digest of how it should have been trained.
        where: begins the message.
    """
    if one.cohort_digest != cohort.meta.digest:
        raise AttackError(f"{where} was trained on another cohort ({one.cohort_digest[:12]}); {AGAIN}")
    if one.recipe != recipe:
        raise AttackError(f"{where} was trained by another recipe ({one.recipe[:12]}) than the target; {AGAIN}")
    shape = (len(one.models), len(cohort.manifest), len(cohort.meta.class_names))
    if one.probabilities.shape != shape or one.trained_on.shape != shape[:2]:
        raise AttackError(f"{where} has answers of shape {one.probabilities.shape}, not {shape}; {AGAIN}")
