"""The kustomize component with the images' names follows images/images.yaml."""

import pytest
import yaml

from images.names import Image, read_names
from k8s.images import TARGET, kustomization, main
from tests.k8s.builds import BUILDS, build
from tests.k8s.checks import containers


def test_the_component_is_in_step() -> None:
    assert TARGET.read_text(encoding="utf-8") == kustomization(read_names())
    main(["--check"])


def test_a_digest_goes_before_a_tag() -> None:
    digest = "sha256:" + "0" * 64
    names = {
        "mlflow": Image(image="registry.example:5000/team/mlflow:0.1.0", digest=digest),
        "audit": Image(image="flprivacy/audit:0.1.0", digest=""),
    }
    found = {each["name"]: each for each in yaml.safe_load(kustomization(names))["images"]}
    assert found["flprivacy/mlflow"]["newName"] == "registry.example:5000/team/mlflow"
    assert found["flprivacy/mlflow"]["digest"] == digest
    assert "newTag" not in found["flprivacy/mlflow"]
    assert found["flprivacy/audit"] == {"name": "flprivacy/audit", "newName": "flprivacy/audit", "newTag": "0.1.0"}


def test_an_image_without_a_tag_is_refused() -> None:
    with pytest.raises(SystemExit, match=r"'registry\.example:5000/team/mlflow' of flprivacy/mlflow has no tag"):
        kustomization({"mlflow": Image(image="registry.example:5000/team/mlflow", digest="")})


def test_an_unknown_argument_is_refused() -> None:
    with pytest.raises(SystemExit, match="usage"):
        main(["--chek"])


@pytest.mark.parametrize("name", BUILDS)
def test_builds_use_these_images(name: str) -> None:
    ours = read_names()["mlflow"]
    expected = ours.image.rpartition(":")[0] + "@" + ours.digest if ours.digest else ours.image
    found = {container["image"] for _, _, container in containers(build(name))}
    assert expected in found
    assert {image for image in found if "mlflow" in image} == {expected}
    assert all("/" in image for image in found)  # none that the component does not know
