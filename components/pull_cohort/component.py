"""Bring the volumes that an audit reads to where the other steps find them."""

from kfp import dsl

from components.images import AUDIT_IMAGE


@dsl.component(base_image=AUDIT_IMAGE, install_kfp_package=False)
def pull_cohort(
    location: str,
    cohort: dsl.Output[dsl.Dataset],
    fractions: list = [],  # noqa: B006 - KFP takes defaults as constants
    seeds: list = [],  # noqa: B006
    splits: list = ["train", "test"],  # noqa: B006
    resolved: str = "",
    store: str = "",
) -> str:
    """Bring the volumes that an audit reads to where the other steps find them, verified; the manifest stays whole.

    Args:
        location: Folder of the cohort: a path, or a URI that starts with file://, s3:// or gs://.
        cohort: The cohort: cohort.json, manifest.parquet, the volumes, and present.parquet unless all of them are here.
        fractions: Exposed fractions of the audit; the largest decides. Empty: all training scans.
        seeds: Attacker seeds of the audit. Empty: all training scans.
        splits: Whose scans to bring: train (the exposed ones), test, or both.
        resolved: What resolve_cohort returned: a cached pull is used again only while that stays the same.
        store: Folder of finished artifacts and checkpoints, keyed by digest; an interrupted pull carries on from it.

    Returns:
        The cohort's digest.
    """
    from pathlib import Path

    from flprivacy.execution.run_step import run_step
    from flprivacy.steps.pull import pull_cohort as step

    digest = run_step(
        step,
        cohort=location,
        out=Path(cohort.path),
        fractions=fractions,
        seeds=[int(seed) for seed in seeds],  # KFP hands numbers over as floats
        splits=splits,
        resolved=resolved,
        store=store,
    )
    cohort.metadata["digest"] = digest
    return digest
