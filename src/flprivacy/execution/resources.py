"""What a run asks of the cluster for its steps, checked before hours of work lead to the step that cannot begin."""

import re

from flprivacy.core.errors import ConfigError

_CORES = (re.compile(r"[1-9]\d*m?|\d+\.\d+"), "cores as Kubernetes writes them, such as 4 or 500m")
_BYTES = (re.compile(r"[1-9]\d*(\.\d+)?(k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?"), "bytes as Kubernetes writes them, such as 16Gi")
_GPUS = (re.compile(r"\d+"), 'a whole number as text: "1", or "0" to train without a GPU')  # empty is none, silently
RESOURCES = {
    "train_gpus": _GPUS,
    "train_cpu": _CORES,
    "train_memory": _BYTES,
    "work_cpu": _CORES,
    "work_memory": _BYTES,
}


def check_resources(**asked: str) -> None:
    """Refuse with a ConfigError what Kubernetes would refuse, or take for something else, when a step begins."""
    for name, value in asked.items():
        form, words = RESOURCES[name]
        if not form.fullmatch(value):
            raise ConfigError(f"{name} is {value!r}; give {words}")
