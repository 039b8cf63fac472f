"""Step ``attack_baselines``: what an attacker reaches without any model."""

from pathlib import Path

from flprivacy.cohorts.format import open_cohort
from flprivacy.cohorts.metadata import read_meta
from flprivacy.core.parsing import to_mapping
from flprivacy.core.scores import write_scores
from flprivacy.storage.artifact_store import deliver
from flprivacy.storage.places import open_store
from flprivacy.study.plan import Plan


def attack_baselines(*, plan: Path, cohort: Path, store: str, scores: Path) -> None:
    """Measure what an attacker achieves without any model: from pixels alone, and by guessing the majority.

    Args:
        cohort: the cohort that exposed and held-out scans come from.
        scores: folder to write: the score tables and the attack's learning curves.
    """
    study = Plan.read(plan).study
    inputs = {
        "target": "baselines without a model",
        "attack": to_mapping(study.attack),
        "cohort": read_meta(cohort).digest,
        "protocol": study.protocol,
    }

    def make(work: Path, folder: Path) -> None:
        from flprivacy.attacks.baselines import attack_pixels, majority

        opened = open_cohort(cohort)
        pixels, curves = attack_pixels(study.attack, opened, protocol=study.protocol, work=work)
        write_scores(folder, [pixels, majority(study.attack, opened)], curves)

    deliver(open_store(store).build("scores", inputs, make), scores)
