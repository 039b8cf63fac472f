"""The description of each parameter of the pipelines, which the page of a pipeline shows.

They stand there alone: the form of a run shows none, and every run would carry those of its parameters twice.
"""

DESCRIPTIONS = {
    "cohort": "Folder of the cohort, with the scans that the models were trained on and held-out ones: a path, or a URI that starts with file://, s3:// or gs://.",
    "targets": 'Name and location of each model, as JSON: a target folder, a .keras, .weights.h5 or .h5 file (a path, s3:// or gs:// URI), or an MLflow URI; facts that the file does not contain follow, separated by commas. For example {"central": "s3://models/central", "old": "s3://models/old.h5,architecture=i3d,shape=24x256x256", "live": "models:/chest-ct@production"}.',
    "preset": "Preset whose attack and audit sections are used: demo, paper, or the path of a YAML file.",
    "overrides": 'Configuration fields to replace, as JSON, for example {"attack": {"fractions": [0.1]}}.',
    "store": "Location of finished artifacts and checkpoints; what has not changed is not computed again. On a cluster an s3:// or gs:// URI, where steps also keep what they tell each other about patients; audits of given cohorts need it. Empty: the container's default.",
    "fail_on_leak": "Fail the run if any target leaks more than the policy tolerates.",
    "fail_on_worse": "Fail the run if any target has changed for the worse since its last audit.",
    "try_again": "Raise it to try targets again that failed for a reason that passes, such as a lost node: Kubeflow's cache is passed over, and finished work is taken from the store.",
    "train_gpus": 'GPUs of each step that trains or attacks, as text; "0" runs them without.',
    "train_nodes": 'Labels of the GPU nodes, as JSON, for example {"cloud.google.com/gke-accelerator": "nvidia-l4"}.',
    "train_tolerations": "Taints of the GPU nodes that these steps tolerate, as a JSON list.",
    "train_cpu": "CPU cores of each step that trains or attacks.",
    "train_memory": "Memory of each step that trains or attacks.",
    "work_cpu": "CPU cores of every other step.",
    "work_memory": "Memory of every other step.",
}


# The form shows parameters by the alphabet and without a word. Names are chosen so that what a run is of comes first
# there, and where it runs last; a pipeline's description, which the form does show, says what each is for.
PURPOSES = {
    "What is audited": ("cohort", "targets", "targets_from"),
    "How": ("preset", "overrides", "store"),
    "When the run fails": ("fail_on_leak", "fail_on_worse"),
    "Where it runs": (
        "train_cpu",
        "train_gpus",
        "train_memory",
        "train_nodes",
        "train_tolerations",
        "work_cpu",
        "work_memory",
    ),
    "Rarely": ("try_again",),
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
