"""Write components/images/kustomization.yaml from images/images.yaml, the one file that names our images.

python -m k8s.images            write it
python -m k8s.images --check    say whether it is in step, change nothing
"""

import sys
from collections.abc import Mapping
from pathlib import Path

import yaml

from images.names import Image, read_names

TARGET = Path(__file__).with_name("components") / "images" / "kustomization.yaml"

# Not ours. PostgreSQL 17 gets fixes until November 2029.
_OTHERS = {"postgres": Image(image="docker.io/library/postgres:17-bookworm", digest="")}

_HEAD = """\
# Written by `python -m k8s.images` from images/images.yaml; do not edit.
apiVersion: kustomize.config.k8s.io/v1alpha1
kind: Component
"""


def _entry(name: str, image: Image) -> dict[str, str]:
    """Return an entry of kustomize's ``images``: the digest if there is one, else the tag."""
    repository, colon, tag = image.image.rpartition(":")
    if not colon or "/" in tag:
        raise SystemExit(f"images/images.yaml: image {image.image!r} of {name} has no tag; write repository:tag")
    return {"name": name, "newName": repository} | ({"digest": image.digest} if image.digest else {"newTag": tag})


def kustomization(names: Mapping[str, Image]) -> str:
    """Return the component's text for our images by profile."""
    ours = [_entry(f"flprivacy/{profile}", image) for profile, image in names.items()]
    others = [_entry(name, image) for name, image in _OTHERS.items()]
    return _HEAD + yaml.safe_dump({"images": ours + others}, sort_keys=False)


def main(arguments: list[str]) -> None:
    """Write the component, or check it.

    Args:
        arguments: nothing, or ``--check``.

    Raises:
        SystemExit: the component is out of step, or an image has no tag.
    """
    text = kustomization(read_names())
    if arguments == ["--check"]:
        if TARGET.read_text(encoding="utf-8") != text:
            raise SystemExit("k8s/components/images is out of step with images/images.yaml: run python -m k8s.images")
    elif arguments:
        raise SystemExit("usage: python -m k8s.images [--check]")
    else:
        TARGET.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
