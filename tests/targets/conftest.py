"""Servers that the tests of steps talk to."""

from tests.services.fixtures import bucket, ceph, clean_environment, emulator, gcs, nobody, scripted

__all__ = ["bucket", "ceph", "clean_environment", "emulator", "gcs", "nobody", "scripted"]
