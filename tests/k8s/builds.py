"""The kustomize builds that the tests look at: every overlay as it is, and with all that it offers switched on."""

import re
import shutil
import tempfile
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.services.kustomize import kustomize

K8S = Path(__file__).parents[2] / "k8s"
OVERLAYS = ("gke", "eks", "standalone")
# The settings of a build with everything on: those that the components ask for, and values other than the overlay's own
# (a profile of KFP's multi-user mode, where the steps live elsewhere than KFP; a port that is not HTTPS's).
OTHER_SETTINGS = {
    "database-host": "db.hospital.example",
    "database-cidr": "10.9.0.0/24",
    "webhook-cidr": "10.8.0.0/24",
    "steps-namespace": "privacy-team",
    "object-store-port": "9000",
}
EVERYTHING = tuple(f"{overlay}, everything on" for overlay in OVERLAYS)
BUILDS = (*OVERLAYS, *EVERYTHING)

Resource = dict[str, Any]


def switch_on(text: str) -> str:
    """Return a kustomization with its commented components in use."""
    return re.sub(r"^# (- \.\./\.\./components/\S+).*$", r"\1", text, flags=re.MULTILINE)


@cache
def _build(name: str) -> list[Resource]:
    overlay, _, everything = name.partition(",")
    if not everything:
        return kustomize(K8S / "overlays" / overlay)
    with tempfile.TemporaryDirectory() as work:
        copy = Path(shutil.copytree(K8S, Path(work) / "k8s")) / "overlays" / overlay
        file, settings = copy / "kustomization.yaml", copy / "settings.yaml"
        file.write_text(switch_on(file.read_text()))
        document = yaml.safe_load(settings.read_text())
        document["data"] |= OTHER_SETTINGS
        settings.write_text(yaml.safe_dump(document))
        return kustomize(copy)


def build(name: str) -> list[Resource]:
    """Return the resources of a build; not to be changed (copy.deepcopy first)."""
    return _build(name)


def kinds(resources: Iterable[Resource], *wanted: str) -> list[Resource]:
    """Return the resources of some kinds."""
    return [each for each in resources if each["kind"] in wanted]


def label(resource: Resource) -> str:
    """Return kind/namespace/name for messages."""
    meta = resource["metadata"]
    return "/".join(each for each in (resource["kind"], meta.get("namespace", ""), meta["name"]) if each)
