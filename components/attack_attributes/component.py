"""Attack one target's site, sex and age attributes."""

from kfp import dsl

from components.images import TRAIN_IMAGE


@dsl.component(base_image=TRAIN_IMAGE, install_kfp_package=False)
def attack_attributes(
    plan: dsl.Input[dsl.Artifact],
    cohort: dsl.Input[dsl.Dataset],
    target: dsl.Input[dsl.Model],
    target_name: str,
    store: str,
    attempt: int,
    scores: dsl.Output[dsl.Dataset],
):
    """Attack one target: infer site, sex and age of held-out scans, at every exposed fraction, access and seed.

    Args:
        plan: The run's resolved configuration.
        cohort: The cohort that exposed and held-out scans come from.
        target: The target under attack.
        target_name: Its name.
        store: Folder of finished artifacts and checkpoints, keyed by digest.
        attempt: Count of tries by hand; another one lets the cluster run the step again, not take its last result.
        scores: The score table and the attack's learning curves.
    """
    from pathlib import Path

    from flprivacy.execution.isolation import run_target_step
    from flprivacy.steps.attack_attributes import attack_attributes as step

    run_target_step(
        step,
        whose=target_name,
        upstream=Path(target.path),
        plan=Path(plan.path),
        cohort=Path(cohort.path),
        target=Path(target.path),
        store=store,
        out=Path(scores.path),
    )
