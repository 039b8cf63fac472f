"""Each worker's share of the cores, and the order of the tests: what takes longest begins first, so that no core is
left alone with it at the end.
"""

import gc
import os
from typing import TYPE_CHECKING

import pytest

from flprivacy.core.tensorflow_environment import share_cores

if TYPE_CHECKING:
    from flprivacy.core.cohort import Cohort

_LONGEST = (
    "tests/whole_runs/test_study.py",
    "tests/whole_runs/test_remote_audit.py",
    "tests/whole_runs/test_disturbed_study.py",  # once test_study.py has made the study that both start from
    "tests/steps/test_spot.py",
    "tests/steps/test_dp_check.py",
    "tests/targets/test_push.py",
    "tests/auditing/test_family.py",
    "tests/packaging/",
    "tests/training/",
    "tests/privacy/test_gradients.py",
    "tests/models/",
    "tests/tracking/",
    "tests/fuzz/",
    "tests/storage/test_faults.py",
    "tests/k8s/test_backup_restore.py",
    "tests/whole_runs/",
)


os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # threads that wait for each other's part of so small matrices
share_cores(int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))
gc.disable()  # until everything is collected


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Move the files that take longest to the front, in this order; the order within each stays."""
    last = len(_LONGEST)
    items.sort(key=lambda item: next((n for n, name in enumerate(_LONGEST) if item.nodeid.startswith(name)), last))


def pytest_collection_finish() -> None:
    """Spare the collector of garbage the modules and tests, which are there to stay: going through them takes long."""
    gc.freeze()
    gc.enable()


@pytest.fixture
def tiny_architecture(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register a network that is built and trained in no time as architecture ``tiny``."""
    from flprivacy.models.registry import ARCHITECTURES
    from tests.training.tiny_training import TINY

    monkeypatch.setitem(ARCHITECTURES, "tiny", TINY)


@pytest.fixture(scope="session")
def scans(tmp_path_factory: pytest.TempPathFactory) -> "Cohort":
    """Return the tiny cohort of three sites."""
    from tests.training.tiny_training import tiny_manifest, write_tiny_cohort

    return write_tiny_cohort(tmp_path_factory.mktemp("scans") / "cohort", tiny_manifest())


@pytest.fixture(scope="session")
def hospitals(tmp_path_factory: pytest.TempPathFactory) -> "Cohort":
    """Return a tiny cohort of five sites, enough to draw halves of them."""
    from tests.training.tiny_training import tiny_manifest, write_tiny_cohort

    return write_tiny_cohort(tmp_path_factory.mktemp("hospitals") / "cohort", tiny_manifest((6, 5, 4, 3, 3)))
