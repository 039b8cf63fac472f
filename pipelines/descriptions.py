"""The description of each parameter in the form of a run, in one place for all pipelines."""

from collections.abc import Callable
from inspect import signature
from typing import TypeVar

F = TypeVar("F", bound=Callable[..., object])

DESCRIPTIONS = {
    "cohort": "Folder of the cohort, with the scans that the models were trained on and held-out ones: a path, or a URI that starts with file://, s3:// or gs://.",
    "targets": 'Name and location of each model, as JSON: a target folder, a .keras, .weights.h5 or .h5 file (a path, s3:// or gs:// URI), or an MLflow URI; facts that the file does not contain follow, separated by commas. For example {"central": "s3://models/central", "old": "s3://models/old.h5,architecture=i3d,shape=24x256x256", "live": "models:/chest-ct@production"}.',
    "preset": "Preset whose attack and audit sections are used: demo, paper, or the path of a YAML file.",
    "overrides": 'Configuration fields to replace, as JSON, for example {"attack": {"fractions": [0.1]}}.',
    "preset_digest": 'Leave it empty: "flprivacy run" and "flprivacy submit" set it, and the plan takes it from the file. Only a study or dp_check whose preset is a file in a store needs its SHA-256, so that a changed file is read again.',
    "store": "Location of finished artifacts and checkpoints; what has not changed is not computed again. On a cluster an s3:// or gs:// URI, where steps also keep what they tell each other about patients; audits of given cohorts need it. Empty: the container's default.",
    "fail_on_leak": "Fail the run if any target leaks more than the policy tolerates.",
    "fail_on_worse": "Fail the run if any target has changed for the worse since its last audit.",
    "attempt": "Increment to retry targets that failed for a transient reason, such as a lost node: cached results are bypassed, and finished work is taken from the store.",
    "gpu_count": 'GPUs of each step that trains or attacks, as text; "0" runs them without.',
    "gpu_node_selector": 'Labels of the GPU nodes, as JSON, for example {"cloud.google.com/gke-accelerator": "nvidia-l4"}.',
    "gpu_tolerations": "Taints of the GPU nodes that these steps tolerate, as a JSON list.",
    "train_cpu": "CPU cores of each step that trains or attacks.",
    "train_memory": "Memory of each step that trains or attacks.",
    "audit_cpu": "CPU cores of every other step.",
    "audit_memory": "Memory of every other step.",
}


# The form shows parameters by the alphabet and without a word; a pipeline's description, which it does show, names them
# by what they are for.
PURPOSES = {
    "What is audited": ("cohort", "targets", "targets_from"),
    "How": ("preset", "overrides", "store"),
    "When the run fails": ("fail_on_leak", "fail_on_worse"),
    "Where it runs": (
        "gpu_count",
        "gpu_node_selector",
        "gpu_tolerations",
        "train_cpu",
        "train_memory",
        "audit_cpu",
        "audit_memory",
    ),
    "Rarely": ("attempt", "preset_digest"),
}


def form_page(summary: str, *names: str, **own: str) -> str:
    """Return a pipeline's description: what it does, and its parameters by purpose, each with a sentence or two.

    Args:
        summary: what it does.
        names: of its parameters, but those of the nodes that every pipeline has.
        own: descriptions by parameter, where this pipeline's differ from the shared ones.
    """
    asked = {*names, *own, *PURPOSES["Where it runs"]}
    lines = [summary]
    for purpose, parameters in PURPOSES.items():
        found = [name for name in parameters if name in asked]
        if found:
            lines += ["", f"{purpose}:"]
            lines += [f"- {name}: {({**DESCRIPTIONS, **own})[name]}" for name in found]
    return "\n".join(lines)


def described(**own: str) -> Callable[[F], F]:
    """Add the descriptions of its parameters to a pipeline's docstring, where KFP reads them.

    Args:
        own: descriptions by parameter, where this pipeline's differ from the shared ones.
    """

    def add(pipeline: F) -> F:
        lines = [f"    {name}: {({**DESCRIPTIONS, **own})[name]}" for name in signature(pipeline).parameters]
        pipeline.__doc__ = "\n".join([f"{pipeline.__doc__}\n", "Args:", *lines])
        return pipeline

    return add
