"""Servers that the end-to-end tests talk to."""

from tests.services.fixtures import bucket, ceph, clean_environment

__all__ = ["bucket", "ceph", "clean_environment"]
