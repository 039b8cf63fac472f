"""From source to cohort: whole or not at all, resumable, reported, and back to NIfTI."""

import dataclasses
import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
from dicom_scans import Scan, write_series
from flprivacy_pickles import write_pickles
from test_dicom_geometry import NAMES

from flprivacy.cohorts.export import export_nifti
from flprivacy.cohorts.format import open_cohort, read_volumes, verify_cohort
from flprivacy.cohorts.importing import build, dicom, reading
from flprivacy.cohorts.importing.build import import_cohort
from flprivacy.cohorts.importing.config import ImportConfig
from flprivacy.cohorts.importing.found import Candidate
from flprivacy.cohorts.importing.report import import_tables
from flprivacy.core.errors import CohortError, ConfigError, StorageError

SMALL = Scan(shape=(12, 8, 6), spacing_mm=(4.0, 5.0, 6.0))
CONFIG = ImportConfig(name="own", shape=(5, 7, 6), site="Basel", test_fraction=0.5)


SLOW = """
import sys, time
from pathlib import Path
from flprivacy.cohorts.importing import build, reading
from flprivacy.cohorts.importing.config import ImportConfig
from flprivacy.cohorts.importing.pseudonyms import Pseudonyms

keep = reading.keep
reading.keep = lambda volume, path: (keep(volume, path), time.sleep(0.3))
config = ImportConfig(name="own", shape=(5, 7, 6), site="Basel", test_fraction=0.5)
build.import_cohort("dicom", Path(sys.argv[1]), Path(sys.argv[2]), config=config, pseudonyms=Pseudonyms("k" * 32))
"""


class Eight(Scan):
    """A scan of which an image of 8 bits was made."""

    def hu(self) -> "np.ndarray[tuple[int, ...], np.dtype[np.float64]]":
        return np.clip((super().hu() + 1000) / 8, 0, 255)


def tree(root: Path, scans: int = 4) -> Path:
    for number in range(scans):
        spacing = (4.0, 5.0 + number / 4, 6.0)  # so that volumes differ
        scan = replace(SMALL, uid=f"1.{number}", study=f"2.{number}", patient=f"patient {number}", spacing_mm=spacing)
        write_series(root / str(number), scan)
    return root


def run(root: Path, out: Path, **settings: object) -> "tuple[build.Cohort, build.ImportReport]":
    return import_cohort("dicom", root, out, config=replace(CONFIG, **settings), pseudonyms=NAMES)


def test_a_cohort_and_its_report(tmp_path: Path) -> None:
    root = tree(tmp_path / "scans")
    write_series(root / "short", replace(SMALL, shape=(9, 8, 6), uid="1.9", study="2.9"))
    cohort, report = run(root, tmp_path / "cohort")
    verify_cohort(tmp_path / "cohort")
    assert (cohort.meta.site_names, cohort.meta.class_names) == (("Basel",), ("unlabelled",))
    assert sorted(cohort.manifest["split"]) == ["test", "test", "train", "train"]
    told = json.loads((tmp_path / "cohort.import.json").read_text())
    assert told["cohort_digest"] == cohort.meta.digest == report.cohort_digest
    assert told["reasons"] == {"too few slices": 1}
    assert told["left_out"][0]["item"] == NAMES.scan("1.9")
    assert {scan["scan_id"] for scan in told["taken"]} == set(cohort.manifest["scan_id"])
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "cohort",
        "cohort.import.html",
        "cohort.import.json",
        "scans",
    ]
    assert [table.title for table in import_tables(report)] == [
        "taken: 4 scans of 4 patients",
        "left out: 1",
        "looked at",
        "worth a look",
    ]
    assert report.notes == ("cohort: all 4 patients have age 63; is it a placeholder?",)


def test_the_same_source_gives_the_same_cohort(tmp_path: Path) -> None:
    root = tree(tmp_path / "scans")
    digests = {run(root, tmp_path / name)[0].meta.digest for name in ("a", "b")}
    assert len(digests) == 1
    assert run(root, tmp_path / "c", window_hu=(-900.0, 400.0))[0].meta.digest not in digests


def test_an_interrupted_import_carries_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tree(tmp_path / "scans")
    reads = []
    real = dicom.find_dicom

    def interrupted(*arguments: object, **named: object) -> object:
        found = real(*arguments, **named)  # type: ignore[arg-type]

        def read(candidate: Candidate) -> Candidate:
            def once() -> object:
                reads.append(candidate.scan_id)
                if len(reads) == 3:
                    raise KeyboardInterrupt
                return candidate.read()

            return dataclasses.replace(candidate, read=once)  # type: ignore[arg-type]

        return dataclasses.replace(found, candidates=tuple(map(read, found.candidates)))

    monkeypatch.setattr(dicom, "find_dicom", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(root, tmp_path / "cohort")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".cohort.importing", "scans"]
    resumed, _ = run(root, tmp_path / "cohort")
    assert len(reads) == 5, "two were there, the third was read again, then the fourth"
    assert not (tmp_path / ".cohort.importing").exists()
    monkeypatch.undo()
    assert run(root, tmp_path / "other")[0].meta.digest == resumed.meta.digest


def test_any_number_of_workers_gives_the_same_cohort_and_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tree(tmp_path / "scans")
    (root / "0" / "copy").write_bytes((root / "0" / "IM0003").read_bytes())
    (root / "notes.txt").write_text("not DICOM")
    write_series(root / "eight bits", Eight(**vars(replace(SMALL, uid="1.8", study="2.8", patient="patient 8"))))
    damaged = write_series(root / "damaged", replace(SMALL, uid="1.9", study="2.9", patient="patient 9"), compress=True)
    damaged[4].write_bytes(damaged[4].read_bytes()[:-30])
    alone = import_cohort("dicom", root, tmp_path / "alone", config=CONFIG, pseudonyms=NAMES, workers=1)
    monkeypatch.setattr(reading, "_WORTH_SCANS", 0)  # so that processes start for these few as well
    monkeypatch.setattr(dicom, "_WORTH_FILES", 0)
    monkeypatch.setattr(dicom, "_CHUNK_FILES", 3)
    both = import_cohort("dicom", root, tmp_path / "both", config=CONFIG, pseudonyms=NAMES, workers=2)
    assert both[0].meta.digest == alone[0].meta.digest
    assert both[1] == alone[1]
    assert both[1].counts["copies of slices"] == 1
    assert both[1].reasons == {"not in HU": 1, "truncated or damaged pixel data": 1}
    pages = [(tmp_path / f"{name}.import.html").read_text() for name in ("alone", "both")]
    assert pages[0] == pages[1]
    assert pages[0].count("<figure class=") == 5
    with pytest.raises(ConfigError, match="workers is 0"):
        import_cohort("dicom", root, tmp_path / "none", config=CONFIG, pseudonyms=NAMES, workers=0)


def test_a_killed_import_carries_on(tmp_path: Path) -> None:
    root, work = tree(tmp_path / "scans", scans=12), tmp_path / ".cohort.importing"
    script = tmp_path / "slow.py"
    script.write_text(SLOW)
    process = subprocess.Popen([sys.executable, str(script), str(root), str(tmp_path / "cohort")])
    deadline = time.monotonic() + 120
    while len(list(work.glob("[!.]*"))) < 3 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    assert process.wait() == -9, "it was still reading"
    kept = {path.name: path.stat().st_mtime_ns for path in work.glob("[!.]*")}
    assert 3 <= len(kept) < 12
    assert not (tmp_path / "cohort").exists()
    fresh, _ = run(root, tmp_path / "fresh")
    real, written = reading.keep, []

    def keep(volume: object, path: Path) -> None:
        written.append(path.name)
        real(volume, path)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "keep", keep)
        resumed, _ = run(root, tmp_path / "cohort")
    assert resumed.meta.digest == fresh.meta.digest
    assert len(written) == 12 - len(kept)
    assert not set(written) & set(kept)


def test_what_was_kept_is_not_used_when_a_file_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tree(tmp_path / "scans", scans=3)
    monkeypatch.setattr(build, "write_cohort", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        run(root, tmp_path / "cohort")
    monkeypatch.undo()
    changed = replace(SMALL, uid="1.1", study="2.1", patient="patient 1", intercept=-1000.0)
    write_series(root / "1", changed)
    cohort, _ = run(root, tmp_path / "cohort")
    fresh, _ = run(root, tmp_path / "fresh")
    assert cohort.meta.digest == fresh.meta.digest


def test_a_damaged_work_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tree(tmp_path / "scans", scans=3)
    monkeypatch.setattr(build, "write_cohort", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        run(root, tmp_path / "cohort")
    monkeypatch.undo()
    next((tmp_path / ".cohort.importing").iterdir()).write_bytes(b"x")
    with pytest.raises(StorageError, match="remove the folder"):
        run(root, tmp_path / "cohort")
    assert not (tmp_path / "cohort").exists()


def test_pixels_that_end_early_are_not_read_on_from_what_follows(tmp_path: Path) -> None:
    root = tree(tmp_path / "scans", scans=3)
    path = root / "2" / "IM0004"
    data = path.read_bytes()
    cut = data.index(b"\xe0\x7f\x10\x00OW")
    # Pixel data of half the length, in a file that is as long as before.
    half = data[:cut] + data[cut : cut + 8] + (48).to_bytes(4, "little") + data[cut + 12 : cut + 60]
    tail = b"\xfc\xff\xfc\xffOB\0\0" + (100).to_bytes(4, "little") + bytes(100)  # trailing padding
    path.write_bytes(half + tail)
    cohort, report = run(root, tmp_path / "cohort")
    assert len(cohort.manifest) == 2
    assert report.reasons == {"truncated pixel data": 1, "missing slices": 1}


def test_scans_that_fail_when_read_are_left_out(tmp_path: Path) -> None:
    root = tmp_path / "scans"
    for number in range(3):
        scan = replace(SMALL, uid=f"1.{number}", study=f"2.{number}", patient=f"patient {number}")
        write_series(root / str(number), scan, compress=True)
    path = root / "2" / "IM0004"
    data = path.read_bytes()
    path.write_bytes(data[:-30])
    cohort, report = run(root, tmp_path / "cohort")
    assert len(cohort.manifest) == 2
    assert report.reasons == {"truncated or damaged pixel data": 1}


def test_nothing_to_take(tmp_path: Path) -> None:
    root = tree(tmp_path / "scans")
    with pytest.raises(CohortError, match=r"no scan can be taken: too few slices \(4\)"):
        run(root, tmp_path / "cohort", min_slices=50)
    assert not (tmp_path / "cohort").exists()
    told = json.loads((tmp_path / "cohort.import.json").read_text())
    assert told["reasons"] == {"too few slices": 4}


def test_a_site_of_one_patient_is_refused_before_reading(tmp_path: Path) -> None:
    root = tree(tmp_path / "scans", scans=1)
    with pytest.raises(CohortError, match="site 'Basel' has 1 patient"):
        run(root, tmp_path / "cohort")
    assert (tmp_path / "cohort.import.json").exists()
    assert not (tmp_path / ".cohort.importing").exists()


def test_a_site_that_cannot_name_a_shard_is_refused_before_reading(tmp_path: Path) -> None:
    with pytest.raises(CohortError, match="site name"):
        run(tree(tmp_path / "scans"), tmp_path / "cohort", site="../x")


def test_what_is_asked_for_wrongly(tmp_path: Path) -> None:
    root = tree(tmp_path / "scans", scans=2)
    with pytest.raises(ConfigError, match="key"):
        import_cohort("dicom", root, tmp_path / "cohort", config=CONFIG)
    with pytest.raises(ConfigError, match="no table"):
        import_cohort("nifti", root, tmp_path / "cohort", config=CONFIG, pseudonyms=NAMES)
    with pytest.raises(ConfigError, match="source is 'mha'"):
        import_cohort("mha", root, tmp_path / "cohort", config=CONFIG, pseudonyms=NAMES)
    with pytest.raises(ConfigError, match="table"):
        import_cohort("flprivacy", root, tmp_path / "cohort", config=CONFIG, table=root)
    for out in (root / "cohort", root, tmp_path):
        with pytest.raises(ConfigError, match="lies in the source folder"):
            run(root, out)


@pytest.mark.parametrize("spacing", [None, (6.0, 3.0, 2.0)])
def test_exported_files_come_back_as_they_were(tmp_path: Path, spacing: tuple[float, float, float] | None) -> None:
    cohort, _ = run(tree(tmp_path / "scans"), tmp_path / "cohort", spacing_mm=spacing)
    assert export_nifti(cohort, tmp_path / "nifti") == 4
    image = nibabel.load(tmp_path / "nifti" / "scan-000002.nii.gz")
    volume = read_volumes(cohort, np.array([2]))[0]
    hu = -1000.0 + volume.transpose(2, 1, 0) * (1400.0 / 255)
    np.testing.assert_allclose(image.get_fdata(), hu, atol=1e-3)
    assert nibabel.aff2axcodes(image.affine) == ("L", "P", "I")
    assert image.header.get_zooms() == pytest.approx(tuple((spacing or (1.0, 1.0, 1.0))[::-1]))
    again, _ = import_cohort(
        "nifti",
        tmp_path / "nifti",
        tmp_path / "again",
        config=CONFIG,
        pseudonyms=NAMES,
        table=tmp_path / "nifti" / "scans.csv",
    )
    columns = ["sha256", "split", "sex", "age_years", "label"]
    before, after = (sorted(map(tuple, part.manifest[columns].to_numpy().tolist())) for part in (cohort, again))
    assert before == after


def test_chosen_rows_are_exported_atomically(tmp_path: Path) -> None:
    write_pickles(tmp_path / "data")
    config = ImportConfig(name="reference", shape=None)
    import_cohort("flprivacy", tmp_path / "data", tmp_path / "cohort", config=config)
    cohort = open_cohort(tmp_path / "cohort")
    export_nifti(cohort, tmp_path / "out", rows=np.array([3, 1]))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "scan-000001.nii.gz",
        "scan-000003.nii.gz",
        "scans.csv",
    ]
    with pytest.raises(StorageError, match="exists already"):
        export_nifti(cohort, tmp_path / "out")
    with pytest.raises(CohortError, match="rows go from"):
        export_nifti(cohort, tmp_path / "other", rows=np.array([0, 10**6]))
    assert not [path for path in tmp_path.iterdir() if "other" in path.name]
