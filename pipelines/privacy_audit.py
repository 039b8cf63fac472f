"""Pipeline ``privacy_audit``: attack given targets with a given cohort, and audit."""

from typing import NamedTuple

from kfp import dsl

from pipelines.cluster import GPU_TOLERATIONS, KEPT, Nodes
from pipelines.given_targets import Request, audit_given


@dsl.pipeline(
    name="privacy-audit",
    description="Measure what given models give away about the people they were trained on.",
    pipeline_config=KEPT,
)
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
    """Measure what given models give away about the people they were trained on.

    Args:
        cohort: Folder of the cohort: the scans that the models were trained on, and held-out ones. A path, or a URI that starts with file://, s3:// or gs://.
        targets: Name of each model and where it is, as JSON: a target folder, a .keras, .weights.h5 or .h5 file (a path, s3:// or gs:// URI), or an MLflow URI; facts that a file does not hold follow behind commas. For example {"central": "s3://models/central", "old": "s3://models/old.h5,architecture=i3d,shape=24x256x256", "live": "models:/chest-ct@production"}.
        preset: Whose attack and audit sections to use: demo, paper, or the path of a YAML file.
        overrides: Fields of the configuration to replace, as JSON, for example {"attack": {"fractions": [0.1]}}.
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
    asked = Request(
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
