"""The order of the tests: what takes longest begins first, so that no core is left alone with it at the end."""

import pytest

_LONGEST = (
    "tests/end_to_end/",
    "tests/fuzz/",
    "tests/storage/test_faults.py",
    "tests/tracking/",
    "tests/k8s/test_backup_restore.py",
    "tests/steps/test_spot.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Move the files that take longest to the front; the order within each stays."""
    items.sort(key=lambda item: not item.nodeid.startswith(_LONGEST))
