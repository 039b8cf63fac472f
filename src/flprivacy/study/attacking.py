"""The attacks on one target, and those without a model, each from the store where it was made before."""

from pathlib import Path
from typing import Any

from flprivacy.attacks.membership.target import Answers
from flprivacy.attacks.membership.target import attack_target as attack_members
from flprivacy.cohorts.metadata import read_meta
from flprivacy.cohorts.placed import open_manifest, open_rows
from flprivacy.cohorts.remote import audited_rows
from flprivacy.core.artifacts import MEMBERSHIP_FILE
from flprivacy.core.cohort import Cohort
from flprivacy.core.digests import digest_file
from flprivacy.core.parsing import to_mapping
from flprivacy.core.publish import publish_folder, write_json
from flprivacy.core.scores import write_scores
from flprivacy.core.target import TARGET_FILE
from flprivacy.core.tensorflow_environment import import_keras
from flprivacy.core.vocabulary import JOINT
from flprivacy.storage.artifact_store import deliver
from flprivacy.storage.places import open_store
from flprivacy.study.config import StudyConfig
from flprivacy.targets.folder import read_target
from flprivacy.targets.lineage import PrivatePart, audited_record, private_part


def attack_attributes(
    study: StudyConfig, cohort: Path, target: Path, *, store: str, scores: Path, own_answers: Path | None = None
) -> None:
    """Attack one target: infer site, sex and age of held-out scans, at every exposed fraction, access and seed.

    Args:
        study: what is attacked, and how.
        cohort: folder of the cohort that exposed and held-out scans come from.
        target: folder of the target under attack.
        store: location of finished artifacts and checkpoints.
        scores: folder to write: the score table, the attack's learning curves, what the target answers for the scored
            scans, and ``target.json`` with what auditors know.
        own_answers: file of what the network answered where its owner runs it, to compare; None: there is none.
    """
    record = read_target(target)
    origin = record.origin
    inputs = {
        "target": [record.name, record.role, record.digest],
        "told": [origin.assumed, origin.stated, origin.contradicted, origin.input_checked]
        if origin is not None
        else [],
        "own answers": digest_file(own_answers) if own_answers is not None else "",
        "attack": to_mapping(study.attack),
        "cohort": read_meta(cohort).digest,
        "protocol": study.protocol,
    }
    pixels = attacked_pixels(study, cohort, store) if JOINT in study.attack.accesses else None

    def make(work: Path, folder: Path) -> None:
        import_keras()
        from flprivacy.attacks import attribute  # imports Keras: only when there is work

        opened, protocol = audited_cohort(study, cohort), study.protocol
        table, curves = attribute.attack_attributes(
            study.attack, opened, target, protocol=protocol, work=work, pixels=pixels, own_answers=own_answers
        )
        write_scores(folder, [table], curves)
        attribute.ask_target(study.attack, opened, target, protocol=protocol, work=work).write(folder)

    deliver(open_store(store).build("scores", inputs, make), scores)
    write_json(scores / TARGET_FILE, to_mapping(audited_record(record, private_part(target, record))))


def attack_membership(
    cohort: Path, target: Path, scores: Path, membership: Path, *, part: PrivatePart | None = None
) -> None:
    """Attack the membership of one target's training scans, without reference models.

    Scans that attackers of attributes hold are not scored.

    Args:
        cohort: folder of the cohort that members and held-out scans come from.
        target: folder of the target under attack.
        scores: folder of the attacks on its attributes, which holds what the target answers.
        membership: folder to write: a table of the scans with signals and scores.
        part: the target's private part, which says who the members are; None: the one in its folder. Without any the
            cohort's training split is taken for them.

    Raises:
        AttackError: the list of members does not fit the cohort.
    """
    record = read_target(target)
    part = part or private_part(target, record)
    found = attack_members(Answers.read(scores), open_manifest(cohort), record, part)
    with publish_folder(membership) as partial:
        found.write(partial / MEMBERSHIP_FILE)


def attack_without_model(study: StudyConfig, cohort: Path, *, store: str, scores: Path) -> None:
    """Measure what an attacker achieves without any model: from pixels alone, and by guessing the majority.

    Args:
        study: what is attacked, and how.
        cohort: folder of the cohort that exposed and held-out scans come from.
        store: location of finished artifacts and checkpoints.
        scores: folder to write: the score tables and the attack's learning curves.
    """
    pixels = attacked_pixels(study, cohort, store)
    inputs = _inputs("baselines without a model", study, cohort)

    def make(work: Path, folder: Path) -> None:
        from flprivacy.attacks.baselines import attack_pixels, majority

        opened = audited_cohort(study, cohort)
        found, curves = attack_pixels(study.attack, opened, protocol=study.protocol, work=work, results=pixels)
        write_scores(folder, [found, majority(study.attack, opened)], curves)

    deliver(open_store(store).build("scores", inputs, make), scores)


def attacked_pixels(study: StudyConfig, cohort: Path, store: str) -> Path:
    """Return the folder of finished attacks from pixels, which the attacks on targets share."""

    def make(work: Path, folder: Path) -> None:
        from flprivacy.attacks.baselines import attack_pixels

        attack_pixels(study.attack, audited_cohort(study, cohort), protocol=study.protocol, work=work, results=folder)

    return open_store(store).build("scores", _inputs("pixels", study, cohort), make)


def audited_cohort(study: StudyConfig, cohort: Path) -> Cohort:
    """Open a cohort with the volumes that attacks read."""
    attack = study.attack
    fraction = max(attack.fractions)
    return open_rows(
        cohort, lambda opened: audited_rows(opened, fraction=fraction, seeds=attack.seeds, members=attack.members)
    )


def _inputs(name: str, study: StudyConfig, cohort: Path) -> dict[str, Any]:
    digest = read_meta(cohort).digest
    return {"target": name, "attack": to_mapping(study.attack), "cohort": digest, "protocol": study.protocol}
