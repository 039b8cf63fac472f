"""Each worker's share of the cores, and the order of the tests: what takes longest begins first, so that no core is
left alone with it at the end.
"""

import os

import pytest

from flprivacy.core.tensorflow_environment import share_cores

_LONGEST = (
    "tests/whole_runs/",
    "tests/fuzz/",
    "tests/storage/test_faults.py",
    "tests/tracking/",
    "tests/k8s/test_backup_restore.py",
    "tests/steps/test_spot.py",
)


share_cores(int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Move the files that take longest to the front; the order within each stays."""
    items.sort(key=lambda item: not item.nodeid.startswith(_LONGEST))
