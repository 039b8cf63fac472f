"""Build what `kubectl apply -k` would apply. Needs no cluster and no network."""

import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import yaml

_REMEDY = (
    "install kubectl 1.27 or newer (kubernetes.io/docs/tasks/tools) or kustomize 5 "
    "(with Go: go install sigs.k8s.io/kustomize/kustomize/v5@latest) and put it on the PATH"
)


@cache
def kustomize_command() -> tuple[str, ...]:
    """Return the words that build a folder, without the folder.

    Raises:
        RuntimeError: there is no kustomize 5 here, alone or inside kubectl; the message says what to install.
    """
    tried = []
    for name, version, build in (
        ("kustomize", ("version",), ("build",)),
        ("kubectl", ("version", "--client"), ("kustomize",)),
    ):
        if program := shutil.which(name):
            # kubectl names its own version first and kustomize's in a line of its own.
            text = subprocess.run([program, *version], capture_output=True, text=True, check=False).stdout
            found = re.search(r"^(?:Kustomize Version: )?v?(\d+)\.\d+\S*$", text, re.MULTILINE)
            if found and int(found.group(1)) >= 5:
                return (program, *build)
            tried.append(f"{program} has an older kustomize")
    raise RuntimeError(f"the tests need kustomize 5 or newer ({'; '.join(tried) or 'there is none'}): {_REMEDY}")


def have_kustomize() -> bool:
    """Say whether a kustomize that is new enough is on the PATH."""
    try:
        kustomize_command()
    except RuntimeError:
        return False
    return True


def kustomize(folder: Path) -> list[dict[str, Any]]:
    """Return the resources of a kustomization.

    Raises:
        RuntimeError: the build failed; the message is kustomize's.
    """
    done = subprocess.run([*kustomize_command(), str(folder)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{folder}: {done.stderr.strip()}")
    return [document for document in yaml.load_all(done.stdout, Loader=yaml.CSafeLoader) if document]
