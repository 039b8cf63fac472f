"""Servers that the tests of what steps do talk to."""

from tests.services.fixtures import bucket, ceph, clean_environment, emulator, gcs, nobody, scripted

__all__ = ["bucket", "ceph", "clean_environment", "emulator", "gcs", "nobody", "scripted"]
