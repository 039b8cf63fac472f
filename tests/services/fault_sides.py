"""The two servers that fail on purpose, behind one interface for the fault runs."""

from dataclasses import dataclass, field
from pathlib import Path

from tests.services.scripted_gcs import ScriptedGcs
from tests.services.scripted_s3 import ScriptedS3


@dataclass
class S3Side:
    """Objects of a scripted S3 server.

    Attributes:
        server: the server.
        uri: where the cohort is.
    """

    server: ScriptedS3 = field(default_factory=ScriptedS3)
    uri: str = "s3://bucket/cohort"

    def environment(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.server.endpoint,
            "AWS_ACCESS_KEY_ID": "scripted",
            "AWS_SECRET_ACCESS_KEY": "scripted",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def put(self, objects: dict[str, bytes]) -> None:
        """Make these all that the bucket holds, unchanged where they are there already."""
        self.server.objects["bucket"] = dict(objects)

    def replace(self, key: str, data: bytes) -> None:
        """Replace one object by another."""
        self.server.objects["bucket"][key] = data


@dataclass
class GcsSide:
    """Objects of a scripted Google Cloud Storage; as :class:`S3Side`."""

    server: ScriptedGcs = field(default_factory=ScriptedGcs)
    uri: str = "gs://b/cohort"

    def environment(self) -> dict[str, str]:
        return {"STORAGE_EMULATOR_HOST": self.server.endpoint}

    def put(self, objects: dict[str, bytes]) -> None:
        self.server.objects.update({key: (1, data) for key, data in objects.items()})

    def replace(self, key: str, data: bytes) -> None:
        self.server.objects[key] = (2, data)


SIDES = {"S3": S3Side, "GCS": GcsSide}


def read_folder(folder: Path) -> dict[str, bytes]:
    """Return a cohort's files as objects."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {f"cohort/{path.relative_to(folder).as_posix()}": path.read_bytes() for path in files}
