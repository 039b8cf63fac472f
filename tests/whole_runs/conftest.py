"""Servers that tests of whole runs talk to."""

from tests.services.fixtures import bucket, ceph, clean_environment

__all__ = ["bucket", "ceph", "clean_environment"]
