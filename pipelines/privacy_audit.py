"""Pipeline ``privacy_audit``: attack given targets with a given cohort, and audit."""

from typing import NamedTuple

from kfp import dsl

from components.attack_attributes.component import attack_attributes
from components.attack_baselines.component import attack_baselines
from components.check_policy.component import check_policy
from components.evaluate.component import evaluate
from components.log_mlflow.component import log_mlflow
from components.plan_audit.component import plan_audit
from components.plan_baselines.component import plan_baselines
from components.pull_cohort.component import pull_cohort
from components.pull_target.component import pull_target
from components.resolve_cohort.component import resolve_cohort
from components.train_target.component import train_target
from components.write_report.component import write_report


@dsl.pipeline(
    name="privacy-audit", description="Measure what given models give away about the people they were trained on."
)
def privacy_audit(
    cohort: str,
    targets: dict,
    preset: str = "demo",
    overrides: dict = {},  # noqa: B006 - KFP takes the default as a constant
    preset_digest: str = "",
    store: str = "",
    fail_on_leak: bool = False,
) -> NamedTuple("Outputs", audit=dsl.Artifact, report=dsl.Artifact):
    """Measure what given models give away about the people they were trained on.

    Args:
        cohort: Folder of the cohort: the scans that the models were trained on, and held-out ones. A path, or a URI that starts with file://, s3:// or gs://.
        targets: Name of each model and where it is, as JSON: a target folder, a .keras, .weights.h5 or .h5 file (a path, s3:// or gs:// URI), or an MLflow URI; facts that a file does not hold follow behind commas. For example {"central": "s3://models/central", "old": "s3://models/old.h5,architecture=i3d,shape=24x256x256", "live": "models:/chest-ct@production"}.
        preset: Whose attack and audit sections to use: demo, paper, or the path of a YAML file.
        overrides: Fields of the configuration to replace, as JSON, for example {"attack": {"fractions": [0.1]}}.
        preset_digest: SHA-256 of the YAML file, if preset is one: a changed file is then read again. "flprivacy run" fills it in.
        store: Folder of finished artifacts and checkpoints: what is unchanged is not made again. Empty: the container's default.
        fail_on_leak: Let the run fail if any target leaks more than the policy tolerates.
    """
    plan = plan_audit(
        preset=preset,
        overrides=overrides,
        preset_digest=preset_digest,
        cohort=cohort,
        targets=targets,
        store=store,
    )
    baselines = plan_baselines(plan=plan.outputs["plan"])
    found = resolve_cohort(location=cohort, plan=plan.outputs["plan"])
    found.set_caching_options(False)
    pulled = pull_cohort(
        location=cohort,
        fractions=found.outputs["fractions"],
        seeds=found.outputs["seeds"],
        resolved=found.outputs["resolved"],
        store=store,
    )
    pixels = attack_baselines(plan=plan.outputs["plan"], cohort=pulled.outputs["cohort"], store=store)
    with dsl.ParallelFor(baselines.output) as baseline:
        untrained = train_target(
            plan=plan.outputs["plan"], cohort=pulled.outputs["cohort"], target_name=baseline, store=store
        )
        baseline_attack = attack_attributes(
            plan=plan.outputs["plan"],
            cohort=pulled.outputs["cohort"],
            target=untrained.outputs["target"],
            target_name=baseline,
            store=store,
        )
    with dsl.ParallelFor(plan.outputs["Output"]) as name:
        target = pull_target(targets=targets, target_name=name, store=store)
        target.set_caching_options(False)
        attack = attack_attributes(
            plan=plan.outputs["plan"],
            cohort=pulled.outputs["cohort"],
            target=target.outputs["target"],
            target_name=name,
            store=store,
        )
    audit = evaluate(
        plan=plan.outputs["plan"],
        cohort=pulled.outputs["cohort"],
        target_scores=dsl.Collected(attack.outputs["scores"]),
        baseline_scores=dsl.Collected(baseline_attack.outputs["scores"]),
        pixel_scores=pixels.outputs["scores"],
        store=store,
    )
    report = write_report(audit=audit.outputs["audit"], store=store)
    logged = log_mlflow(
        audit=audit.outputs["audit"], report=report.outputs["report"], kfp_run=dsl.PIPELINE_JOB_ID_PLACEHOLDER
    )
    logged.set_caching_options(False)
    check_policy(audit=audit.outputs["audit"], fail_on_leak=fail_on_leak).after(logged).set_caching_options(False)
    outputs = NamedTuple("Outputs", audit=dsl.Artifact, report=dsl.Artifact)  # noqa: UP014 - kfp reads its fields
    return outputs(audit=audit.outputs["audit"], report=report.outputs["report"])
