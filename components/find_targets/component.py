"""See which targets are published now, and which of them were not audited yet."""

from typing import NamedTuple

from kfp import dsl

from components.images import AUDIT_IMAGE


@dsl.component(base_image=AUDIT_IMAGE, install_kfp_package=False)
def find_targets(
    cohort: str,
    targets: dict,
    targets_from: list,
    preset: str,
    overrides: dict,
    preset_digest: str,
    store: str,
    found: dsl.Output[dsl.Artifact],
) -> NamedTuple("Outputs", changed=str, targets=dict):
    """See which targets are published now, and which of them were not audited yet in this way; never cached.

    Args:
        cohort: Folder of the cohort: a path, or a URI that starts with file://, s3:// or gs://.
        targets: Name and location of targets that are always at the same place.
        targets_from: Prefixes of published target folders, of which the newest of each name counts, or MLflow URIs.
        preset: Name of a preset (demo, paper) or path of a YAML file; its attack and audit sections are used.
        overrides: Fields to replace, nested as in the preset.
        preset_digest: SHA-256 of a YAML file given as preset; else empty.
        store: Folder of finished artifacts and checkpoints.
        found: What is published beside its last audits, and the verdict where nothing must be audited.

    Returns:
        changed: "yes" if anything must be audited, else "no".
        targets: Name and pinned location of what must be audited.
    """
    from pathlib import Path
    from typing import NamedTuple as Tuple

    from flprivacy.execution.run_step import run_step
    from flprivacy.steps.find_targets import find_targets as step

    changed = run_step(
        step,
        cohort=cohort,
        targets=targets,
        targets_from=targets_from,
        preset=preset,
        overrides=overrides,
        preset_digest=preset_digest,
        store=store,
        out=Path(found.path),
    )
    outputs = Tuple("Outputs", [("changed", str), ("targets", dict)])  # noqa: UP014
    return outputs("yes" if changed else "no", changed)
