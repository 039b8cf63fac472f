"""Step ``attack_baselines``: what an attacker reaches without any model."""

from pathlib import Path

from flprivacy.study.attacking import attack_without_model
from flprivacy.study.plan import Plan


def attack_baselines(*, plan: Path, cohort: Path, store: str, scores: Path) -> None:
    """Measure what an attacker achieves without any model: from pixels alone, and by guessing the majority.

    Args:
        cohort: the cohort that exposed and held-out scans come from.
        scores: folder to write: the score tables and the attack's learning curves.
    """
    attack_without_model(Plan.read(plan).study, cohort, store=store, scores=scores)
