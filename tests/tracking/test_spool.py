"""The spool: whole results, in a folder or an object store, each once, gone when they are filed."""

from pathlib import Path

import pytest

from flprivacy.core.digests import digest_file
from flprivacy.tracking import spool
from flprivacy.tracking.filing import Filing

FILING = Filing(kfp_run="k", plugin_run="p")


@pytest.fixture(params=["folder", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "store") if request.param == "folder" else str(request.getfixturevalue("gcs"))


@pytest.fixture
def result(tmp_path: Path) -> Path:
    (tmp_path / "audit" / "scores").mkdir(parents=True)
    (tmp_path / "audit" / "audit.json").write_text("{}")
    (tmp_path / "audit" / "scores" / "a.parquet").write_bytes(b"scores")
    (tmp_path / "report" / "figures").mkdir(parents=True)
    (tmp_path / "report" / "report.html").write_text("<html>")
    (tmp_path / "report" / "figures" / "f.png").write_bytes(b"png")
    return tmp_path


def _put(result: Path, store: str, filing: Filing = FILING) -> str:
    return spool.put(audit=result / "audit", report=result / "report", filing=filing, store=store)


def test_a_result_is_kept_whole_until_it_is_removed(result: Path, store: str) -> None:
    assert spool.waiting(store) == []
    key = _put(result, store)
    assert _put(result, store) == key, "the same result for the same run is kept once"
    other = _put(result, store, Filing(kfp_run="another"))
    assert spool.waiting(store) == sorted([key, other])
    with spool.taken(key, store) as entry:
        assert entry is not None
        assert entry.filing == FILING
        for name in ("audit/audit.json", "audit/scores/a.parquet", "report/report.html", "report/figures/f.png"):
            assert digest_file(entry.audit.parent / name) == digest_file(result / name)
    spool.remove(key, store)
    assert spool.waiting(store) == [other]
    with spool.taken(key, store) as gone:
        assert gone is None
    spool.remove(key, store)


def test_half_an_entry_is_none(result: Path, tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    key = _put(result, store)
    (tmp_path / "store" / "spool" / key / "filing.json").unlink()  # as if a kill had come before it
    assert spool.waiting(store) == []
    assert _put(result, store) == key
    assert spool.waiting(store) == [key]


def test_a_damaged_entry_is_named(result: Path, tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    key = _put(result, store)
    (tmp_path / "store" / "spool" / key / "filing.json").write_text("{")
    with pytest.raises(spool.DamagedEntryError, match="remove it"), spool.taken(key, store):
        pass
