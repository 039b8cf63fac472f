"""Pipeline ``privacy_audit``: attack given targets with a given cohort, and audit."""

from typing import NamedTuple

from kfp import dsl

from pipelines.cluster import GPU_TOLERATIONS, KEPT, Nodes
from pipelines.descriptions import described
from pipelines.given_targets import AuditInputs, audit_given


@dsl.pipeline(
    name="privacy-audit",
    description="Measure what given models give away about the people they were trained on.",
    pipeline_config=KEPT,
)
@described()
def privacy_audit(
    cohort: str,
    targets: dict,
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
    """Measure what given models give away about the people they were trained on."""
    nodes = Nodes(
        gpu_count=gpu_count,
        gpu_node_selector=gpu_node_selector,
        gpu_tolerations=gpu_tolerations,
        train_cpu=train_cpu,
        train_memory=train_memory,
        audit_cpu=audit_cpu,
        audit_memory=audit_memory,
    )
    asked = AuditInputs(
        cohort=cohort,
        targets=targets,
        preset=preset,
        overrides=overrides,
        preset_digest=preset_digest,
        store=store,
        attempt=attempt,
        fail_on_leak=fail_on_leak,
    )
    audit, report = audit_given(asked, nodes)
    outputs = NamedTuple("Outputs", audit=dsl.Artifact, report=dsl.Artifact)  # noqa: UP014 - kfp reads its fields
    return outputs(audit=audit, report=report)
