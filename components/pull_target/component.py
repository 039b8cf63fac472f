"""Bring a given target to where the other steps read it."""

from kfp import dsl

from components.images import AUDIT_IMAGE


@dsl.component(base_image=AUDIT_IMAGE, install_kfp_package=False)
def pull_target(
    targets: dict,
    target_name: str,
    target: dsl.Output[dsl.Model],
    store: str = "",
):
    """Bring a given target to where the other steps read it, and check it; never cached.

    A .keras, .weights.h5 or legacy .h5 file is matched with its architecture by the names of its weights; nothing in
    it is run. What is in the store already is not fetched again, unless the target's objects changed.

    Args:
        targets: Name of each target and its folder, weights file or MLflow URI, with facts about it behind commas.
        target_name: Name of the target to bring.
        target: The target: weights and target.json.
        store: Folder of finished artifacts and checkpoints, keyed by digest.
    """
    from pathlib import Path

    from flprivacy.execution.isolation import run_target_step
    from flprivacy.steps.pull import pull_target as step

    record = run_target_step(
        step, whose=target_name, targets=targets, target_name=target_name, out=Path(target.path), store=store
    )
    if record is None:
        target.metadata.update(failed=True)
        return
    target.metadata.update(
        digest=record.digest,
        topology=str(record.topology),
        architecture=record.architecture,
        tensors_matched=record.tensors_matched,
        tensors_total=record.tensors_total,
    )
