"""The kustomize builds that the tests look at: every overlay as it is, and with all that it offers switched on.

Their outputs are committed in ``built/``, because no Python or Debian package carries a kustomize that is new enough:
a machine without one checks those, a machine with one also checks that they are what it builds.

Usage: python -m tests.k8s.builds    (writes them anew)
"""

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
NODE_POOL = "overlays/gke/node-pool"
BUILT = Path(__file__).with_name("built")

Resource = dict[str, Any]


def switch_on(text: str) -> str:
    """Return a kustomization with its commented components in use."""
    return re.sub(r"^# (- \.\./\.\./components/\S+).*$", r"\1", text, flags=re.MULTILINE)


def fresh(name: str) -> list[Resource]:
    """Build, with kustomize."""
    if name == NODE_POOL:
        return kustomize(K8S / NODE_POOL)
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


def committed(name: str) -> Path:
    """Return the file of a build's output."""
    return BUILT / f"{re.sub('[^a-z]+', '-', name)}.yaml"


@cache
def build(name: str) -> list[Resource]:
    """Return the resources of a build as committed; not to be changed (copy.deepcopy first)."""
    return list(yaml.load_all(committed(name).read_text(), Loader=yaml.CSafeLoader))


def kinds(resources: Iterable[Resource], *wanted: str) -> list[Resource]:
    """Return the resources of some kinds."""
    return [each for each in resources if each["kind"] in wanted]


def label(resource: Resource) -> str:
    """Return kind/namespace/name for messages."""
    meta = resource["metadata"]
    return "/".join(each for each in (resource["kind"], meta.get("namespace", ""), meta["name"]) if each)


if __name__ == "__main__":
    for each in (*BUILDS, NODE_POOL):
        committed(each).write_text(yaml.dump_all(fresh(each), Dumper=yaml.CSafeDumper))
