"""A target's answers for the scans that attacks are scored on, and attacks on membership that need nothing else."""

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from flprivacy.attacks.membership.signals import membership_signal
from flprivacy.attacks.membership.thresholds import membership_loss, membership_population
from flprivacy.core.array_types import BoolArray, Float32Array, FloatArray, IntArray, StrArray
from flprivacy.core.artifacts import ANSWERS_FILE
from flprivacy.core.cohort import TEST, TRAIN, Cohort
from flprivacy.core.digests import digest_bytes
from flprivacy.core.errors import AttackError
from flprivacy.core.membership_scores import LINEAGE, SPLIT, MembershipScores
from flprivacy.core.publish import publish_file
from flprivacy.core.target import TargetRecord
from flprivacy.targets.lineage import PrivatePart, pseudonym


@dataclass(frozen=True, kw_only=True, eq=False)
class Answers:
    """Answers of a target.

    Attributes:
        models: names of its models.
        rows: (scan,) rows of the cohort, ascending: held-out scans, and training scans that no attacker holds.
        probabilities: (model, scan, class); of no class where the target's file held no head.
    """

    models: tuple[str, ...]
    rows: IntArray
    probabilities: Float32Array

    def write(self, folder: Path) -> None:
        """Write them into a folder."""
        with publish_file(folder / ANSWERS_FILE) as partial, partial.open("wb") as stream:
            np.savez(stream, models=np.array(self.models), rows=self.rows, probabilities=self.probabilities)

    @classmethod
    def read(cls, folder: Path) -> "Answers":
        """Read what :meth:`write` wrote.

        Raises:
            AttackError: the file is missing or damaged.
        """
        path = folder / ANSWERS_FILE
        try:
            with np.load(path, allow_pickle=False) as archive:
                models = tuple(archive["models"].tolist())
                return cls(models=models, rows=archive["rows"], probabilities=archive["probabilities"])
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise AttackError(
                f"{path}: no answers of a target ({error}); run the step attack_attributes again"
            ) from error


_FOLD_STREAM = 41
_LEAST_POPULATION = 10  # scans of a class; a rarer one is compared with all classes


def attack_target(answers: Answers, cohort: Cohort, record: TargetRecord, part: PrivatePart | None) -> MembershipScores:
    """Score training scans that no attacker holds, and held-out scans, by what the target answers for them.

    Of a target of several models each scan is asked of one: a member of the model that was trained on it, another of
    the model that was trained on most scans of its site.

    Args:
        answers: of the target.
        cohort: that the scans come from.
        record: of the target.
        part: its private part, which says who the members are; None: the cohort's training split is taken for them.

    Raises:
        AttackError: members that the cohort lacks, or held-out scans among them: another cohort, or another split.
    """
    facts: dict[str, Any] = {"target": record.name, "target_digest": record.digest, "role": record.role}
    listed = part.members() if part is not None else {}
    if why_not := _why_not(answers, cohort, record, listed):
        return MembershipScores(**facts, why_not=why_not)
    trained = _trained_on(cohort, record, part, listed) if part is not None and listed else _by_split(cohort, answers)
    asked = _asked(trained, cohort, answers)
    scored = trained[asked, answers.rows] | (cohort.manifest["split"].to_numpy()[answers.rows] == TEST)
    rows, asked = answers.rows[scored], asked[scored]
    labels = cohort.manifest["label"].to_numpy(dtype=np.int64)
    patients = cohort.manifest["patient_id"].to_numpy().astype(np.str_)[rows]
    probabilities = answers.probabilities[asked, np.flatnonzero(scored)]
    signals = membership_signal(probabilities, labels[rows], kind="probabilities")
    members = trained[asked, rows]
    return MembershipScores(
        **facts,
        members_from=LINEAGE if listed else SPLIT,
        scan_ids=cohort.manifest["scan_id"].to_numpy().astype(np.str_)[rows],
        patient_ids=patients,
        sites=np.array(cohort.meta.site_names)[cohort.manifest["site_id"].to_numpy()[rows]],
        classes=np.array(cohort.meta.class_names)[labels[rows]],
        models=np.array(answers.models)[asked],
        members=members,
        signals=signals,
        scores={
            "loss": membership_loss(signals),
            "population": population_scores(signals, labels[rows], members, patients),
        },
    )


def _why_not(answers: Answers, cohort: Cohort, record: TargetRecord, listed: Mapping[str, tuple[str, ...]]) -> str:
    """Return why a target cannot be attacked; empty if it can."""
    if record.role == "baseline":
        return "it was trained on nobody"
    if answers.probabilities.shape[-1] == 0:
        return "its file holds no head, so it has no answers"
    if answers.probabilities.shape[-1] != len(cohort.meta.class_names):
        answered = answers.probabilities.shape[-1]
        return f"it answers for {answered} classes, and the cohort has {len(cohort.meta.class_names)}"
    if (np.abs(answers.probabilities.sum(axis=-1) - 1.0) > 1e-3).any():
        return "its answers are no probabilities of classes that exclude each other"
    if not listed and len(answers.models) > 1:
        return "it has several models, and nobody stated who was trained on by which (members=...)"
    if not (cohort.manifest["split"].to_numpy()[answers.rows] == TRAIN).any():
        return "no training scan is left that no attacker of attributes holds (attack.members, attack.fractions)"
    return ""


def _by_split(cohort: Cohort, answers: Answers) -> BoolArray:
    return np.tile((cohort.manifest["split"] == TRAIN).to_numpy(), (len(answers.models), 1))


def _trained_on(
    cohort: Cohort, record: TargetRecord, part: PrivatePart, listed: Mapping[str, tuple[str, ...]]
) -> BoolArray:
    """Return (model, scan) whether a model was trained on a scan of the cohort, by its private part."""
    key, digest = part.lineage.members_key, part.lineage.cohort_digest
    scans = cohort.manifest["scan_id"].astype(str).tolist()
    names = [pseudonym(key, digest, scan) if key else digest_bytes(f"{digest}{scan}".encode()) for scan in scans]
    known = set(names)
    unknown = sum(one not in known for members in listed.values() for one in members)
    if unknown:
        raise AttackError(
            f"target {record.name!r}: its list of members names {unknown} scan(s) that cohort {cohort.meta.name!r} "
            "lacks; give the cohort that it was trained on"
        )
    trained = np.array([np.isin(names, listed.get(model.name, ())) for model in record.models])
    held_out = int(trained[:, cohort.rows(TEST)].any(axis=0).sum())
    if held_out:
        raise AttackError(
            f"target {record.name!r}: it was trained on {held_out} of the scans that cohort {cohort.meta.name!r} holds "
            "out; give the cohort with the split that it was trained with"
        )
    return trained


def _asked(trained: BoolArray, cohort: Cohort, answers: Answers) -> IntArray:
    """Return (scored scan,) the index of the model that is asked about a scan."""
    sites = cohort.manifest["site_id"].to_numpy(dtype=np.int64)
    counts = np.array([np.bincount(sites[one], minlength=len(cohort.meta.site_names)) for one in trained])
    of_site = counts.argmax(axis=0)[sites[answers.rows]]
    among = trained[:, answers.rows]
    asked: IntArray = np.where(among.any(axis=0), among.argmax(axis=0), of_site)
    return asked


def population_scores(signals: FloatArray, classes: IntArray, members: BoolArray, patients: StrArray) -> FloatArray:
    """Compare every scan with the held-out scans of its class in the other half of the patients.

    Patients are cut in two by chance, members and non-members alike, so that nobody is compared with himself and a
    member's score is distributed as a non-member's if training left no trace.

    Args:
        signals: (scan,) of the target.
        classes: (scan,) index; scans of a rare class are compared with all.
        members: (scan,) bool.
        patients: (scan,) pseudonyms.
    """
    half = halves_of_patients(patients)
    scores = np.empty(len(signals))
    for own in (0, 1):
        mine, others = half == own, (half != own) & ~members
        if not others.any():
            n = len(np.unique(patients))
            raise AttackError(f"{n} patient(s) are too few for a population of non-members; give more")
        counts = np.bincount(classes[others], minlength=int(classes.max()) + 1)
        for common in (True, False):
            asked = mine & ((counts[classes] >= _LEAST_POPULATION) == common)
            if asked.any():
                groups = {"groups": classes[asked], "population_groups": classes[others]} if common else {}
                scores[asked] = membership_population(signals[asked], signals[others], **groups)
    return scores


def halves_of_patients(patients: StrArray) -> IntArray:
    """Return (scan,) 0 or 1: which half of the patients, cut in two by chance, a scan's is in."""
    names, index = np.unique(patients, return_inverse=True)
    halves: IntArray = (np.random.default_rng([_FOLD_STREAM]).permutation(len(names)) % 2)[index]
    return halves
