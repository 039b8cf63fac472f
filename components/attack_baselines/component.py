"""What an attacker reaches without any model."""

from kfp import dsl

from components.images import TRAIN_IMAGE


@dsl.component(base_image=TRAIN_IMAGE, install_kfp_package=False)
def attack_baselines(
    plan: dsl.Input[dsl.Artifact],
    cohort: dsl.Input[dsl.Dataset],
    store: str,
    scores: dsl.Output[dsl.Dataset],
):
    """Measure what an attacker reaches without any model: from pixels alone, and by guessing the majority.

    Args:
        plan: The run's resolved configuration.
        cohort: The cohort that exposed and held-out scans come from.
        store: Folder of finished artifacts and checkpoints, keyed by digest.
        scores: The score tables and the attack's learning curves.
    """
    from pathlib import Path

    from flprivacy.execution.run_step import run_step
    from flprivacy.steps.attack_baselines import attack_baselines as step

    run_step(step, plan=Path(plan.path), cohort=Path(cohort.path), store=store, out=Path(scores.path))
