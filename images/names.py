"""The one file with the images' names and digests, which components and manifests read."""

from dataclasses import dataclass
from pathlib import Path

import yaml

FILE = Path(__file__).with_name("images.yaml")
PROFILES = ("audit", "train", "mlflow")
_HEAD = """\
# Names of the images that components and manifests use, and their digests once they are pushed.
# Written by `make images`; `make compile` puts them into the pipelines.
"""


@dataclass(frozen=True, kw_only=True)
class Image:
    """An image's name.

    Attributes:
        image: ``repository:tag``.
        digest: ``sha256:...`` of what was pushed; empty if nothing was.
    """

    image: str
    digest: str

    @property
    def reference(self) -> str:
        """``repository:tag@digest``, or without a digest if there is none."""
        return f"{self.image}@{self.digest}" if self.digest else self.image


def read_names(file: Path = FILE) -> dict[str, Image]:
    """Return the images by profile."""
    return {profile: Image(**fields) for profile, fields in yaml.safe_load(file.read_text()).items()}


def write_names(names: dict[str, Image], file: Path = FILE) -> bool:
    """Write the images by profile; return whether that changed anything."""
    fields = {profile: {"image": names[profile].image, "digest": names[profile].digest} for profile in names}
    text = _HEAD + yaml.safe_dump(fields, sort_keys=False)
    if file.exists() and file.read_text() == text:
        return False
    file.write_text(text)
    return True
