"""A cohort handed on by its place: nothing of a patient in the folder, and each step reads what it needs, once."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from flprivacy.cohorts.format import open_cohort, read_volumes
from flprivacy.cohorts.placed import PLACE_FILE, open_manifest, open_rows, write_place
from flprivacy.cohorts.remote import look_at_cohort
from flprivacy.core.cohort import Cohort
from flprivacy.core.errors import CohortError, StorageError
from flprivacy.storage.backends.contract import ChangedObjectError
from flprivacy.storage.places import CACHE_VARIABLE
from flprivacy.study.given_cohort import pull_cohort
from flprivacy.study.plan import Plan
from tests.audit_plan import audit_plan
from tests.services.fixtures import clear_environment
from tests.services.scripted_s3 import ScriptedS3, scripted_s3
from tests.steps.source_examples import URI, VOLUME_BYTES, serve, volume_bytes, write_source

_HEADS = 3 * 5000


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedS3]:
    clear_environment(monkeypatch, tmp_path / "no-such-file")
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    with scripted_s3() as found:
        monkeypatch.setenv("AWS_ENDPOINT_URL", found.endpoint)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "scripted")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret-key")
        yield found


@pytest.fixture
def source(server: ScriptedS3, tmp_path: Path) -> Cohort:
    cohort = write_source(tmp_path / "source")
    serve(server, cohort.folder)
    write_place(tmp_path / "placed", look_at_cohort(URI))
    server.sent.clear()
    return cohort


def test_the_folder_holds_nothing_of_a_patient(source: Cohort, tmp_path: Path) -> None:
    assert sorted(path.name for path in (tmp_path / "placed").iterdir()) == ["cohort.json", PLACE_FILE]
    text = "".join(path.read_text() for path in (tmp_path / "placed").iterdir())
    assert "secret-" not in text
    named = json.loads((tmp_path / "placed" / PLACE_FILE).read_text())
    assert (named["uri"], named["scans"], set(named)) == (URI, 120, {"uri", "version", "scans"})


def test_with_a_store_that_others_see_it_is_handed_on_by_its_place(
    source: Cohort, server: ScriptedS3, tmp_path: Path
) -> None:
    plan, store = audit_plan(tmp_path / "plan.json", cohort=URI, fractions=[0.1], seeds=[0]), "file:///store"
    told = pull_cohort(Plan.read(plan), tmp_path / "out", store=store)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["cohort.json", "place.json"]
    facts = {"digest": source.meta.digest, "cohort": "source", "scans": 120, "sites": 3, "place": URI}
    assert told == facts
    assert volume_bytes(server) == 0


def test_who_needs_no_volume_reads_none(source: Cohort, server: ScriptedS3, tmp_path: Path) -> None:
    opened = open_manifest(tmp_path / "placed")
    assert opened.meta == source.meta
    pd.testing.assert_frame_equal(opened.manifest, source.manifest)
    assert volume_bytes(server) == 0
    with pytest.raises(CohortError, match="1 others are asked for"):
        read_volumes(opened, np.array([3]))


def test_a_volume_is_read_once_by_all_who_share_the_cache(
    source: Cohort, server: ScriptedS3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few, more = source.rows("test")[::2], source.rows("test")
    opened = open_rows(tmp_path / "placed", lambda cohort: cohort.rows("test")[::2])
    np.testing.assert_array_equal(read_volumes(opened, few[::-1]), read_volumes(source, few[::-1]))
    first = volume_bytes(server)
    assert len(few) * VOLUME_BYTES <= first <= 1.05 * len(few) * VOLUME_BYTES + _HEADS
    with pytest.raises(CohortError, match=r"holds .* of the cohort's 120 volumes"):
        read_volumes(opened, more)
    opened = open_rows(tmp_path / "placed", lambda cohort: cohort.rows("test"))
    np.testing.assert_array_equal(read_volumes(opened, more), read_volumes(source, more))
    assert volume_bytes(server) - first <= 1.05 * (len(more) - len(few)) * VOLUME_BYTES
    assert volume_bytes(server) - first >= (len(more) - len(few)) * VOLUME_BYTES
    both = volume_bytes(server)
    open_rows(tmp_path / "placed", lambda cohort: cohort.rows("test"))
    assert volume_bytes(server) == both
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "another node"))
    open_rows(tmp_path / "placed", lambda cohort: cohort.rows("test"))
    assert volume_bytes(server) > both


def test_what_an_interrupted_step_left_is_mended(source: Cohort, server: ScriptedS3, tmp_path: Path) -> None:
    opened = open_rows(tmp_path / "placed", lambda cohort: cohort.rows("test"))
    for path in (opened.folder / "volumes").iterdir():
        with path.open("r+b") as stream:  # as if killed before the header and in the middle of a volume
            stream.write(bytes(128))
            stream.seek(-VOLUME_BYTES // 2, 2)
            stream.write(b"half")
    again = open_rows(tmp_path / "placed", lambda cohort: np.arange(120))
    np.testing.assert_array_equal(read_volumes(again, np.arange(120)), read_volumes(source, np.arange(120)))


def test_another_cohort_at_the_place_is_refused(source: Cohort, server: ScriptedS3, tmp_path: Path) -> None:
    other = write_source(tmp_path / "other", seed=6)
    serve(server, other.folder)
    with pytest.raises(ChangedObjectError, match="changed since it was resolved"):
        open_manifest(tmp_path / "placed")


def test_damaged_volumes_are_refused(source: Cohort, server: ScriptedS3, tmp_path: Path) -> None:
    objects = server.objects["bucket"]
    key = "data/cohort/volumes/Site A.npy"
    objects[key] = objects[key][:128] + bytes(len(objects[key]) - 128)
    write_place(tmp_path / "placed", look_at_cohort(URI))
    with pytest.raises(StorageError, match=r"volume .* is not what its checksum says"):
        open_rows(tmp_path / "placed", lambda cohort: cohort.rows("test"))


def test_a_cohort_in_a_folder_is_opened_there(source: Cohort, tmp_path: Path) -> None:
    for number, place in enumerate((str(source.folder), f"file://{source.folder}")):
        write_place(tmp_path / f"named{number}", look_at_cohort(place))
        assert open_rows(tmp_path / f"named{number}", lambda cohort: cohort.rows("test")).folder == source.folder
    assert open_manifest(source.folder).places is None
    assert open_cohort(source.folder).meta == source.meta
