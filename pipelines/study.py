"""Pipeline ``study``: make a phantom cohort and every target, attack them all, and audit."""

from typing import NamedTuple

from kfp import dsl

from components.attack_attributes.component import attack_attributes
from components.attack_baselines.component import attack_baselines
from components.make_cohort.component import make_cohort
from components.plan_study.component import plan_study
from components.train_target.component import train_target
from pipelines.cluster import GPU_TOLERATIONS, KEPT, TARGETS_AT_ONCE, Nodes
from pipelines.conclusion import Scores, conclude


@dsl.pipeline(
    name="study",
    description="Train targets in every topology on a phantom cohort and measure what they give away.",
    pipeline_config=KEPT,
)
def study(
    preset: str = "demo",
    overrides: dict = {},  # noqa: B006 - KFP takes the default as a constant
    preset_digest: str = "",
    store: str = "",
    fail_on_leak: bool = False,
    attempt: int = 1,
    gpu_count: str = "1",
    gpu_node_selector: dict = {},  # noqa: B006 - KFP takes the default as a constant
    gpu_tolerations: list = GPU_TOLERATIONS,
    train_cpu: str = "4",
    train_memory: str = "16Gi",
    audit_cpu: str = "2",
    audit_memory: str = "8Gi",
) -> NamedTuple("Outputs", audit=dsl.Artifact, report=dsl.Artifact):
    """Train targets in every topology on a phantom cohort and measure what they give away.

    Args:
        preset: demo (minutes on a laptop), paper (the reference study's scale, GPU), or the path of a YAML file.
        overrides: Fields of the configuration to replace, as JSON, for example {"cohort": {"scans": 400}}.
        preset_digest: SHA-256 of the YAML file, if preset is one: a changed file is then read again. "flprivacy run" fills it in.
        store: Folder of finished artifacts and checkpoints: what is unchanged is not made again. Empty: the container's default.
        fail_on_leak: Let the run fail if any target leaks more than the policy tolerates.
        attempt: Raise it to try targets again that failed for a passing reason, such as a lost node; what succeeded is taken from the store.
        gpu_count: GPUs of each step that trains or attacks, as a text; "0" runs them without.
        gpu_node_selector: Labels of the GPU nodes, as JSON, for example {"cloud.google.com/gke-accelerator": "nvidia-l4"}.
        gpu_tolerations: Taints of the GPU nodes that these steps tolerate, as a JSON list.
        train_cpu: Cores of each step that trains or attacks.
        train_memory: Memory of each step that trains or attacks.
        audit_cpu: Cores of every other step.
        audit_memory: Memory of every other step.
    """
    nodes = Nodes(
        gpu_count=gpu_count,
        gpu_node_selector=gpu_node_selector,
        gpu_tolerations=gpu_tolerations,
        train_cpu=train_cpu,
        train_memory=train_memory,
        audit_cpu=audit_cpu,
        audit_memory=audit_memory,
    )
    plan = plan_study(preset=preset, overrides=overrides, preset_digest=preset_digest)
    nodes.cpu(plan)
    cohort = make_cohort(plan=plan.outputs["plan"], store=store)
    nodes.cpu(cohort, hours=6)
    pixels = attack_baselines(plan=plan.outputs["plan"], cohort=cohort.outputs["cohort"], store=store)
    nodes.gpu(pixels)
    with dsl.ParallelFor(plan.outputs["Output"], parallelism=TARGETS_AT_ONCE) as name:
        trained = train_target(
            plan=plan.outputs["plan"],
            cohort=cohort.outputs["cohort"],
            target_name=name,
            store=store,
            attempt=attempt,
        )
        nodes.gpu(trained, hours=72)
        attack = attack_attributes(
            plan=plan.outputs["plan"],
            cohort=cohort.outputs["cohort"],
            target=trained.outputs["target"],
            target_name=name,
            store=store,
            attempt=attempt,
        )
        nodes.gpu(attack)
    scores = Scores(targets=dsl.Collected(attack.outputs["scores"]), pixels=pixels.outputs["scores"])
    audit, report = conclude(
        plan=plan.outputs["plan"],
        cohort=cohort.outputs["cohort"],
        scores=scores,
        store=store,
        fail_on_leak=fail_on_leak,
        nodes=nodes,
    )
    outputs = NamedTuple("Outputs", audit=dsl.Artifact, report=dsl.Artifact)  # noqa: UP014 - kfp reads its fields
    return outputs(audit=audit, report=report)
