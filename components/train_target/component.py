"""Train one target of a plan."""

from kfp import dsl

from components.images import TRAIN_IMAGE


@dsl.component(base_image=TRAIN_IMAGE, install_kfp_package=False)
def train_target(
    plan: dsl.Input[dsl.Artifact],
    cohort: dsl.Input[dsl.Dataset],
    target_name: str,
    store: str,
    attempt: int,
    target: dsl.Output[dsl.Model],
    metrics: dsl.Output[dsl.Metrics],
):
    """Train one target: siloed, central or federated, with or without differential privacy, or an untrained baseline.

    Training checkpoints in the store after each epoch or round and carries on from there after a kill.

    Args:
        plan: The run's resolved configuration.
        cohort: The cohort to train on.
        target_name: Name of the target in the plan.
        store: Folder of finished artifacts and checkpoints, keyed by digest.
        attempt: Count of tries by hand; another one lets the cluster run the step again, not take its last result.
        target: The target: weights and target.json with lineage and utility.
        metrics: Utility on held-out patients, and epsilon where training was private.
    """
    from pathlib import Path

    from flprivacy.execution.isolation import run_target_step
    from flprivacy.steps.train_target import train_target as step

    record = run_target_step(
        step,
        whose=target_name,
        plan=Path(plan.path),
        cohort=Path(cohort.path),
        target_name=target_name,
        store=store,
        out=Path(target.path),
    )
    Path(metrics.path).touch()  # kfp.local reuses a step only if each of its artifacts is a file
    if record is None:
        target.metadata.update(failed=True)
        return
    target.metadata.update(digest=record.digest, topology=str(record.topology), architecture=record.architecture)
    if record.utility is not None:
        metrics.log_metric("accuracy", record.utility.accuracy)
        metrics.log_metric("f1_macro", record.utility.f1_macro)
        if record.utility.auc_ovr is not None:
            metrics.log_metric("auc_ovr", record.utility.auc_ovr)
    if record.epsilon is not None:
        metrics.log_metric("epsilon", record.epsilon)
        target.metadata.update(epsilon=record.epsilon, delta=record.delta)
