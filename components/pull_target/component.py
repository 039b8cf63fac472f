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

    Weights that are in the store already are not fetched again, unless any of the target's objects changed.

    Args:
        targets: Name of each target and its folder: a path, or a URI that starts with file://, s3:// or gs://.
        target_name: Name of the target to bring.
        target: The target: weights and target.json.
        store: Folder of finished artifacts and checkpoints, keyed by digest.
    """
    from pathlib import Path

    from flprivacy.steps.pull import pull_target as step
    from flprivacy.steps.run_step import run_step

    record = run_step(
        step, detail=target_name, targets=targets, target_name=target_name, out=Path(target.path), store=store
    )
    target.metadata.update(digest=record.digest, topology=str(record.topology), architecture=record.architecture)
