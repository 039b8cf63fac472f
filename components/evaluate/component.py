"""Turn score tables into numbers with intervals and verdicts."""

from kfp import dsl

from components.images import AUDIT_IMAGE


@dsl.component(base_image=AUDIT_IMAGE, install_kfp_package=False)
def evaluate(
    plan: dsl.Input[dsl.Artifact],
    cohort: dsl.Input[dsl.Dataset],
    target_scores: dsl.Input[list[dsl.Dataset]],
    pixel_scores: dsl.Input[dsl.Dataset],
    store: str,
    audit: dsl.Output[dsl.Artifact],
    metrics: dsl.Output[dsl.Metrics],
    confusion: dsl.Output[dsl.ClassificationMetrics],
    baseline_scores: dsl.Input[list[dsl.Dataset]] = None,
):
    """Turn score tables into metrics with intervals, excess over the baselines, and verdicts.

    Args:
        plan: The run's resolved configuration.
        cohort: The cohort that all scores come from.
        target_scores: Scores of the attacks on the targets.
        pixel_scores: Scores of the attackers without a model.
        store: Folder of finished artifacts and checkpoints, keyed by digest.
        audit: Everything found, as audit.json.
        metrics: Strength and excess of every attack, at the exposed fraction that decides.
        confusion: Confusion matrix of the strongest site attack.
        baseline_scores: Scores of the attacks on untrained models, where these are not among the targets.
    """
    from pathlib import Path

    from flprivacy.execution.run_step import run_step
    from flprivacy.reporting.summaries import strongest_confusion, verdict_metrics
    from flprivacy.steps.evaluate import evaluate as step

    folders = [Path(item.path) for item in [*target_scores, *(baseline_scores or []), pixel_scores]]
    found = run_step(
        step,
        plan=Path(plan.path),
        cohort=Path(cohort.path),
        scores=folders,
        store=store,
        out=Path(audit.path),
    )
    for artifact in (metrics, confusion):
        Path(artifact.path).touch()  # kfp.local reuses a step only if each of its artifacts is a file
    for name, value in verdict_metrics(found).items():
        metrics.log_metric(name, value)
    matrix = strongest_confusion(found)
    if matrix is not None:
        confusion.log_confusion_matrix(*matrix)
