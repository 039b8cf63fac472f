"""Locks of the images: hashes for all, no address of an index, and the versions that the tests run with."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCKS = [*sorted((ROOT / "images").glob("*.lock")), *sorted((ROOT / "images").glob("*/requirements.lock"))]
_PINNED = re.compile(r"^([a-z0-9][a-z0-9-]*)==(\S+?)(?: ;.*)? \\$")


def pinned(lock: Path) -> dict[str, str]:
    """Return the versions by name; refuses a line that is no pin, hash or comment."""
    versions: dict[str, str] = {}
    hashes = 0
    for line in lock.read_text().splitlines():
        if match := _PINNED.match(line):
            assert not versions or hashes, f"{list(versions)[-1]} has no hash"
            versions[match.group(1)] = match.group(2)
            hashes = 0
        elif re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}(?: \\)?", line):
            hashes += 1
        else:
            assert re.match(r" *#", line), f"{lock.name}: {line!r}"
    assert hashes
    return versions


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: str(path.relative_to(ROOT)))
def test_everything_has_hashes_and_nothing_an_address(lock: Path) -> None:
    assert len(pinned(lock)) >= 3
    assert "://" not in lock.read_text()


def test_there_is_a_lock_for_each_image() -> None:
    assert {lock.parent.name for lock in LOCKS} == {"images", "audit", "train", "mlflow"}


@pytest.mark.parametrize("profile", ["audit", "train", "mlflow"])
def test_images_hold_the_versions_that_the_tests_run_with(profile: str) -> None:
    tested = pinned(ROOT / "requirements.lock")
    image = pinned(ROOT / "images" / profile / "requirements.lock")
    assert not {name for name in image if name in tested and tested[name] != image[name]}
    assert len(set(image) & set(tested)) > 50


@pytest.mark.parametrize("profile", ["audit", "train"])
def test_every_dependency_of_the_package_is_in(profile: str) -> None:
    image = pinned(ROOT / "images" / profile / "requirements.lock")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {re.split(r"[><=\[]", word)[0].lower() for word in project["dependencies"]}
    assert wanted <= set(image)
    assert "kfp" in image  # the components have install_kfp_package=False
    assert not set(image) & {"pytest", "ruff", "mypy"}


def test_each_image_has_its_own_kind_of_tensorflow() -> None:
    audit, train, mlflow = (
        pinned(ROOT / "images" / name / "requirements.lock") for name in ("audit", "train", "mlflow")
    )
    assert "tensorflow-cpu" in audit
    assert not [name for name in audit if name.startswith("nvidia-")]
    assert "tensorflow-cpu" not in train
    assert {"tensorflow", "nvidia-cudnn-cu12", "nvidia-cuda-runtime-cu12"} <= set(train)
    assert audit["tensorflow-cpu"] == train["tensorflow"]
    assert {"mlflow", "psycopg2-binary", "boto3", "google-cloud-storage", "flask-wtf"} <= set(mlflow)
    assert not {"tensorflow", "tensorflow-cpu", "kfp"} & set(mlflow)
