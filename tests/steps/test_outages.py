"""Servers that are away for a while: in a pod each kind of step waits for them, and its result is the same."""

import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from flprivacy.cohorts.format import verify_cohort
from flprivacy.cohorts.remote import push_cohort
from flprivacy.core.cohort import Cohort
from flprivacy.core.digests import digest_file
from flprivacy.core.errors import StorageError
from flprivacy.core.retry import PATIENCE_VARIABLE
from flprivacy.storage.artifact_store import Store
from flprivacy.storage.places import open_store
from flprivacy.study.given_cohort import pull_cohort
from flprivacy.study.plan import Plan
from tests.audit_plan import audit_plan
from tests.services.ceph import Gateway
from tests.services.outage import Way, way_to
from tests.steps.source_examples import write_source

AWAY_SECONDS, PATIENCE_SECONDS = 0.6, 30


class _OpenAgain(logging.Handler):
    """Opens a way that was cut as soon as somebody says that the server is away."""

    def __init__(self, way: Way) -> None:
        super().__init__()
        self._way = way

    def emit(self, record: logging.LogRecord) -> None:
        if "try 2 follows in" in record.getMessage() and self._way.is_cut:
            self._way.open()


@pytest.fixture
def way(bucket: str, ceph: Gateway, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Way]:
    """The way to the object store, as a pod's step has it."""
    monkeypatch.setenv("FLPRIVACY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv(PATIENCE_VARIABLE, str(PATIENCE_SECONDS))
    with way_to(urlsplit(ceph.endpoint).port or 0) as found:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{found.port}")
        yield found


@pytest.fixture
def source(way: Way, bucket: str, tmp_path: Path) -> Cohort:
    cohort = write_source(tmp_path / "source")
    push_cohort(folder=cohort.folder, uri=f"{bucket}/cohort")
    return cohort


def _cut_again_and_again(way: Way, done: threading.Event) -> None:
    while not done.wait(0.05):
        way.cut_for(AWAY_SECONDS).join()


def test_a_cohort_is_read_through_an_outage_from_the_first_request_on(
    way: Way, source: Cohort, bucket: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    logger, handler = logging.getLogger("flprivacy"), _OpenAgain(way)
    request.addfinalizer(lambda level=logger.level: logger.setLevel(level))
    request.addfinalizer(lambda: logger.removeHandler(handler))
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    run = Plan.read(audit_plan(tmp_path / "plan.json", cohort=f"{bucket}/cohort"))
    way.cut()
    assert pull_cohort(run, tmp_path / "out", store=str(tmp_path / "store"))["digest"] == source.meta.digest
    assert not way.is_cut  # so a first try had failed
    assert verify_cohort(tmp_path / "out").meta == source.meta


def test_a_store_is_written_and_read_through_outages(way: Way, bucket: str, tmp_path: Path) -> None:
    content, done = bytes(range(256)) * 8192, threading.Event()

    def make(work: Path, folder: Path) -> None:
        for number in range(4):
            (folder / f"{number}.bin").write_bytes(content)

    def built(home: str) -> list[str]:
        store: Store = open_store(f"{bucket}/store")
        return [digest_file(one) for one in sorted(store.build("scores", {"of": home}, make).glob("*.bin"))]

    cutter = threading.Thread(target=_cut_again_and_again, args=(way, done))
    cutter.start()
    try:
        first = built("a")
    finally:
        done.set()
        cutter.join()
    assert len(first) == 4
    back = way.cut_for(AWAY_SECONDS)
    assert built("a") == first
    back.join()


def test_outside_a_pod_a_server_that_never_answered_is_given_up_at_once(
    way: Way, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(PATIENCE_VARIABLE)
    way.cut()
    run = Plan.read(audit_plan(tmp_path / "plan.json", cohort=f"{bucket}/cohort"))
    with pytest.raises(StorageError, match="gave up after 4 tries"):
        pull_cohort(run, tmp_path / "out")
