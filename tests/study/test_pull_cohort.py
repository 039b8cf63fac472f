"""Pulling a cohort: only what the audit reads, the same exposed scans, nothing again, nothing wrong."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from flprivacy.cohorts.format import open_cohort, read_volumes, verify_cohort
from flprivacy.cohorts.remote import bring_rows, find_cohort, look_at_cohort, push_cohort
from flprivacy.cohorts.sampling import exposed_rows, member_rows
from flprivacy.cohorts.selection import PRESENT_FILE
from flprivacy.core.cohort import Cohort
from flprivacy.core.errors import CohortError, ConfigError, FlprivacyError, StorageError
from flprivacy.storage.backends.contract import MissingObjectError
from flprivacy.study.given_cohort import pull_cohort
from flprivacy.study.plan import Plan
from tests.audit_plan import audit_plan
from tests.cohorts.tiny_cohort import change_manifest
from tests.services.scripted_s3 import ScriptedS3
from tests.steps.source_examples import URI, VOLUME_BYTES, exposed, serve, volume_bytes, write_source

_FRACTIONS, _SEEDS = (0.1, 0.25), (0, 1, 2)
_HEADS = 3 * 5000


@pytest.fixture
def source(scripted: ScriptedS3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cohort:
    monkeypatch.setenv("FLPRIVACY_HOME", str(tmp_path / "home"))
    cohort = write_source(tmp_path / "source")
    serve(scripted, cohort.folder)
    return cohort


def _pull(out: Path, **changes: object) -> str:
    asked = {"cohort": URI, "fractions": _FRACTIONS, "seeds": _SEEDS} | changes
    plan = audit_plan(out.with_suffix(".json"), **asked)  # type: ignore[arg-type]
    return str(pull_cohort(Plan.read(plan), out)["digest"])


def test_it_holds_what_the_attacks_read_and_nothing_else(source: Cohort, tmp_path: Path) -> None:
    assert _pull(tmp_path / "out") == source.meta.digest
    pulled = verify_cohort(tmp_path / "out")
    members = member_rows(source, fractions=_FRACTIONS, seeds=_SEEDS)
    assert len(members)
    wanted = np.unique(np.concatenate([source.rows("test"), exposed(source, _FRACTIONS, _SEEDS), members]))
    assert pulled.places is not None
    np.testing.assert_array_equal(np.flatnonzero(pulled.places >= 0), wanted)
    np.testing.assert_array_equal(read_volumes(pulled, wanted[::-1]), read_volumes(source, wanted[::-1]))
    stored = sum(path.stat().st_size for path in (tmp_path / "out" / "volumes").iterdir())
    assert stored == len(wanted) * VOLUME_BYTES + 3 * 128


def test_exposure_counts_and_identity_are_those_of_the_whole_cohort(source: Cohort, tmp_path: Path) -> None:
    _pull(tmp_path / "out")
    pulled = open_cohort(tmp_path / "out")
    assert pulled.meta == source.meta
    pd.testing.assert_frame_equal(pulled.manifest, source.manifest)
    for fraction in _FRACTIONS:
        for seed in _SEEDS:
            np.testing.assert_array_equal(
                exposed_rows(pulled, fraction=fraction, seed=seed), exposed_rows(source, fraction=fraction, seed=seed)
            )


def test_volumes_that_were_not_pulled_are_refused_not_invented(source: Cohort, tmp_path: Path) -> None:
    _pull(tmp_path / "out")
    pulled = open_cohort(tmp_path / "out")
    with pytest.raises(CohortError) as caught:
        read_volumes(pulled, pulled.rows("train"))
    assert "pull the cohort with the fractions and seeds of this audit, or whole" in str(caught.value)


def test_ten_percent_of_one_seed_moves_at_most_twelve_percent_of_the_training_bytes(
    scripted: ScriptedS3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLPRIVACY_HOME", str(tmp_path / "home"))
    cohort = write_source(tmp_path / "large", scans=2000)
    serve(scripted, cohort.folder)
    rows = exposed_rows(cohort, fraction=0.1, seed=4)
    for name in ("work", "out"):
        (tmp_path / name).mkdir()
    bring_rows(look_at_cohort(URI), rows, work=tmp_path / "work", folder=tmp_path / "out")
    share = (volume_bytes(scripted) - _HEADS) / (len(cohort.rows("train")) * VOLUME_BYTES)
    assert 0.09 < share <= 0.12
    assert scripted.sent.total() == pytest.approx(volume_bytes(scripted), abs=120_000)  # and the manifest


def test_for_an_attacker_who_sees_all_the_whole_cohort_comes(source: Cohort, tmp_path: Path) -> None:
    _pull(tmp_path / "out", fractions=[1.0])
    pulled = verify_cohort(tmp_path / "out")
    assert pulled.places is None
    assert not (tmp_path / "out" / PRESENT_FILE).exists()
    for path in (source.folder / "volumes").iterdir():
        assert (tmp_path / "out" / "volumes" / path.name).read_bytes() == path.read_bytes()


def test_nothing_moves_again_while_nothing_changed(source: Cohort, scripted: ScriptedS3, tmp_path: Path) -> None:
    resolved = find_cohort(URI).version
    assert volume_bytes(scripted) == 0
    _pull(tmp_path / "out")
    scripted.sent.clear()
    assert find_cohort(URI).version == resolved
    _pull(tmp_path / "again")
    assert volume_bytes(scripted) == 0
    assert verify_cohort(tmp_path / "again").meta == source.meta


def test_more_seeds_are_another_selection_of_the_same_cohort(source: Cohort, tmp_path: Path) -> None:
    first = _pull(tmp_path / "out")
    assert _pull(tmp_path / "more", seeds=(0, 1, 2, 3)) == first
    few, more = (open_cohort(tmp_path / name).places for name in ("out", "more"))
    assert few is not None
    assert more is not None
    assert (few >= 0).sum() < (more >= 0).sum()


@pytest.mark.parametrize("name", ["cohort.json", "manifest.parquet", "volumes/Site B.npy"])
def test_any_change_changes_what_is_resolved(source: Cohort, scripted: ScriptedS3, tmp_path: Path, name: str) -> None:
    resolved = find_cohort(URI).version
    data = scripted.objects["bucket"][f"data/cohort/{name}"]
    if name == "cohort.json":
        changed = json.dumps(json.loads(data) | {"name": "other"}).encode()
    elif name == "manifest.parquet":
        frame = pd.read_parquet(source.folder / name)
        frame.to_parquet(tmp_path / "m", index=False, compression=None)  # other bytes, the same rows
        changed = (tmp_path / "m").read_bytes()
    else:
        changed = data[:-1] + bytes([data[-1] ^ 1])
    scripted.objects["bucket"][f"data/cohort/{name}"] = changed
    assert find_cohort(URI).version != resolved


def test_a_cohort_on_this_disk_is_linked_whole(source: Cohort, tmp_path: Path) -> None:
    for number, location in enumerate((str(source.folder), f"file://{source.folder}")):
        out = tmp_path / f"out{number}"
        assert _pull(out, cohort=location) == source.meta.digest
        assert open_cohort(out).places is None
        shard = next((out / "volumes").iterdir())
        assert shard.samefile(source.folder / "volumes" / shard.name)


def test_a_cohort_on_another_disk_is_pulled_in_part(source: Cohort, tmp_path: Path) -> None:
    memory = Path("/dev/shm") if Path("/dev/shm").stat().st_dev != tmp_path.stat().st_dev else None
    assert memory is not None, "this machine has no second file system to test with"
    out = memory / f"flprivacy-test-{tmp_path.name}"
    try:
        _pull(out, cohort=str(source.folder))
        assert verify_cohort(out).places is not None
    finally:
        shutil.rmtree(out, ignore_errors=True)


def test_a_pulled_cohort_can_be_handed_on_but_not_published(
    source: Cohort, scripted: ScriptedS3, tmp_path: Path
) -> None:
    _pull(tmp_path / "out")
    _pull(tmp_path / "next", cohort=str(tmp_path / "out"))
    verify_cohort(tmp_path / "next")
    with pytest.raises(CohortError, match="publish the whole cohort"):
        push_cohort(folder=tmp_path / "out", uri="s3://bucket/part")
    serve(scripted, tmp_path / "out", prefix="part")
    with pytest.raises(CohortError, match="not one that was pulled in part"):
        _pull(tmp_path / "other", cohort="s3://bucket/part", fractions=[0.9])


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"fractions": [10]}, ConfigError, "a fraction, not percent"),
        ({"seeds": [-1]}, ConfigError, "must not be negative"),
        ({"cohort": "http://host/cohort"}, StorageError, "not a location"),
        ({"cohort": "s3://bucket/none"}, MissingObjectError, "s3://bucket/none/cohort.json: no such object"),
        ({"cohort": "s3://elsewhere/none"}, MissingObjectError, "no such bucket"),
    ],
)
def test_wrong_arguments_are_one_line(
    source: Cohort, tmp_path: Path, changes: dict[str, object], error: type[FlprivacyError], words: str
) -> None:
    with pytest.raises(error) as caught:
        _pull(tmp_path / "out", **changes)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def _shard(name: str):  # type: ignore[no-untyped-def]
    def change(folder: Path) -> None:
        change_manifest(folder, lambda frame: frame.assign(shard=frame["shard"].where(frame["site_id"] > 0, name)))

    return change


def _header(shape: tuple[int, ...], descr: str = "|u1"):  # type: ignore[no-untyped-def]
    def change(folder: Path) -> None:
        path = folder / "volumes" / "Site A.npy"
        data = path.read_bytes()[128:]
        with path.open("wb") as stream:
            np.lib.format.write_array_header_1_0(stream, {"descr": descr, "fortran_order": False, "shape": shape})
            stream.write(data)

    return change


def _truncate(folder: Path) -> None:
    path = folder / "volumes" / "Site A.npy"
    path.write_bytes(path.read_bytes()[:-1])


def _damage(folder: Path) -> None:
    path = folder / "volumes" / "Site A.npy"
    data = bytearray(path.read_bytes())
    data[128:] = bytes(len(data) - 128)
    path.write_bytes(data)


def _remove(folder: Path) -> None:
    (folder / "volumes" / "Site A.npy").unlink()


def _huge(folder: Path) -> None:
    (folder / "cohort.json").write_bytes(b" " * (2 << 20))


def _redigested(folder: Path) -> None:
    change_manifest(folder, lambda frame: frame.assign(age_years=50.0), redigest=False)


@pytest.mark.parametrize(
    ("attack", "words"),
    [
        (_shard("../../../etc/passwd"), "leaves the cohort's folder"),
        (_shard("/etc/passwd"), "leaves the cohort's folder"),
        (_shard("volumes/a//b.npy"), "leaves"),
        (_header((1 << 60, 3, 20, 30)), "truncated"),
        (_header((74, 3, 20, 31)), "has shape"),
        (_header((74, 3, 20, 30), "|O"), "not uint8"),
        (_truncate, "truncated"),
        (_damage, "is not what its checksum says"),
        (_remove, "the manifest names it, and there is none"),
        (_huge, "at most 1048576 can be right"),
        (_redigested, "its digest is not the one in cohort.json"),
    ],
)
def test_hostile_or_damaged_cohorts_are_refused_by_their_uri(
    scripted: ScriptedS3,
    source: Cohort,
    tmp_path: Path,
    attack,
    words: str,  # type: ignore[no-untyped-def]
) -> None:
    folder = tmp_path / "bad"
    shutil.copytree(source.folder, folder)
    attack(folder)
    serve(scripted, folder, prefix="bad")
    with pytest.raises(FlprivacyError) as caught:
        _pull(tmp_path / "out", cohort="s3://bucket/bad")
    text = str(caught.value)
    assert words in text
    assert text.startswith("s3://bucket/bad")
    assert "\n" not in text
    assert "secret" not in text
    assert not (tmp_path / "out").exists()


def test_on_a_real_server(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLPRIVACY_HOME", str(tmp_path / "home"))
    cohort = write_source(tmp_path / "source")
    uri = f"{bucket}/deep/folder"
    sent = push_cohort(folder=cohort.folder, uri=uri)
    assert sent == sum(path.stat().st_size for path in cohort.folder.rglob("*") if path.is_file())
    assert push_cohort(folder=cohort.folder, uri=uri) == 0
    resolved = find_cohort(uri).version
    assert _pull(tmp_path / "out", cohort=uri) == cohort.meta.digest
    assert verify_cohort(tmp_path / "out").places is not None
    assert find_cohort(f"{uri}/").version == resolved
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret-key")
    with pytest.raises(StorageError, match="the secret key does not fit") as caught:
        find_cohort(uri)
    assert "very-secret-key" not in str(caught.value)


def test_on_google_cloud_storage(gcs: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLPRIVACY_HOME", str(tmp_path / "home"))
    cohort = write_source(tmp_path / "source")
    push_cohort(folder=cohort.folder, uri=gcs)
    assert _pull(tmp_path / "out", cohort=gcs) == cohort.meta.digest
    assert verify_cohort(tmp_path / "out").places is not None
