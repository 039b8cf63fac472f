"""Set what canaries prove about a private training against what it claims."""

from kfp import dsl

from components.images import AUDIT_IMAGE


@dsl.component(base_image=AUDIT_IMAGE, install_kfp_package=False)
def dp_check(
    plan: dsl.Input[dsl.Artifact],
    target: dsl.Input[dsl.Model],
    store: str,
    check: dsl.Output[dsl.Artifact],
    page: dsl.Output[dsl.HTML],
    metrics: dsl.Output[dsl.Metrics],
):
    """Set the lower bound on epsilon that a target's canaries prove against the epsilon that its training claims.

    Args:
        plan: The run's resolved configuration.
        target: A private target that was trained with canaries.
        store: Folder of finished artifacts and checkpoints, keyed by digest.
        check: Folder of dp_check.json and its report.
        page: The report alone, for the UI.
        metrics: Claimed epsilon, the strongest lower bound, and 1 if the claim is contradicted.
    """
    import shutil
    from pathlib import Path

    from flprivacy.core.artifacts import REPORT_FILE
    from flprivacy.core.dp_check import CONTRADICTED
    from flprivacy.execution.run_step import run_step
    from flprivacy.steps.dp_check import dp_check as step

    found = run_step(step, plan=Path(plan.path), target=Path(target.path), store=store, out=Path(check.path))
    Path(page.path).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(Path(check.path) / REPORT_FILE, page.path)
    Path(metrics.path).touch()  # kfp.local reuses a step only if each of its artifacts is a file
    metrics.log_metric("claimed_epsilon", found.claimed_epsilon)
    metrics.log_metric("epsilon_lower", found.epsilon_lower)
    metrics.log_metric("contradicted", float(found.verdict == CONTRADICTED))
