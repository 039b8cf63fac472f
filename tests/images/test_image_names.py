"""One file names the images: components, compiled pipelines and the version agree with it."""

import re
import tomllib
from pathlib import Path

import pytest

from components.pattern import AUDIT_IMAGE, TRAIN_IMAGE
from images.names import PROFILES, Image, read_names, write_names

ROOT = Path(__file__).parents[2]


def test_the_tag_is_the_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    names = read_names()
    assert tuple(names) == PROFILES
    for profile, image in names.items():
        assert re.fullmatch(rf"\S+/{profile}:{re.escape(version)}", image.image)
        assert re.fullmatch(r"(sha256:[0-9a-f]{64})?", image.digest)


def test_compiled_pipelines_name_these_images_and_no_other() -> None:
    assert tuple(read_names()[profile].reference for profile in ("audit", "train")) == (AUDIT_IMAGE, TRAIN_IMAGE)
    found = set()
    for file in (ROOT / "pipelines" / "compiled").glob("*.yaml"):
        found |= set(re.findall(r"^ +image: (\S+)$", file.read_text(), flags=re.MULTILINE))
    assert found == {AUDIT_IMAGE, TRAIN_IMAGE}


@pytest.mark.parametrize("digest", ["", "sha256:" + 64 * "a"])
def test_what_is_written_is_read(tmp_path: Path, digest: str) -> None:
    file = tmp_path / "images.yaml"
    names = {profile: Image(image=f"registry:5000/x/{profile}:1.2", digest=digest) for profile in PROFILES}
    assert write_names(names, file) is True
    assert read_names(file) == names
    assert write_names(names, file) is False
    assert names["audit"].reference == f"registry:5000/x/audit:1.2{'@' + digest if digest else ''}"
