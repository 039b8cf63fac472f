"""Identifiers planted in every tag, name and table appear in nothing that an import writes or says."""

import gzip
import itertools
import json
import logging
import warnings
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pydicom
import pytest
from click.testing import CliRunner
from dicom_scans import SECRET, Scan, plant_everywhere, slice_dataset, write_series
from nifti_scans import write_nifti
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from flprivacy.cli import main
from flprivacy.cohorts.importing.pseudonyms import KEY_VARIABLE
from flprivacy.core.events import ENVIRONMENT_VARIABLE

KEY = "zqxkey-" + "0123456789" * 3
UIDS, DATES = "1.7777", ("19610203", "20240506")
SMALL = Scan(shape=(12, 8, 6), spacing_mm=(4.0, 5.0, 6.0))


def plant(root: Path) -> None:
    """Twelve patients at two sites, and one of every kind of damage, identifiers everywhere."""
    everywhere = Dataset()
    plant_everywhere(everywhere, itertools.count())
    nested = Dataset()
    nested.PatientID = nested.IssuerOfPatientID = f"{SECRET}-nested"
    for number in range(12):
        scan = replace(
            SMALL,
            uid=f"{UIDS}.{number}",
            study=f"{UIDS}8.{number}",
            patient=f"{SECRET}-id-{number}",
            name=f"{SECRET}^Name{number}",
        )
        folder = root / f"{SECRET}^Name{number}" / f"{SECRET}-visit"
        folder.mkdir(parents=True)
        hu = scan.hu()
        for slice_number in range(scan.shape[0]):
            dataset = slice_dataset(scan, slice_number, hu)
            if slice_number in (0, 7):  # thousands of tags, in two slices of every scan
                dataset.update({tag: everywhere[tag] for tag in everywhere.keys() - dataset.keys()})
                dataset.OtherPatientIDsSequence = Sequence([nested])
                dataset.private_block(0x0011, f"{SECRET} GMBH", create=True).add_new(1, "LO", f"{SECRET}-private")
            dataset.InstitutionName = f"{SECRET} hospital {number % 2}"
            dataset.save_as(folder / f"{SECRET}{slice_number}.dcm", enforce_file_format=True)
    damage(root)


def damage(root: Path) -> None:
    """Damage the scans from number 5 on, each in its own way."""

    def files(number: int) -> list[Path]:
        return sorted((root / f"{SECRET}^Name{number}").rglob("*.dcm"))

    for path in files(5):  # truncated headers
        path.write_bytes(path.read_bytes()[:1500])
    path = files(6)[4]  # truncated pixels
    path.write_bytes(path.read_bytes()[:-30])
    for path in files(7)[3:5]:  # missing slices
        path.unlink()
    for path in files(9):  # values that do not parse
        raw = path.read_bytes()
        at = raw.index(b"\x28\x00\x30\x00DS")
        path.write_bytes(raw[: at + 8] + SECRET.encode()[:3] + raw[at + 11 :])
    dataset = pydicom.dcmread(files(10)[2])  # two patients in one series
    dataset.PatientID = f"{SECRET}-other"
    dataset.save_as(files(10)[2], enforce_file_format=True)
    for path in files(11):
        raw = path.read_bytes()
        at = raw.index(b"\x20\x00\x32\x00DS")
        path.write_bytes(raw[: at + 8] + b"nan" + raw[at + 11 :])


def assert_clean(data: bytes, where: object) -> None:
    low = data.lower()
    for secret in (SECRET, UIDS, KEY, *DATES):
        assert secret.encode() not in low, f"{secret} in {where}"


def search(folder: Path) -> int:
    """Search names and contents, also inside of Parquet and gzip; return how many files there were."""
    count = 0
    for path in folder.rglob("*"):
        assert_clean(path.name.encode(), path)
        if path.is_file():
            count += 1
            assert_clean(path.read_bytes(), path)
            if path.suffix == ".parquet":
                frame = pd.read_parquet(path)
                assert_clean(frame.to_csv().encode(), path)
            if path.suffix == ".gz":
                assert_clean(gzip.decompress(path.read_bytes()), path)
    return count


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> "list[bytes]":
    """What commands print; logs and warnings are kept, from the most talkative level on."""
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    (tmp_path / "events").mkdir()
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, str(tmp_path / "events"))
    caplog.set_level(logging.DEBUG)
    for name in ("pydicom", "nibabel", "nibabel.global"):
        caplog.set_level(logging.DEBUG, logger=name)
    return []


def command(said: "list[bytes]", *words: str) -> int:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = CliRunner().invoke(main, ["cohort", *words])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    said += [result.output.encode(), result.stderr.encode(), *(str(warning.message).encode() for warning in caught)]
    return result.exit_code


def test_dicom(
    tmp_path: Path, said: "list[bytes]", caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    root, out = tmp_path / "scans", tmp_path / "out"
    plant(root)
    caplog.clear()  # what pydicom said while the files were written
    out.mkdir()
    table = pd.DataFrame(
        {"patient_id": [f"{SECRET}-id-{n}" for n in range(12)], "site": ["A", "B"] * 6, "note": [SECRET] * 12}
    )
    table.to_csv(tmp_path / "table.csv", index=False)
    options = ["--from", "dicom", "--shape", "5,7,6"]
    assert command(said, "import", str(root), str(out / "a"), *options, "--table", str(tmp_path / "table.csv")) == 0
    tagged = ["--site-tag", "InstitutionName", "--max-missing", "0.3", "--series", "all"]
    assert command(said, "import", str(root), str(out / "b"), *options, *tagged) == 0
    # Failures: nothing to take, a table with a wrong value, a tag that names people, no key.
    assert command(said, "import", str(root), str(out / "c"), *options, "--site", "A", "--min-slices", "99") == 2
    table.assign(sex=SECRET).to_csv(tmp_path / "wrong.csv", index=False)
    assert command(said, "import", str(root), str(out / "d"), *options, "--table", str(tmp_path / "wrong.csv")) == 2
    assert command(said, "import", str(root), str(out / "e"), *options, "--site-tag", "PatientName") == 2
    assert command(said, "show", str(out / "a")) == 0
    assert command(said, "export", str(out / "a"), str(out / "nifti")) == 0
    report = json.loads((out / "a.import.json").read_text())
    assert len(report["taken"]) == 6, report["reasons"]
    assert len(report["reasons"]) >= 4
    assert search(out) >= 12
    search(tmp_path / "events")
    for text in said:
        assert_clean(text, "what commands print")
    assert_clean(caplog.text.encode(), "the log")
    streams = capfd.readouterr()
    assert_clean((streams.out + streams.err).encode(), "the terminal")
    assert "reading scans" in caplog.text, "the log was listened to"


def test_nifti(tmp_path: Path, said: "list[bytes]", caplog: pytest.LogCaptureFixture) -> None:
    root, out = tmp_path / "scans", tmp_path / "out"
    rows = []
    for number in range(5):
        name = f"{SECRET}{number}.nii.gz"
        write_nifti(root / name, SMALL)
        rows.append({"file": name, "patient_id": f"{SECRET}-{number}", "site": "A", "split": "train"})
    (root / rows[3]["file"]).write_bytes(b"x" * 1000)
    rows[4]["file"] = f"{SECRET}-absent.nii"
    pd.DataFrame(rows).to_parquet(tmp_path / "table.parquet")
    options = ["--from", "nifti", "--shape", "5,7,6", "--table", str(tmp_path / "table.parquet")]
    assert command(said, "import", str(root), str(out / "a"), *options) == 0
    rows[0]["file"] = f"../{SECRET}.nii"
    pd.DataFrame(rows).to_parquet(tmp_path / "table.parquet")
    assert command(said, "import", str(root), str(out / "b"), *options) == 2
    assert search(out) >= 3
    for text in (*said, caplog.text.encode()):
        assert_clean(text, "what was said")


def test_the_search_finds_what_it_looks_for(tmp_path: Path) -> None:
    """A leak into a file, a name or a compressed column would be seen."""
    for name, data in (("a.json", f"x {SECRET.upper()} y".encode()), ("b", DATES[0].encode())):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(AssertionError):
            search(tmp_path)
        (tmp_path / name).unlink()
    pd.DataFrame({"a": [SECRET] * 3}).to_parquet(tmp_path / "x.parquet", compression="zstd")
    with pytest.raises(AssertionError):
        search(tmp_path)
    (tmp_path / "x.parquet").unlink()
    write_series(tmp_path / f"{SECRET}-folder", replace(SMALL, shape=(2, 8, 6)))
    with pytest.raises(AssertionError):
        search(tmp_path)
