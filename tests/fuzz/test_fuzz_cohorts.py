"""Damaged cohorts and sources are read or refused with the project's own errors, in bounded memory and one line."""

import pickle
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest
from file_mutations import memory_growth, mutations

from flprivacy.cohorts.export import export_nifti
from flprivacy.cohorts.format import open_cohort, verify_cohort
from flprivacy.cohorts.importing.array_pickle import read_array_pickle
from flprivacy.cohorts.importing.build import import_cohort
from flprivacy.cohorts.importing.config import ImportConfig
from flprivacy.cohorts.importing.dicom_files import is_dicom, planes_hu
from flprivacy.cohorts.importing.dicom_header import read_header
from flprivacy.cohorts.importing.nifti import read_nifti
from flprivacy.cohorts.importing.pickles import find_pickles
from flprivacy.cohorts.importing.pseudonyms import Pseudonyms
from flprivacy.cohorts.importing.resample import resample
from flprivacy.cohorts.importing.table import DICOM_KEYS, read_table
from flprivacy.core.errors import CohortError, FlprivacyError
from tests.cohort_builder import build_cohort, cohort_meta, scan_table

for folder in ("cohorts/importing", "cohorts"):
    sys.path.append(str(Path(__file__).parents[1] / folder))

from dicom_scans import SECRET, Scan, write_multiframe, write_series  # noqa: E402
from nifti_scans import write_nifti  # noqa: E402

SMALL = Scan(shape=(12, 8, 6), spacing_mm=(4.0, 5.0, 6.0), uid="1.2.3", tags={"InstitutionName": f"{SECRET} clinic"})
NAMES = Pseudonyms("k" * 32)
CONFIG = ImportConfig(name="x", shape=(5, 7, 6), site="A", min_slices=4, max_missing=0.5, test_fraction=0.5)
_MEMORY = 200 << 20


def fuzz(path: Path, count: int, read: Callable[[Path], object], *, seed: int, head: int = 1024) -> Counter[str]:
    """Read damaged copies of a file in its place; every one is read, or refused in one line without identifiers."""
    outcomes: Counter[str] = Counter()
    original = path.read_bytes()

    def run() -> None:
        for damaged in mutations(original, count, seed=seed, head=head):
            path.write_bytes(damaged)
            try:
                read(path)
                outcomes["read"] += 1
            except FlprivacyError as error:
                text = str(error)
                outcomes["refused"] += 1
                assert "\n" not in text, text
                assert SECRET not in text.lower()
                assert len(text) < 600

    try:
        assert memory_growth(run) < _MEMORY
    finally:
        path.write_bytes(original)
    assert sum(outcomes.values()) >= count
    # Both happen: otherwise the damage is too light, or nothing would be read at all.
    assert outcomes["refused"] > 0
    return outcomes


def _dicom(path: Path) -> None:
    header, slices = read_header(path)
    for plane in planes_hu(slices):
        assert plane.shape == (header.rows, header.columns)


@pytest.mark.parametrize("compress", [False, True])
def test_dicom_slices(tmp_path: Path, compress: bool) -> None:
    path = write_series(tmp_path, SMALL, compress=compress)[0]
    assert fuzz(path, 300, _dicom, seed=1, head=900)["read"] > 0


def test_dicom_multiframe(tmp_path: Path) -> None:
    assert fuzz(write_multiframe(tmp_path / "one", SMALL), 150, _dicom, seed=2, head=2500)["read"] > 0


@pytest.mark.parametrize("implicit", [True, False])
def test_dicom_without_preamble_and_with_high_bits(tmp_path: Path, implicit: bool) -> None:
    path = write_series(tmp_path, SMALL)[0]
    dataset = pydicom.dcmread(path)
    dataset.BitsStored = 12
    dataset.add_new("PixelPaddingValue", "SS", -2000)
    dataset.preamble = None
    del dataset.file_meta
    dataset.save_as(path, implicit_vr=implicit, little_endian=True)

    def read(path: Path) -> None:
        if not is_dicom(path):
            raise CohortError("no DICOM file")
        _dicom(path)

    assert fuzz(path, 200, read, seed=6, head=900)["read"] > 0


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_nifti(tmp_path: Path, suffix: str) -> None:
    path = write_nifti(tmp_path / f"a{suffix}", SMALL)

    def read(path: Path) -> None:
        volume = resample(read_nifti(path), shape=(5, 7, 6), spacing_mm=None, window_hu=(-1000.0, 400.0)).volume
        assert volume.shape == (5, 7, 6)

    outcomes = fuzz(path, 150, read, seed=3, head=352 if suffix == ".nii" else 64)
    assert outcomes["read"] > 0 or suffix == ".nii.gz"


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_pickles(tmp_path: Path, protocol: int) -> None:
    path = tmp_path / "CovidData2022_cohort0train.npy"
    data = {"c0_x": np.zeros((3, 4, 5, 2, 1), np.uint8), "c0_y": np.arange(3)}
    path.write_bytes(pickle.dumps(data, protocol))

    def read(path: Path) -> None:
        for array in read_array_pickle(path).values():
            assert array.map().size
        for candidate in find_pickles(path.parent, config=replace(CONFIG, shape=None)).candidates:
            assert candidate.read().volume.dtype == np.uint8

    assert fuzz(path, 150, read, seed=4, head=300)["read"] > 0


def test_tables(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "patient_id": [f"{SECRET}{n}" for n in range(20)],
            "site": ["A", "B"] * 10,
            "sex": ["F", "M", None, "M"] * 5,
            "age_years": np.arange(20) + 40.5,
            "split": ["train", "test"] * 10,
        }
    )
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_parquet(tmp_path / "t.parquet")
    sheet = frame.rename(columns={"sex": "Gender", "age_years": "Age"}).to_csv(index=False, sep=";", decimal=",")
    (tmp_path / "sheet.csv").write_bytes(("sep=;\n" + sheet.replace("\n", ";;\n") + ";;;;;;\n").encode("utf-16"))
    for name, count in (("t.csv", 100), ("sheet.csv", 100), ("t.parquet", 200)):
        outcomes = fuzz(tmp_path / name, count, lambda path: read_table(path, DICOM_KEYS), seed=5, head=4096)
        assert outcomes["read"] > 0


def _cohort(folder: Path) -> None:
    table = scan_table(
        6,
        patient_id=[f"{SECRET}{n}" for n in range(6)],
        split=["train", "test"] * 3,
        label=[0, 0, 1] * 2,
        sex=["F", "M", None] * 2,
        age_years=[50.0, None, 61.0] * 2,
    )
    build_cohort(folder, table, cohort_meta((2, 3, 4), "A", classes=("normal", "covid")))


@pytest.mark.parametrize("name", ["cohort.json", "manifest.parquet", "volumes/A.npy"])
def test_cohorts(tmp_path: Path, name: str) -> None:
    _cohort(tmp_path / "cohort")

    def read(path: Path) -> None:
        del path
        open_cohort(tmp_path / "cohort")
        verify_cohort(tmp_path / "cohort")

    fuzz(tmp_path / "cohort" / name, 150, read, seed=6, head=200)


def test_a_manifest_whose_column_names_are_no_text(tmp_path: Path) -> None:
    """Found by `make fuzz`."""
    _cohort(tmp_path / "cohort")
    path = tmp_path / "cohort" / "manifest.parquet"
    path.write_bytes(path.read_bytes().replace(b"patient_id", b"patient_\xf8d"))
    with pytest.raises(CohortError, match="not a readable Parquet file"):
        open_cohort(tmp_path / "cohort")


def test_whole_imports(tmp_path: Path) -> None:
    """Trees of which some files are damaged become a sound cohort, or none."""
    files: list[Path] = []
    for number in range(3):
        scan = replace(SMALL, shape=(6, 4, 5), uid=f"1.{number}", study=f"2.{number}", patient=f"{SECRET}{number}")
        files += write_series(tmp_path / "scans" / f"{SECRET}{number}", scan)
    originals = {path: path.read_bytes() for path in files}
    made, said = 0, []
    for number, damaged in enumerate(mutations(originals[files[8]], 40, seed=7, head=900)):
        path = files[number % len(files)]
        path.write_bytes(damaged)
        out = tmp_path / f"out{number}"
        try:
            cohort, _ = import_cohort("dicom", tmp_path / "scans", out, config=CONFIG, pseudonyms=NAMES)
            verify_cohort(out)
            made += len(cohort.manifest) >= 2
        except FlprivacyError as error:
            said.append(str(error))
            assert not out.exists()
        said.append((tmp_path / f"out{number}.import.json").read_text())
        path.write_bytes(originals[path])
    assert made >= 20
    assert SECRET not in "".join(said).lower()
    export_nifti(open_cohort(next(path for path in tmp_path.glob("out*") if path.is_dir())), tmp_path / "nifti")
