"""Settings and credentials that a cluster mounts into a step's pod, a file each, as environment variables.

Variables of their own would be shorter, but every node of a run repeats a step's pod several times: at a hundred
targets that alone would fill what Kubernetes stores of a run. And what another sets in the same container, as
Kubeflow's MLflow plugin does, cannot make the pod invalid.
"""

import os
import re
from pathlib import Path

MOUNTED = Path("/etc/flprivacy")  # a folder for the ConfigMap and one for each Secret
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*")


def read_mounted(root: Path = MOUNTED) -> None:
    """Set the environment variables that files below ``root`` are named after, unless they are set already."""
    for file in sorted(root.glob("*/*")):
        if _VARIABLE.fullmatch(file.name) and file.is_file():
            os.environ.setdefault(file.name, file.read_text().strip())
