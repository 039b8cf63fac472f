"""Pipeline ``re_audit``: audit what was published since the last audit, and say what changed."""

from kfp import dsl

from components.find_targets.component import find_targets
from pipelines.cluster import GPU_TOLERATIONS, KEPT, Nodes
from pipelines.conclusion import SinceLast, tell
from pipelines.given_targets import Request, audit_given


@dsl.pipeline(
    name="re-audit",
    description="Audit the targets that are published now, unless they were audited before, and say what changed.",
    pipeline_config=KEPT,
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
    """Audit the targets that are published now, unless they were audited before, and say what changed.

    Args:
        cohort: Folder of the cohort: the scans that the models were trained on, and held-out ones. A path, or a URI that starts with file://, s3:// or gs://.
        targets_from: Where targets are published, as a JSON list: prefixes of target folders (a path, s3:// or gs:// URI), of which the newest of each name counts, by the number, version or date that the folder is called, or MLflow URIs. For example ["s3://models/published", "models:/chest-ct@production"].
        targets: Name and location of targets that are always at the same place, as JSON, in addition.
        preset: Whose attack and audit sections to use: demo, paper, or the path of a YAML file.
        overrides: Fields of the configuration to replace, as JSON, for example {"attack": {"fractions": [0.1]}}.
        preset_digest: SHA-256 of the YAML file, if preset is one: a changed file is then read again. "flprivacy run" fills it in.
        store: Folder of finished artifacts and checkpoints: what is unchanged is not made again. Empty: the container's default.
        fail_on_leak: Let the run fail if any target leaks more than the policy tolerates.
        fail_on_worse: Let the run fail if any target changed for the worse since its last audit.
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
        asked = Request(
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
