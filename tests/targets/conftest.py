"""Servers that the tests of targets talk to."""

from tests.services.fixtures import bucket, ceph, clean_environment, scripted

__all__ = ["bucket", "ceph", "clean_environment", "scripted"]
