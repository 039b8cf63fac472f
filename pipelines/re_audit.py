"""Pipeline ``re_audit``: audit what was published since the last audit, and say what changed."""

from kfp import dsl

from components.find_targets.component import find_targets
from pipelines.cluster import GPU_TOLERATIONS, KEPT, Nodes
from pipelines.conclusion import SinceLast, tell
from pipelines.descriptions import described
from pipelines.given_targets import AuditInputs, audit_given


@dsl.pipeline(
    name="re-audit",
    description="Audit the targets that are published now, unless they were audited before, and say what changed.",
    pipeline_config=KEPT,
)
@described(
    targets_from='Where targets are published, as a JSON list: prefixes of target folders (a path, s3:// or gs:// URI), of which the newest of each name counts, by the number, version or date in the folder\'s name, or MLflow URIs. For example ["s3://models/published", "models:/chest-ct@production"].',
    targets="In addition, name and location of targets that stay in one place, as JSON.",
)
def re_audit(
    cohort: str,
    targets_from: list = [],  # noqa: B006 - KFP takes the default as a constant
    targets: dict = {},  # noqa: B006
    preset: str = "demo",
    overrides: dict = {},  # noqa: B006
    preset_digest: str = "",
    store: str = "",
    fail_on_leak: bool = False,
    fail_on_worse: bool = False,
    attempt: int = 1,
    gpu_count: str = "1",
    gpu_node_selector: dict = {},  # noqa: B006
    gpu_tolerations: list = GPU_TOLERATIONS,
    train_cpu: str = "4",
    train_memory: str = "16Gi",
    audit_cpu: str = "2",
    audit_memory: str = "8Gi",
):
    """Audit the targets that are published now, unless they were audited before, and say what changed."""
    nodes = Nodes(
        gpu_count=gpu_count,
        gpu_node_selector=gpu_node_selector,
        gpu_tolerations=gpu_tolerations,
        train_cpu=train_cpu,
        train_memory=train_memory,
        audit_cpu=audit_cpu,
        audit_memory=audit_memory,
    )
    found = find_targets(
        cohort=cohort,
        targets=targets,
        targets_from=targets_from,
        preset=preset,
        overrides=overrides,
        preset_digest=preset_digest,
        store=store,
    )
    nodes.cpu(found, secrets=("objects", "mlflow")).set_caching_options(False)
    with dsl.If(found.outputs["changed"] == "yes", name="changed"):
        asked = AuditInputs(
            cohort=cohort,
            targets=found.outputs["targets"],
            preset=preset,
            overrides=overrides,
            preset_digest=preset_digest,
            store=store,
            attempt=attempt,
            fail_on_leak=fail_on_leak,
        )
        audit_given(asked, nodes, since=SinceLast(found=found.outputs["found"], fail_on_worse=fail_on_worse))
    with dsl.Else(name="unchanged"):
        tell(found.outputs["found"], "", nodes)
