"""Step ``attack_attributes``: attack one target's site, sex and age attributes."""

from pathlib import Path

from flprivacy.cohorts.metadata import read_meta
from flprivacy.core.parsing import to_mapping
from flprivacy.core.publish import write_json
from flprivacy.core.scores import write_scores
from flprivacy.core.target import TARGET_FILE
from flprivacy.core.tensorflow_environment import import_keras
from flprivacy.core.vocabulary import JOINT
from flprivacy.steps.attack_baselines import attacked_pixels, audited_cohort
from flprivacy.storage.artifact_store import deliver
from flprivacy.storage.places import open_store
from flprivacy.study.plan import Plan
from flprivacy.targets.folder import read_target
from flprivacy.targets.lineage import audited_record, private_part


def attack_attributes(
    *, plan: Path, cohort: Path, target: Path, target_name: str, store: str, scores: Path, attempt: int = 1
) -> None:
    """Attack one target: infer site, sex and age of held-out scans, at every exposed fraction, access and seed.

    Args:
        cohort: the cohort that exposed and held-out scans come from.
        target: the target under attack.
        target_name: its name.
        scores: folder to write: the score table, the attack's learning curves, what the target answers for the scored
            scans, and ``target.json`` with what auditors know.
    """
    del target_name, attempt  # say which task this is; they change no result
    study = Plan.read(plan).study
    record = read_target(target)
    origin = record.origin
    inputs = {
        "target": [record.name, record.role, record.digest],
        "told": [origin.assumed, origin.stated, origin.contradicted] if origin is not None else [],
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
            study.attack, opened, target, protocol=protocol, work=work, pixels=pixels
        )
        write_scores(folder, [table], curves)
        attribute.ask_target(study.attack, opened, target, protocol=protocol, work=work).write(folder)

    deliver(open_store(store).build("scores", inputs, make), scores)
    write_json(scores / TARGET_FILE, to_mapping(audited_record(record, private_part(target, record))))
