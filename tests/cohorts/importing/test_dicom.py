"""Which series are taken, what is said of them, and what is refused."""

import os
import resource
import struct
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_scans import SECRET, Scan, slice_dataset, write_multiframe, write_series
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from test_dicom_geometry import NAMES, find, only

from flprivacy.cohorts.importing.config import ImportConfig
from flprivacy.cohorts.importing.dicom import find_dicom
from flprivacy.cohorts.importing.dicom_header import read_header
from flprivacy.cohorts.importing.found import ScanError
from flprivacy.cohorts.importing.table import DICOM_KEYS, read_table
from flprivacy.core.errors import CohortError, ConfigError

SMALL = Scan(shape=(12, 8, 6), spacing_mm=(4.0, 5.0, 6.0), uid="1.2.3", study="9.9")


def reasons(root: Path, **settings: object) -> list[tuple[str, str]]:
    return [(item.reason, item.detail) for item in find(root, **settings).left_out]


def edit(path: Path, **tags: object) -> None:
    dataset = pydicom.dcmread(path)
    for keyword, value in tags.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    if "PixelPaddingValue" in tags:
        dataset["PixelPaddingValue"].VR = "SS"
    dataset.save_as(path, enforce_file_format=True)


def test_the_series_with_most_slices_of_a_study_is_taken_or_all(tmp_path: Path) -> None:
    write_series(tmp_path / "a", replace(SMALL, uid="1.1"))
    write_series(tmp_path / "b", replace(SMALL, uid="1.2", shape=(14, 8, 6)))
    write_series(tmp_path / "c", replace(SMALL, uid="1.3", study="8.8"))
    found = find(tmp_path)
    assert sorted(candidate.slices for candidate in found.candidates) == [12, 14]
    assert [item.reason for item in found.left_out] == ["another series of the study was taken"]
    assert len(find(tmp_path, series="all").candidates) == 3


def test_localizers_in_a_series_copies_and_other_files_do_no_harm(tmp_path: Path) -> None:
    paths = write_series(tmp_path, SMALL)
    survey = slice_dataset(SMALL, 0, SMALL.hu())
    survey.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    survey.save_as(tmp_path / "survey", enforce_file_format=True)
    (tmp_path / "copy").write_bytes(paths[3].read_bytes())
    (tmp_path / "notes.txt").write_text("not DICOM")
    (tmp_path / "link").symlink_to("/etc/hostname")
    os.mkfifo(tmp_path / "pipe")
    found = find(tmp_path)
    assert only(found).slices == 12
    assert found.counts["copies of slices"] == 1
    assert found.counts["files that are not DICOM"] == 3


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        ({"PatientID": "somebody else"}, "PatientID differs between slices of one series UID"),
        ({"StudyInstanceUID": "7.7"}, "StudyInstanceUID differs between slices of one series UID"),
        ({"Rows": 6, "Columns": 8}, "Rows differs between slices of one series UID"),
        ({"ImageOrientationPatient": [1, 0, 0, 0, 0, -1]}, "ImageOrientationPatient differs between slices"),
        ({"ImageOrientationPatient": [1, 0.002, 0, 0, 1, 0]}, "ImageOrientationPatient differs between slices"),
        ({"PixelSpacing": [5, 5]}, "PixelSpacing differs between slices of one series UID"),
        ({"SOPInstanceUID": "1.2.3.4", "ImagePositionPatient": None}, ""),
    ],
)
def test_mixed_series_are_refused(tmp_path: Path, change: dict[str, object], detail: str) -> None:
    paths = write_series(tmp_path, SMALL)
    edit(paths[5], **change)
    told = reasons(tmp_path)
    if detail:
        assert told[0][0] == "mixed series"
        assert told[0][1].startswith(detail)
    else:
        absent = ("no position, orientation or pixel spacing", "no ImagePositionPatient")
        assert [told[0], told[1][0]] == [absent, "missing slices"]


def test_numbers_with_a_decimal_comma_are_refused_by_the_name_of_the_tag(tmp_path: Path) -> None:
    for path in write_series(tmp_path, SMALL):
        path.write_bytes(path.read_bytes().replace(*_with_comma(SMALL.spacing_mm)))
    assert {(reason, detail) for reason, detail in reasons(tmp_path)} == {
        ("damaged DICOM header", "PixelSpacing cannot be read")
    }


def _with_comma(spacing_mm: tuple[float, float, float]) -> tuple[bytes, bytes]:
    text = "\\".join(str(length) for length in spacing_mm[1:]).encode()
    return text, text.replace(b".", b",")


def test_slices_that_were_sent_twice_count_once_whatever_their_uids(tmp_path: Path) -> None:
    paths = write_series(tmp_path, SMALL)
    for path in paths[2:5]:
        (tmp_path / f"{path.name}b").write_bytes(path.read_bytes())
        edit(tmp_path / f"{path.name}b", SOPInstanceUID=f"7.7.{path.name[-1]}")
    found = find(tmp_path)
    assert only(found).slices == 12
    assert found.counts["copies of slices"] == 3


def test_slices_of_one_uid_at_several_places_are_several(tmp_path: Path) -> None:
    for path in write_series(tmp_path, SMALL):
        edit(path, SOPInstanceUID="7.7")
    assert only(find(tmp_path)).slices == 12


@pytest.mark.parametrize("start", [b"PK\x03\x04", b"\x1f\x8b\x08", b"\0" * 257 + b"ustar"])
def test_archives_are_named(tmp_path: Path, start: bytes) -> None:
    write_series(tmp_path / "scan", SMALL)
    (tmp_path / "more").write_bytes(start + b"\0" * 300)
    (tmp_path / "table.xlsx").write_bytes(b"PK\x03\x04" + b"\0" * 300)
    assert reasons(tmp_path) == [("archive", "what is in it is not looked at; unpack it")]


def test_how_values_are_to_be_shown_does_not_matter(tmp_path: Path) -> None:
    paths = write_series(tmp_path, SMALL)
    usual = only(find(tmp_path)).read().volume
    for path in paths:
        edit(path, PhotometricInterpretation="MONOCHROME1")
    assert np.array_equal(only(find(tmp_path)).read().volume, usual)


def test_a_patient_id_of_an_anonymiser_is_noted(tmp_path: Path) -> None:
    write_series(tmp_path / "a", replace(SMALL, patient="ANONYMOUS"))
    write_series(tmp_path / "b", replace(SMALL, patient="anna", uid="1.9", study="8.8"))
    notes = [len([n for n in scan.notes if "anonymisers" in n]) for scan in find(tmp_path).candidates]
    assert sorted(notes) == [0, 1]


def test_two_phases_under_one_series_uid_are_refused(tmp_path: Path) -> None:
    write_series(tmp_path, SMALL)
    hu = SMALL.hu()
    for number in range(12):
        dataset = slice_dataset(SMALL, number, hu + 20.0)
        dataset.SOPInstanceUID = f"7.7.{number}"
        dataset.save_as(tmp_path / f"second{number}", enforce_file_format=True)
    assert reasons(tmp_path) == [
        ("mixed series", "several slices at one place: phases or reconstructions in one series")
    ]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"Rows": 40000, "Columns": 40000}, "absurd dimensions"),
        ({"Rows": 1}, "absurd dimensions"),
        ({"Rows": 2000, "Columns": 2000}, "truncated pixel data"),
        ({"BitsAllocated": 7}, "absurd dimensions"),
        ({"NumberOfFrames": 10**9}, "absurd dimensions"),
        ({"PixelSpacing": [0, 0]}, "absurd pixel spacing"),
        ({"ImageOrientationPatient": [0, 0, 0, 0, 0, 0]}, "orientation is not two unit vectors at right angles"),
        ({"RescaleSlope": None}, "no rescale to HU"),
        ({"RescaleSlope": "1e30"}, "no rescale to HU"),
        ({"RescaleType": "OD"}, "not in HU"),
        ({"PhotometricInterpretation": "RGB"}, "not a grey-scale image"),
        ({"Rows": None}, "no image"),
    ],
)
def test_headers_that_cannot_be_true_are_refused(tmp_path: Path, change: dict[str, object], reason: str) -> None:
    for path in write_series(tmp_path, SMALL):
        edit(path, **change)
    assert {told for told, _ in reasons(tmp_path)} == {reason}


def test_absurd_positions(tmp_path: Path) -> None:
    paths = write_series(tmp_path, SMALL)
    edit(paths[0], ImagePositionPatient=[0, 0, "1e30"])
    assert reasons(tmp_path) == [("absurd slice position", "")]
    edit(paths[0], ImagePositionPatient=[0, 0, "90000"])
    assert reasons(tmp_path) == [("absurd distance between slices", "")]


def test_uneven_slices_and_slices_off_the_line(tmp_path: Path) -> None:
    paths = write_series(tmp_path, SMALL)
    x, y, z = (float(value) for value in pydicom.dcmread(paths[4]).ImagePositionPatient)
    edit(paths[4], ImagePositionPatient=[x, y, z + 1.9])
    assert reasons(tmp_path) == [("uneven distances between slices", "")]
    edit(paths[4], ImagePositionPatient=[x + 30, y, z])
    assert reasons(tmp_path) == [("mixed series", "slices do not follow one line")]


@pytest.mark.parametrize("keep", [-1, -40, 0.7])
def test_truncated_pixel_data_is_refused_when_listed_or_read(tmp_path: Path, keep: float) -> None:
    path = write_series(tmp_path, SMALL)[5]
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data)) if keep > 0 else int(keep)])
    found = find(tmp_path, max_missing=0.5)
    if found.candidates and found.candidates[0].missing == 0:
        with pytest.raises(ScanError, match="truncated or damaged pixel data"):
            found.candidates[0].read()
    else:
        assert found.left_out


def test_a_compression_that_nothing_here_decodes_is_named(tmp_path: Path) -> None:
    for path in write_series(tmp_path, SMALL, compress=True):
        dataset = pydicom.dcmread(path)
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.JPEGLosslessSV1
        dataset.save_as(path, enforce_file_format=True)
    if pydicom.pixels.get_decoder(pydicom.uid.JPEGLosslessSV1).is_available:
        pytest.skip("a decoder of JPEG lossless is installed")
    ((reason, detail),) = set(reasons(tmp_path))
    assert reason == "no decoder installed"
    assert "JPEG Lossless" in detail


def test_slices_without_an_instance_uid_are_not_taken_for_copies(tmp_path: Path) -> None:
    for path in write_series(tmp_path, SMALL):
        edit(path, SOPInstanceUID="")
    assert only(find(tmp_path)).slices == 12


def test_a_tree_deeper_than_recursion_goes(tmp_path: Path) -> None:
    levels = [tmp_path / "scans"]
    for _ in range(1200):
        levels.append(levels[-1] / "d")
    for level in levels:
        level.mkdir()
    assert find(tmp_path / "scans").counts == {"series": 0}
    for level in reversed(levels):
        level.rmdir()


def test_a_multiframe_file_with_fewer_descriptions_than_frames(tmp_path: Path) -> None:
    path = write_multiframe(tmp_path / "one", SMALL)
    dataset = pydicom.dcmread(path)
    dataset.PerFrameFunctionalGroupsSequence = dataset.PerFrameFunctionalGroupsSequence[:-1]
    dataset.save_as(path, enforce_file_format=True)
    assert [reason for reason, _ in reasons(tmp_path)] == ["frames and their descriptions differ in number"]


def test_a_deflated_bomb_is_not_unpacked(tmp_path: Path) -> None:
    path = write_series(tmp_path, SMALL)[0]
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    dataset.save_as(path, enforce_file_format=True)
    raw = path.read_bytes()
    start = raw.index(b"DICM") + 4
    start += 12 + struct.unpack("<I", raw[start + 8 : start + 12])[0]
    packer = zlib.compressobj(9, wbits=-15)
    bomb = packer.compress(bytes(1 << 26)) + packer.flush()
    path.write_bytes(raw[:start] + bomb)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ScanError, match="deflated"):
        read_header(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20 << 10


def test_a_header_of_a_million_items_is_given_up(tmp_path: Path) -> None:
    path = write_series(tmp_path, SMALL)[0]
    dataset = pydicom.dcmread(path)
    dataset.add_new(0x00081140, "SQ", Sequence([Dataset() for _ in range(6000)]))
    dataset[0x00081140].is_undefined_length = True
    dataset.save_as(path, enforce_file_format=True)
    with pytest.raises(ScanError, match="header out of proportion"):
        read_header(path)


def test_sequences_nested_without_end_are_refused(tmp_path: Path) -> None:
    path = write_series(tmp_path, SMALL)[0]
    raw = path.read_bytes()
    at = raw.index(b"\x08\x00\x60\x00CS")  # before Modality
    level = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    path.write_bytes(raw[:at] + level * 3000 + raw[at:])
    with pytest.raises(ScanError, match="damaged DICOM header"):
        read_header(path)


def test_a_length_beyond_the_file_takes_no_memory(tmp_path: Path) -> None:
    path = write_series(tmp_path, SMALL)[0]
    raw = bytearray(path.read_bytes())
    at = raw.index(b"\x08\x00\x18\x00UI")
    raw[at : at + 8] = b"\x08\x00\x18\x00UT\0\0"
    raw[at + 8 : at + 12] = struct.pack("<I", 0xFFFFFF00)
    path.write_bytes(raw)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ScanError):
        read_header(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20 << 10


def test_attributes_come_from_tags(tmp_path: Path) -> None:
    write_series(tmp_path, replace(SMALL, age="008M", sex="O"))
    candidate = only(find(tmp_path))
    assert (candidate.sex, candidate.age_years) == (None, 0.0)
    for path in tmp_path.iterdir():
        edit(path, PatientAge=None)
    assert only(find(tmp_path)).age_years == 63.0, "from the dates of birth and study"
    for path in tmp_path.iterdir():
        edit(path, PatientBirthDate="19290101")
    assert only(find(tmp_path)).age_years == 90.0, "the oldest are not told apart"


@pytest.mark.parametrize(
    ("tags", "age", "placeholder"),
    [
        ({"PatientAge": "045Y"}, 45.0, False),
        ({"PatientAge": "45Y"}, 45.0, False),
        ({"PatientAge": "5 y"}, 5.0, False),
        ({"PatientAge": "42"}, 63.0, False),  # of what unit is not said; the dates are
        ({"PatientAge": "42", "PatientBirthDate": ""}, 42.0, False),
        ({"PatientAge": "42 years"}, 42.0, False),
        ({"PatientAge": None, "PatientBirthDate": "1961.02.03"}, 63.0, False),
        ({"PatientAge": None, "StudyDate": "", "AcquisitionDate": "20240506"}, 63.0, False),
        ({"PatientAge": "000Y"}, 63.0, False),
        ({"PatientAge": "099Y"}, 90.0, False),
        ({"PatientAge": "100Y"}, None, True),
        ({"PatientAge": "999Y"}, None, True),
        ({"PatientAge": None, "PatientBirthDate": "19000101"}, None, True),
        ({"PatientAge": None, "PatientBirthDate": "19000101", "StudyDate": "19800506"}, None, True),
        ({"PatientAge": None, "PatientBirthDate": "18990506"}, None, True),
        ({"PatientAge": None, "PatientBirthDate": "20300101"}, None, False),
        ({"PatientAge": None, "PatientBirthDate": "unknown"}, None, False),
    ],
)
def test_ages_and_what_anonymisers_write_for_them(
    tmp_path: Path, tags: dict[str, object], age: float | None, placeholder: bool
) -> None:
    for path in write_series(tmp_path, SMALL):
        with pydicom.config.disable_value_validation():
            edit(path, **tags)
    candidate = only(find(tmp_path))
    assert candidate.age_years == age
    assert candidate.notes == (("the age is one that anonymisers write, taken as unknown",) if placeholder else ())


@pytest.mark.parametrize(
    ("word", "sex"), [("F", "F"), ("female", "F"), ("WOMAN", "F"), ("Male", "M"), ("O", None), ("", None), ("X", None)]
)
def test_the_sex_in_words(tmp_path: Path, word: str, sex: str | None) -> None:
    write_series(tmp_path, replace(SMALL, sex=word))
    assert only(find(tmp_path)).sex == sex


@pytest.mark.parametrize(
    "change",
    [
        {"ImageOrientationPatient": [1, 0.00004, 0.00006, 0, 1, 0]},
        {"PixelSpacing": [5.00002, 6.00002]},
        {"PatientAge": None},
        {"PatientSex": ""},
        {"PatientAge": "064Y"},
        {"PatientPosition": None},
        {"GantryDetectorTilt": "0.0"},
        {"PixelPaddingValue": 0},
        {"ConvolutionKernel": "B30f"},
        {"AcquisitionNumber": 7},
        {"InstitutionName": "General"},
    ],
)
def test_what_changes_nothing_may_vary_within_a_series(tmp_path: Path, change: dict[str, object]) -> None:
    for path in write_series(tmp_path, SMALL)[6:]:
        edit(path, **change)
    candidate = only(
        find(tmp_path, site="", site_tag="InstitutionName") if "InstitutionName" in change else find(tmp_path)
    )
    assert (candidate.slices, candidate.sex, candidate.age_years) == (12, "F", 63.0)


@pytest.mark.parametrize(
    ("change", "sex", "age"), [({"PatientSex": "M"}, None, 63.0), ({"PatientAge": "070Y"}, "F", None)]
)
def test_what_slices_contradict_each_other_on_is_unknown(
    tmp_path: Path, change: dict[str, object], sex: str | None, age: float | None
) -> None:
    edit(write_series(tmp_path, SMALL)[2], **change)
    candidate = only(find(tmp_path))
    assert (candidate.sex, candidate.age_years) == (sex, age)


def test_slices_of_two_sites_are_refused_by_the_name_of_the_tag(tmp_path: Path) -> None:
    paths = write_series(tmp_path, replace(SMALL, tags={"StationName": "A"}))
    edit(paths[5], StationName="B")
    told = reasons(tmp_path, site="", site_tag="StationName")
    assert told == [("mixed series", "StationName differs between slices of one series UID")]


@pytest.mark.parametrize("offset", [0.0, 0.5])
@pytest.mark.parametrize(
    "change",
    [
        {"ConvolutionKernel": "B70f"},
        {"AcquisitionNumber": 2},
        {"TemporalPositionIdentifier": 2},
        {"ContrastBolusAgent": "iodine"},
        {"ImageType": ["DERIVED", "SECONDARY", "MPR"]},
        {"KVP": "80"},
        {"SeriesDescription": "Lung"},
    ],
)
def test_two_acquisitions_that_cover_one_another_are_refused_by_name(
    tmp_path: Path, change: dict[str, object], offset: float
) -> None:
    usual = {
        "ConvolutionKernel": "B30f",
        "AcquisitionNumber": 1,
        "TemporalPositionIdentifier": 1,
        "KVP": "140",
        "SeriesDescription": "Body",
    }
    usual |= {"ContrastBolusAgent": "none"}
    write_series(tmp_path / "a", replace(SMALL, tags=usual))
    x, y, z = SMALL.centre_mm
    second = replace(SMALL, tags=usual | change, centre_mm=(x, y, z + offset * SMALL.spacing_mm[0]))
    for number, path in enumerate(write_series(tmp_path / "b", second)):
        edit(path, SOPInstanceUID=f"7.7.{number}")
    detail = f"{next(iter(change))} differs: several acquisitions, reconstructions or phases under one series UID"
    assert reasons(tmp_path) == [("mixed series", detail)]


@pytest.mark.parametrize("moving", [0.0, 0.5])
def test_two_passes_are_told_apart_by_their_times_alone(tmp_path: Path, moving: float) -> None:
    x, y, z = SMALL.centre_mm
    write_series(tmp_path / "a", replace(SMALL, tags={"AcquisitionTime": "100000"}))
    write_series(tmp_path / "b", replace(SMALL, centre_mm=(x, y, z + 2.0)))
    for folder, minute in (("a", 0), ("b", 1)):
        for number, path in enumerate(sorted((tmp_path / folder).iterdir())):
            edit(path, AcquisitionTime=f"10{minute:02d}{moving * number:05.2f}", SOPInstanceUID=f"7.{minute}.{number}")
    detail = "AcquisitionTime runs to and fro: several acquisitions under one series UID"
    assert reasons(tmp_path) == [("mixed series", detail)]


@pytest.mark.parametrize("per_shot", [1, 3, 12])
def test_times_that_only_run_on_are_of_one_pass(tmp_path: Path, per_shot: int) -> None:
    for number, path in enumerate(write_series(tmp_path, SMALL)):
        edit(path, AcquisitionTime=f"1000{59 - number // per_shot:02d}.25")
    assert only(find(tmp_path)).slices == 12


def test_acquisitions_that_follow_each_other_are_one_scan_but_kernels_are_not(tmp_path: Path) -> None:
    paths = write_series(tmp_path, SMALL)
    for number, path in enumerate(paths):
        edit(path, AcquisitionNumber=1 + number // 4, ConvolutionKernel="B30f")
    assert only(find(tmp_path)).slices == 12
    for path in paths[6:]:
        edit(path, ConvolutionKernel="B70f")
    assert reasons(tmp_path)[0][1].startswith("ConvolutionKernel differs")


def test_patients_who_share_a_study_uid_are_all_taken(tmp_path: Path) -> None:
    for number in range(3):
        write_series(tmp_path / str(number), replace(SMALL, uid=f"1.{number}", patient=f"patient {number}"))
    write_series(tmp_path / "more", replace(SMALL, uid="1.9", patient="patient 0", shape=(14, 8, 6)))
    found = find(tmp_path)
    assert sorted(candidate.slices for candidate in found.candidates) == [12, 12, 14]
    assert [item.reason for item in found.left_out] == ["another series of the study was taken"]


def bits(paths: list[Path], *, stored: int, high: int, shift: int = 0, junk: int = 0, **tags: object) -> None:
    """Write the same values with other bits; ``junk`` fills those below."""
    for path in paths:
        dataset = pydicom.dcmread(path)
        values = dataset.pixel_array.astype(np.int64)
        dataset.PixelData = ((values << shift | junk) & 0xFFFF).astype("<u2").tobytes()
        dataset.BitsStored, dataset.HighBit = stored, high
        dataset.save_as(path, enforce_file_format=True)
        edit(path, **tags)


@pytest.mark.parametrize("signed", [0, 1])
def test_values_in_the_upper_bits_are_what_they_say(tmp_path: Path, signed: int) -> None:
    scan = replace(SMALL, slope=2.0, tags={"PixelRepresentation": signed})
    write_series(tmp_path / "a", scan)
    expected = only(find(tmp_path / "a")).read().volume
    assert expected.max() > 40
    bits(write_series(tmp_path / "b", scan), stored=12, high=15, shift=4, junk=5)
    np.testing.assert_array_equal(only(find(tmp_path / "b")).read().volume, expected)


@pytest.mark.parametrize(
    ("stored", "high", "detail"), [(12, 10, "10 and 12 of 16 bits"), (12, 16, "16 and 12 of 16 bits")]
)
def test_bits_that_cannot_be_are_refused(tmp_path: Path, stored: int, high: int, detail: str) -> None:
    bits(write_series(tmp_path, SMALL), stored=stored, high=high)
    assert set(reasons(tmp_path)) == {("HighBit contradicts BitsStored", detail)}


@pytest.mark.parametrize("implicit", [True, False])
def test_files_without_preamble_are_read(tmp_path: Path, implicit: bool) -> None:
    write_series(tmp_path / "a", SMALL)
    expected = only(find(tmp_path / "a")).read().volume
    for path in write_series(tmp_path / "b", SMALL):
        dataset = pydicom.dcmread(path)
        del dataset.file_meta
        dataset.preamble = None
        dataset.save_as(path, implicit_vr=implicit, little_endian=True)
        assert path.read_bytes()[:2] == b"\x08\0"
    found = find(tmp_path / "b")
    np.testing.assert_array_equal(only(found).read().volume, expected)
    assert "files that are not DICOM" not in found.counts


def test_a_compressed_file_without_preamble_is_named(tmp_path: Path) -> None:
    for path in write_series(tmp_path, SMALL, compress=True):
        raw = path.read_bytes()
        path.write_bytes(raw[raw.index(b"\x08\0\x08\0CS") :])
    assert {reason for reason, _ in reasons(tmp_path)} == {"compressed DICOM file without preamble"}


def test_air_that_is_stored_as_padding_is_air(tmp_path: Path) -> None:
    class Clipped(Scan):
        def hu(self) -> "np.ndarray[tuple[int, ...], np.dtype[np.float64]]":
            hu = np.full(self.shape, -1024.0)
            hu[2:9, 2:6] = 40.0
            return hu

    for path in write_series(tmp_path, Clipped(**vars(SMALL))):
        edit(path, PixelPaddingValue=0)
    volume = only(find(tmp_path)).read().volume
    assert (volume.min(), volume.max()) == (0, 76)


@pytest.mark.parametrize(("rows", "notes"), [(1, ()), (6, ("432 voxels are padding by its own tags",))])
def test_padding_is_noted_where_it_is_most_of_the_scan(tmp_path: Path, rows: int, notes: tuple[str, ...]) -> None:
    class Padded(Scan):
        def hu(self) -> "np.ndarray[tuple[int, ...], np.dtype[np.float64]]":
            hu = np.random.default_rng(0).normal(-1000.0, 50.0, self.shape)
            hu[:, 7, 1:5] = 40.0
            hu[:, :rows] = 2000.0
            return hu

    for path in write_series(tmp_path, Padded(**vars(SMALL))):
        edit(path, PixelPaddingValue=3024)
    assert only(find(tmp_path)).read().notes == notes


@pytest.mark.parametrize(
    ("slope", "intercept", "detail"),
    [
        (1.0, 0.0, ""),
        (0.0, 40.0, "one value everywhere"),
        (255 / 1100, 1000 * 255 / 1100, "as in images of 8 bits and masks"),
        (1 / 1100, 1000 / 1100, "as in scaled images and masks"),
        (1.0, 1024.0, "was a constant such as 1024 added?"),
        (1.0, -1024.0, "was a constant such as 1024 taken away?"),
        (1.0, -9000.0, "was a constant such as 1024 taken away?"),
        (16.0, 15360.0, "denser than metal; is it scaled?"),
    ],
)
def test_values_that_cannot_be_hu_are_refused(tmp_path: Path, slope: float, intercept: float, detail: str) -> None:
    class Other(Scan):
        def hu(self) -> "np.ndarray[tuple[int, ...], np.dtype[np.float64]]":
            hu = np.full(self.shape, -1000.0)
            hu[:, 1:, 1:] = 40.0
            hu[2:9, 2:5] = -820.0  # lungs
            hu[5, 5, 5] = 100.0
            return hu * slope + intercept

    scale = 1e-4 if 0 < slope < 0.01 else 0.5
    write_series(tmp_path, Other(**vars(SMALL) | {"slope": scale, "intercept": 0.0}))
    candidate = only(find(tmp_path))
    if not detail:
        assert candidate.read().volume.std() > 20
        return
    with pytest.raises(ScanError) as caught:
        candidate.read()
    assert caught.value.reason == "not in HU"
    assert detail in caught.value.detail


def test_sites_from_a_tag_get_pseudonyms(tmp_path: Path) -> None:
    for number, name in enumerate((f"{SECRET} General", f"{SECRET} General", "Other")):
        tags = {"InstitutionName": name}
        write_series(tmp_path / str(number), replace(SMALL, uid=f"1.{number}", study=f"2.{number}", tags=tags))
    sites = sorted(candidate.site for candidate in find(tmp_path, site="", site_tag="InstitutionName").candidates)
    assert len(set(sites)) == 2
    assert all(site.startswith("site-") and SECRET not in site for site in sites)


@pytest.mark.parametrize("tag", ["PatientName", "PatientID", "StudyDate", "AccessionNumber", "SeriesInstanceUID", "no"])
def test_tags_that_name_persons_are_refused_as_sites(tmp_path: Path, tag: str) -> None:
    with pytest.raises(ConfigError, match="tag"):
        find(tmp_path, site="", site_tag=tag)


def test_labels_from_a_tag_are_those_of_the_list_only(tmp_path: Path) -> None:
    for number, protocol in enumerate(("covid", f"{SECRET}")):
        tags = {"ProtocolName": protocol}
        write_series(tmp_path / str(number), replace(SMALL, uid=f"1.{number}", study=f"2.{number}", tags=tags))
    found = find(tmp_path, classes=("normal", "covid"), label_tag="ProtocolName")
    assert [candidate.label for candidate in found.candidates] == ["covid"]
    assert [(item.reason, item.detail) for item in found.left_out] == [
        ("no label", "none of the classes that were given")
    ]


@pytest.mark.parametrize("key", DICOM_KEYS)
def test_a_table_goes_before_the_tags(tmp_path: Path, key: str) -> None:
    scans = [replace(SMALL, uid=f"1.{n}", study=f"2.{n}", patient=f"{SECRET}{n}") for n in range(3)]
    for scan in scans:
        write_series(tmp_path / "scans" / scan.uid, scan)
    value = {"series_uid": "1.1", "study_uid": "2.1", "patient_id": f"{SECRET}1"}[key]
    (tmp_path / "table.csv").write_text(
        f"{key};site;Sex;age_years;label;split;remark\n{value};Lima;M;41.7;covid;test;x\nabsent;Lima;;;covid;train;y\n"
    )
    config = ImportConfig(name="x", shape=(8, 8, 8))
    table = read_table(tmp_path / "table.csv", DICOM_KEYS)
    found = find_dicom(tmp_path / "scans", config=config, pseudonyms=NAMES, table=table)
    (candidate,) = found.candidates
    told = (candidate.site, candidate.sex, candidate.age_years, candidate.label, candidate.split)
    assert told == ("Lima", "M", 41.0, "covid", "test")
    assert candidate.patient_id == NAMES.patient(f"{SECRET}1")
    assert [item.reason for item in found.left_out] == ["not in the table"] * 2
    assert found.counts["rows of the table that found no series"] == 1
    assert found.counts["columns of the table that are not used"] == 1


def test_patients_are_the_same_everywhere_unless_ids_are_per_site(tmp_path: Path) -> None:
    for site in ("A", "B"):
        scan = replace(SMALL, uid=f"1.{site == 'A':d}", study=f"2.{site == 'A':d}", tags={"StationName": site})
        write_series(tmp_path / site, scan)
    for per_site, patients in ((False, 1), (True, 2)):
        found = find(tmp_path, site="", site_tag="StationName", patients_per_site=per_site)
        assert len({candidate.patient_id for candidate in found.candidates}) == patients


def test_a_series_without_a_patient_is_left_out(tmp_path: Path) -> None:
    write_series(tmp_path, replace(SMALL, patient=" "))
    assert reasons(tmp_path) == [("no patient id", "")]


def test_no_site_no_folder_no_shape(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no way to tell sites"):
        find(tmp_path, site="")
    with pytest.raises(ConfigError, match="shape"):
        find(tmp_path, shape=None)
    with pytest.raises(CohortError, match="not a folder"):
        find(tmp_path / "absent")


def test_memory_does_not_grow_with_the_slices(tmp_path: Path) -> None:
    import tracemalloc

    class Flat(Scan):
        def hu(self) -> "np.ndarray[tuple[int, ...], np.dtype[np.float64]]":
            return np.linspace(-1000.0, 100.0, self.shape[0])[:, None, None] * np.ones(self.shape)

    write_series(tmp_path, Flat(shape=(100, 256, 256), spacing_mm=(2.0, 1.0, 1.0), uid="1.2.3"))
    candidate = only(find(tmp_path, shape=(8, 32, 32)))
    tracemalloc.start()
    candidate.read()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * 256 * 256 * 4, "100 slices were read, few may be held"
