"""NIfTI files land where DICOM does; damaged and hostile ones are refused."""

import gzip
import resource
import unicodedata
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
from dicom_scans import SECRET, Scan
from nifti_scans import write_nifti
from test_dicom_geometry import GEOMETRIES, NAMES, PLAIN, SHAPE, assert_landmarks, only

from flprivacy.cohorts.importing.config import ImportConfig
from flprivacy.cohorts.importing.found import Found, ScanError
from flprivacy.cohorts.importing.nifti import find_nifti, read_nifti
from flprivacy.cohorts.importing.table import NIFTI_KEYS, read_table
from flprivacy.core.errors import CohortError, ConfigError

SMALL = Scan(shape=(12, 8, 6), spacing_mm=(4.0, 5.0, 6.0))


def find(root: Path, *names: str, **settings: object) -> Found:
    table = root.parent / "table.csv"
    lines = [f"{name},{SECRET}-{number},Basel" for number, name in enumerate(names)]
    table.write_text("\n".join(["file,patient_id,site", *lines]))
    defaults = {"name": "x", "shape": SHAPE, "window_hu": (-1000.0, 2500.0)}
    config = ImportConfig(**defaults | settings)  # type: ignore[arg-type]
    return find_nifti(root, config=config, pseudonyms=NAMES, table=read_table(table, NIFTI_KEYS))


@pytest.mark.parametrize("name", ["axial, anisotropic", "left decubitus", "coronal", "oblique"])
def test_landmarks_land_to_within_a_voxel(tmp_path: Path, name: str) -> None:
    write_nifti(tmp_path / "scans" / "a.nii", GEOMETRIES[name])
    assert_landmarks(only(find(tmp_path / "scans", "a.nii")), GEOMETRIES[name])


@pytest.mark.parametrize("axes", ["RAS", "LPI", "PSR", "AIL"])
def test_the_order_of_stored_axes_does_not_matter(tmp_path: Path, axes: str) -> None:
    write_nifti(tmp_path / "scans" / "deep" / "a.nii.gz", PLAIN, reoriented=axes)
    assert_landmarks(only(find(tmp_path / "scans", "deep/a.nii.gz")), PLAIN)


@pytest.mark.parametrize(
    ("dtype", "version"), [("float32", 1), ("float64", 2), ("int32", 2), ("int16", 2), ("int64", 1)]
)
def test_types_and_versions(tmp_path: Path, dtype: str, version: int) -> None:
    write_nifti(tmp_path / "scans" / "a.nii", PLAIN, dtype=dtype, version=version)
    assert_landmarks(only(find(tmp_path / "scans", "a.nii")), PLAIN)


def test_slope_and_intercept(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "scans" / "a.nii", SMALL)
    image = nibabel.load(path)
    header = image.header.copy()
    header["scl_slope"], header["scl_inter"] = 0.5, -24.0
    raw = bytearray(path.read_bytes())
    raw[:348] = header.binaryblock
    path.write_bytes(bytes(raw))
    expected = nibabel.load(path).get_fdata()
    planes = np.stack(list(read_nifti(path).planes()))
    np.testing.assert_allclose(planes.transpose(2, 1, 0), expected, atol=1e-3)


def test_not_numbers_become_air(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "scans" / "a.nii", SMALL, dtype="float32")
    raw = bytearray(path.read_bytes())
    raw[352:356] = np.float32(np.nan).tobytes()
    raw[356:360] = np.float32(np.inf).tobytes()
    path.write_bytes(bytes(raw))
    assert only(find(tmp_path / "scans", "a.nii")).read().volume.dtype == np.uint8


def holed(root: Path, name: str, where: object, value: float) -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
    """Write PLAIN, with noise and with ``value`` at some of its (column, row, slice); return what was there."""
    path = write_nifti(root / name, PLAIN, dtype="float32")
    image = nibabel.load(path)
    data = np.array(image.get_fdata(dtype=np.float32))
    data += np.random.default_rng(0).normal(0.0, 5.0, data.shape).astype(np.float32)
    before = data.copy()
    data[where] = value
    nibabel.save(nibabel.Nifti1Image(data, image.affine), path)
    return before


@pytest.mark.parametrize(
    ("where", "value", "note"),
    [
        (np.s_[0, :3, 1], np.nan, "3 voxels are NaN, taken as air"),
        (np.s_[0, :4, 1], np.inf, "4 voxels are infinite, cut off"),
        (np.s_[0, :5, 1], -np.inf, "5 voxels are infinite, cut off"),
        (np.s_[:, :, 3:5], -1000.0, "2 slices between others hold no more than one value"),
        (np.s_[:, :, -2:], -1000.0, ""),  # filled up to the size that all have
        (np.s_[0, :1, 1], -900.0, ""),
    ],
)
def test_odd_values_are_counted_in_the_report(tmp_path: Path, where: object, value: float, note: str) -> None:
    holed(tmp_path / "scans", "a.nii", where, value)
    assert only(find(tmp_path / "scans", "a.nii")).read().notes == ((note,) if note else ())


def test_slices_that_repeat_the_one_before_are_counted(tmp_path: Path) -> None:
    whole = holed(tmp_path / "scans", "a.nii", np.s_[:0], 0.0)
    holed(tmp_path / "scans", "a.nii", np.s_[:, :, 4:6], whole[:, :, 3:4])  # type: ignore[arg-type]
    assert only(find(tmp_path / "scans", "a.nii")).read().notes == ("2 slices are the same as the one before",)


def test_one_volume_of_four_dimensions_is_a_scan(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "scans" / "a.nii", PLAIN)
    image = nibabel.load(path)
    nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj)[..., None], image.affine), tmp_path / "scans" / "b.nii")
    three, four = find(tmp_path / "scans", "a.nii", "b.nii").candidates
    assert np.array_equal(three.read().volume, four.read().volume)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_scan_that_mostly_has_no_values_is_refused(tmp_path: Path, value: float) -> None:
    half = PLAIN.shape[0] // 2
    holed(tmp_path / "scans", "most.nii", np.s_[:, :, : half + 1], value)
    with pytest.raises(
        ScanError, match=r"mostly without values: 5\d% of its voxels are NaN or infinite; export it again"
    ):
        only(find(tmp_path / "scans", "most.nii")).read()
    holed(tmp_path / "scans", "half.nii", np.s_[:, :, :half], value)
    assert len(only(find(tmp_path / "scans", "half.nii")).read().notes) == 1


@pytest.mark.parametrize("name", ["../out.nii", "/etc/passwd", "a/../../out.nii", "link.nii", "..\\out.nii", "loop/a"])
def test_paths_that_leave_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    write_nifti(tmp_path / "out.nii", SMALL)
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans" / "link.nii").symlink_to(tmp_path / "out.nii")
    (tmp_path / "scans" / "loop").symlink_to(tmp_path / "scans" / "loop")
    with pytest.raises(CohortError, match="'file' of row 1 leads out of the source folder"):
        find(tmp_path / "scans", name)


@pytest.mark.parametrize(("stored", "told"), [("NFD", "NFC"), ("NFC", "NFD"), ("NFC", "NFC")])
def test_a_file_is_found_whichever_form_its_letters_have(tmp_path: Path, stored: str, told: str) -> None:
    write_nifti(tmp_path / "scans" / unicodedata.normalize(stored, "Jürgen.nii"), PLAIN)
    assert_landmarks(only(find(tmp_path / "scans", unicodedata.normalize(told, "Jürgen.nii"))), PLAIN)


@pytest.mark.parametrize(("written", "named"), [("a.nii.gz", "A.NII.GZ"), ("a.nii.gz", "a.nii"), ("a.nii", "a.nii.gz")])
def test_whether_a_file_is_compressed_is_seen_in_it(tmp_path: Path, written: str, named: str) -> None:
    write_nifti(tmp_path / "scans" / written, PLAIN).rename(tmp_path / "scans" / named)
    assert_landmarks(only(find(tmp_path / "scans", named)), PLAIN)


@pytest.mark.parametrize(("unit", "millimetres"), [("meter", 1000.0), ("micron", 0.001)])
def test_lengths_in_other_units(tmp_path: Path, unit: str, millimetres: float) -> None:
    image = nibabel.load(write_nifti(tmp_path / "mm.nii", PLAIN))
    affine = np.diag([1 / millimetres] * 3 + [1]) @ image.affine
    other = nibabel.Nifti1Image(np.asarray(image.dataobj), affine)
    nibabel.save(other, tmp_path / "forgotten.nii")
    other.header.set_xyzt_units(unit)
    (tmp_path / "scans").mkdir()
    nibabel.save(other, tmp_path / "scans" / "a.nii")
    assert_landmarks(only(find(tmp_path / "scans", "a.nii")), PLAIN)
    with pytest.raises(ScanError) as caught:
        read_nifti(tmp_path / "forgotten.nii")
    assert "voxels of" in str(caught.value.detail)


def test_links_inside_the_folder_are_followed(tmp_path: Path) -> None:
    write_nifti(tmp_path / "scans" / "a.nii", PLAIN)
    (tmp_path / "scans" / "b.nii").symlink_to(tmp_path / "scans" / "a.nii")
    assert only(find(tmp_path / "scans", "b.nii")).slices


def _field(name: str, value: object) -> "dict[str, object]":
    return {name: value}


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        (_field("dim", [3, 30000, 30000, 30000, 1, 1, 1, 1]), "absurd dimensions"),
        (_field("dim", [3, 600, 800, 1200, 1, 1, 1, 1]), "truncated pixel data"),
        (_field("dim", [3, -6, 8, 12, 1, 1, 1, 1]), "absurd dimensions"),
        (_field("dim", [4, 6, 8, 12, 2, 1, 1, 1]), "not one volume"),
        (_field("dim", [2, 6, 8, 1, 1, 1, 1, 1]), "not one volume"),
        (_field("datatype", 128), "not grey values"),
        (_field("datatype", 32), "not grey values"),
        (_field("vox_offset", 1e12), "absurd data offset"),
        (_field("vox_offset", -1.0), "damaged NIfTI header"),
        ({"scl_slope": 1e9, "scl_inter": 0.0}, "absurd rescale"),
        ({"sform_code": 0, "qform_code": 0}, "no orientation"),
        (_field("srow_x", [0, 0, 0, 0]), "absurd geometry"),
        (_field("magic", b"ni1"), "not a single-file NIfTI"),
    ],
)
def test_headers_that_cannot_be_true_are_refused(tmp_path: Path, fields: dict[str, object], reason: str) -> None:
    path = write_nifti(tmp_path / "scans" / "a.nii", SMALL)
    raw = bytearray(path.read_bytes())
    header = nibabel.load(path).header.copy()
    for name, value in fields.items():
        header[name] = value
    raw[:348] = header.binaryblock
    path.write_bytes(bytes(raw))
    (told,) = find(tmp_path / "scans", "a.nii").left_out
    assert (told.item, told.reason) == ("row 1", reason)


def test_a_compressed_bomb_takes_no_memory(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "scans" / "a.nii.gz", SMALL)
    with gzip.open(path) as stream:
        raw = stream.read()
    header = raw[:348]
    with gzip.open(path, "wb") as stream:
        stream.write(header + bytes(4) + bytes(1 << 26))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ScanError, match="one value everywhere, 0"):
        only(find(tmp_path / "scans", "a.nii.gz")).read()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 40 << 10


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_truncated_files(tmp_path: Path, suffix: str) -> None:
    path = write_nifti(tmp_path / "scans" / f"a{suffix}", SMALL)
    raw = path.read_bytes()
    for keep in (0.0, 0.05, 0.5, 0.9, 0.99):
        path.write_bytes(raw[: int(keep * len(raw))])
        found = find(tmp_path / "scans", path.name)
        for candidate in found.candidates:
            with pytest.raises(ScanError, match="truncated"):
                candidate.read()
        assert found.candidates or found.left_out


def test_missing_files_and_values_are_left_out(tmp_path: Path) -> None:
    write_nifti(tmp_path / "scans" / "a.nii", SMALL)
    (tmp_path / "scans" / "a.txt").write_text("x")
    found = find(tmp_path / "scans", "a.nii", "b.nii", "a.txt")
    assert [(item.item, item.reason) for item in found.left_out] == [
        ("row 2", "file not found"),
        ("row 3", "not a NIfTI file"),
    ]
    assert not find(tmp_path / "scans", "a.nii", classes=("normal",)).candidates


def test_what_a_table_must_have(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("file,site\na.nii,Basel\n")
    table = read_table(tmp_path / "t.csv", NIFTI_KEYS)
    config = ImportConfig(name="x")
    with pytest.raises(CohortError, match="patient_id"):
        find_nifti(tmp_path, config=config, pseudonyms=NAMES, table=table)
    (tmp_path / "t.csv").write_text("file,patient_id\na.nii,1\n")
    table = read_table(tmp_path / "t.csv", NIFTI_KEYS)
    with pytest.raises(ConfigError, match="no way to tell sites"):
        find_nifti(tmp_path, config=config, pseudonyms=NAMES, table=table)
    with pytest.raises(ConfigError, match="shape"):
        find_nifti(tmp_path, config=replace(config, site="Basel", shape=None), pseudonyms=NAMES, table=table)


@pytest.mark.parametrize("kind", ["mask", "scaled", "8 bits", "shifted"])
def test_values_that_cannot_be_hu_are_refused(tmp_path: Path, kind: str) -> None:
    class Other(Scan):
        def hu(self) -> "np.ndarray[tuple[int, ...], np.dtype[np.float64]]":
            hu = super().hu()
            unit = (hu - hu.min()) / np.ptp(hu)
            return {"mask": unit > 0.5, "scaled": unit, "8 bits": 255 * unit, "shifted": hu + 1024}[kind]

    dtype = "float32" if kind == "scaled" else "uint8" if kind in ("mask", "8 bits") else "int16"
    path = write_nifti(tmp_path / "scans" / "a.nii", Other(), dtype=dtype)
    if kind == "scaled":  # write_nifti rounds
        image = nibabel.load(path)
        nibabel.save(nibabel.Nifti1Image(Other().hu().transpose(2, 1, 0).astype("float32"), image.affine), path)
    with pytest.raises(ScanError, match="not in HU"):
        only(find(tmp_path / "scans", "a.nii")).read()


@pytest.mark.parametrize("what", ["turned", "masked"])
def test_a_scan_that_a_filter_filled_up_with_0_is_refused(tmp_path: Path, what: str) -> None:
    """Corners of 0 HU stand for water beside the patient; the same scan with corners of air is taken."""
    path = write_nifti(tmp_path / "scans" / "a.nii", PLAIN, dtype="float32")
    image = nibabel.load(path)
    data = np.array(image.get_fdata(dtype=np.float32))
    outside = np.zeros(data.shape, bool)
    outside[[0, -1]] = outside[:, [0, -1]] = True
    if what == "masked":
        outside |= data > -500.0
    nibabel.save(nibabel.Nifti1Image(np.where(outside, 0.0, data).astype(np.float32), image.affine), path)
    with pytest.raises(ScanError, match=r"not in HU.*0 HU in the corners.*fill up with -1000"):
        only(find(tmp_path / "scans", "a.nii")).read()
    nibabel.save(nibabel.Nifti1Image(np.where(outside, -1000.0, data).astype(np.float32), image.affine), path)
    if what == "turned":
        assert_landmarks(only(find(tmp_path / "scans", "a.nii")), PLAIN)


@pytest.mark.parametrize("padding", [-3024.0, -2000.0, -1500.0, -1024.0])
def test_a_scan_in_hu_with_padding_around_it_is_taken(tmp_path: Path, padding: float) -> None:
    path = write_nifti(tmp_path / "scans" / "a.nii", PLAIN, dtype="float32")
    image = nibabel.load(path)
    data = np.array(image.get_fdata(dtype=np.float32))
    data[:2], data[-2:] = np.nan, padding
    nibabel.save(nibabel.Nifti1Image(data, image.affine), path)
    assert_landmarks(only(find(tmp_path / "scans", "a.nii")), PLAIN)


def two_forms(path: Path, *, turned: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]") -> None:
    """Give a file its own affine as qform, and ``turned`` of it as sform."""
    image = nibabel.load(path)
    both = nibabel.Nifti1Image(np.array(image.dataobj), image.affine)
    both.set_qform(image.affine, 1)
    both.set_sform(image.affine @ turned, 2)
    nibabel.save(both, path)


@pytest.mark.parametrize("form", ["sform", "qform"])
def test_orientations_that_disagree_are_said_with_a_choice(tmp_path: Path, form: str) -> None:
    plain = write_nifti(tmp_path / "scans" / "plain.nii", PLAIN)
    mirrored = write_nifti(tmp_path / "scans" / "mirrored.nii", PLAIN)
    two_forms(mirrored, turned=np.diag([-1.0, 1.0, 1.0, 1.0]))
    expected, found = find(tmp_path / "scans", "plain.nii", "mirrored.nii", orientation=form).candidates
    assert (expected.notes, found.notes) == ((), (f"sform and qform disagree; the {form} was taken",))
    volume = expected.read().volume
    np.testing.assert_array_equal(found.read().volume, volume[..., ::-1] if form == "sform" else volume)
    assert plain.exists()


@pytest.mark.parametrize(
    ("turned", "noted"),
    [
        (np.eye(4), False),
        (np.eye(4) + np.outer([1, 0, 0, 0], [0, 0, 0, 40.0]), False),  # moved
        (np.diag([1.001, 1.0, 1.0, 1.0]), False),
        (np.diag([1.1, 1.0, 1.0, 1.0]), True),
    ],
)
def test_only_what_changes_the_volume_is_a_disagreement(
    tmp_path: Path, turned: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]", noted: bool
) -> None:
    two_forms(write_nifti(tmp_path / "scans" / "a.nii", PLAIN), turned=turned)
    assert bool(only(find(tmp_path / "scans", "a.nii")).notes) == noted


def test_a_qform_that_cannot_be_read_does_no_harm_but_is_said(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "scans" / "a.nii", PLAIN)
    two_forms(path, turned=np.eye(4))
    raw = bytearray(path.read_bytes())
    raw[256:268] = np.array([3.0, 4.0, 5.0], dtype="<f4").tobytes()  # quatern_b, c and d
    path.write_bytes(raw)
    candidate = only(find(tmp_path / "scans", "a.nii"))
    assert candidate.notes == ("the qform cannot be read; the sform was taken",)
    assert_landmarks(candidate, PLAIN)


def test_names_in_other_case_and_whole_paths_are_found_as_the_same_scan(tmp_path: Path) -> None:
    write_nifti(tmp_path / "scan.nii", Scan())
    (one,) = find(tmp_path, "scan.nii").candidates
    for name in ("SCAN.NII", str(tmp_path / "scan.nii")):
        (other,) = find(tmp_path, name).candidates
        assert np.array_equal(one.read().volume, other.read().volume)


def test_one_file_under_two_names_is_refused(tmp_path: Path) -> None:
    write_nifti(tmp_path / "scan.nii", Scan())
    with pytest.raises(CohortError, match="row 1 and row 2 name one file; leave one out"):
        find(tmp_path, "scan.nii", "./scan.nii")
