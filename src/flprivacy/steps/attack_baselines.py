"""Step ``attack_baselines``: what an attacker reaches without any model."""

from pathlib import Path
from typing import Any

from flprivacy.cohorts.metadata import read_meta
from flprivacy.cohorts.placed import open_rows
from flprivacy.cohorts.remote import audited_rows
from flprivacy.core.cohort import Cohort
from flprivacy.core.parsing import to_mapping
from flprivacy.core.scores import write_scores
from flprivacy.storage.artifact_store import deliver
from flprivacy.storage.places import open_store
from flprivacy.study.config import StudyConfig
from flprivacy.study.plan import Plan


def attack_baselines(*, plan: Path, cohort: Path, store: str, scores: Path, attempt: int = 1) -> None:
    """Measure what an attacker achieves without any model: from pixels alone, and by guessing the majority.

    Args:
        cohort: the cohort that exposed and held-out scans come from.
        scores: folder to write: the score tables and the attack's learning curves.
    """
    del attempt  # part of the task's key on a cluster; it changes no result
    study = Plan.read(plan).study
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
