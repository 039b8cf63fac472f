"""The mapping table: read as text, checked, and never quoted."""

from pathlib import Path

import pandas as pd
import pytest
from dicom_scans import SECRET

from flprivacy.cohorts.importing.table import DICOM_KEYS, NIFTI_KEYS, ScanTable, read_table
from flprivacy.core.errors import CohortError


def csv(path: Path, *lines: str) -> ScanTable:
    path.write_text("\n".join(lines))
    return read_table(path, DICOM_KEYS)


@pytest.mark.parametrize("kind", ["csv", "semicolon", "parquet", "integers"])
def test_the_same_rows_from_every_kind_of_table(tmp_path: Path, kind: str) -> None:
    frame = pd.DataFrame(
        {"patient_id": [101, 102, 103], "sex": ["female", "M", None], "age_years": [50, None, 71.5], "site": [1, 2, 2]}
    )
    path = tmp_path / ("t.parquet" if kind in ("parquet", "integers") else "t.csv")
    if kind == "integers":
        frame.assign(patient_id=frame["patient_id"].astype("Int64")).to_parquet(path)
    elif kind == "parquet":
        frame.assign(patient_id=frame["patient_id"].astype(str), site=frame["site"].astype("category")).to_parquet(path)
    else:
        frame.to_csv(path, index=False, sep=";" if kind == "semicolon" else ",", encoding="utf-8-sig")
    rows = read_table(path, DICOM_KEYS).rows
    assert [(k, row.sex, row.age_years, row.site) for k, row in rows.items()] == [
        ("101", "F", 50.0, "1"),
        ("102", "M", None, "2"),
        ("103", None, 71.5, "2"),
    ]


def test_the_most_specific_key_wins(tmp_path: Path) -> None:
    table = csv(tmp_path / "t.csv", "patient_id,SERIES_UID,site", "7,1.2,A")
    assert table.key == "series_uid"
    assert table.rows["1.2"].patient_id == "7"


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["site,sex", "A,F"], "has no column 'series_uid' or 'study_uid' or 'patient_id'"),
        (["patient_id,site,site", "1,A,B"], "repeats"),
        (["patient_id,site"], "no rows"),
        (["patient_id,site,", f"1,A,{SECRET}"], "column 3 has no name but holds values"),
        (["patient_id,sex,gender", "1,F,F", f"2,{SECRET},M"], "'sex' of row 2"),
        ([], "no column"),
        (["patient_id,site", f"{SECRET},A", f"{SECRET},A"], "row 2 is the same"),
        (["patient_id,site", ",A"], "row 1 is empty"),
        (["patient_id,sex", f"1,{SECRET}"], "'sex' of row 1"),
        (["patient_id,age_years", f"1,{SECRET}"], "'age_years' of row 1"),
        (["patient_id,age_years", "1,-3"], "'age_years' of row 1"),
        (["patient_id,age_years", "1,inf"], "'age_years' of row 1"),
        (["patient_id,split", "1,val"], "'split' of row 1"),
        (["patient_id,site", "1,A,B"], "row 1 has 3 cells"),
        (["patient_id,site", '1,"A'], "not a readable CSV"),
        (["patient_id,site", "1.23E+12,A"], "a spreadsheet has cut off its last digits; make the column text"),
        (["study_uid,patient_id", '1.2.3,"1,23E+12"'], "'patient_id' of row 1 is not understood; a spreadsheet"),
        (["patient_id,site", "1," + "x" * 2000], "more than 1024 characters"),
    ],
)
def test_wrong_tables_are_refused_without_quoting_them(tmp_path: Path, lines: list[str], words: str) -> None:
    with pytest.raises(CohortError) as caught:
        csv(tmp_path / "t.csv", *lines)
    assert words in str(caught.value)
    assert SECRET not in str(caught.value)
    assert "t.csv" in str(caught.value)


@pytest.mark.parametrize("value", [[["a"]], [{"a": 1}], [b"bytes"], [True], [pd.Timestamp("2024-01-01")]])
def test_parquet_of_wrong_types_is_refused(tmp_path: Path, value: list[object]) -> None:
    pd.DataFrame({"patient_id": ["1"], "age_years": value}).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(CohortError, match="'age_years' has type"):
        read_table(tmp_path / "t.parquet", DICOM_KEYS)


def test_numbers_that_floats_cannot_tell_apart_name_nobody(tmp_path: Path) -> None:
    for value, known in ((101.0, True), (1234567890123456789.0, False)):
        pd.DataFrame({"patient_id": [value]}).to_parquet(tmp_path / "t.parquet")
        if known:
            assert list(read_table(tmp_path / "t.parquet", DICOM_KEYS).rows) == ["101"]
        else:
            with pytest.raises(CohortError, match="has cut off its last digits"):
                read_table(tmp_path / "t.parquet", DICOM_KEYS)


def test_damaged_and_absent_tables(tmp_path: Path) -> None:
    for name, data in (("a.parquet", b"PAR1"), ("b.csv", b"\xff\xfe\x00"), ("c.csv", b"\0"), ("d.pq", b"")):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(CohortError, match=name):
            read_table(tmp_path / name, NIFTI_KEYS)
    for name in ("absent.csv", "absent.parquet"):
        with pytest.raises(CohortError, match="absent"):
            read_table(tmp_path / name, NIFTI_KEYS)
    with pytest.raises(CohortError):
        read_table(tmp_path, NIFTI_KEYS)


def test_what_spreadsheets_leave_in_a_table_is_read(tmp_path: Path) -> None:
    table = csv(tmp_path / "t.csv", "SEP=;", "Patient ID;Age;Gender;;", "7;41,5;male;;", "8;;;;;;", ";;;;", "")
    assert (table.key, table.unused) == ("patient_id", ())
    assert [(k, row.number, row.sex, row.age_years) for k, row in table.rows.items()] == [
        ("7", 1, "M", 41.5),
        ("8", 2, None, None),
    ]


def test_excels_unicode_text_is_read(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes("patient_id\tsite\n7\tZürich\n".encode("utf-16"))
    assert read_table(tmp_path / "t.csv", DICOM_KEYS).rows["7"].site == "Zürich"


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_columns_by_their_other_names_and_letters_in_either_form(tmp_path: Path, kind: str) -> None:
    frame = pd.DataFrame({"patient": ["Mu\u0308ller"], "gender": ["female"], "Age": [41], "remark of mine": ["x"]})
    path = tmp_path / f"t.{kind}"
    frame.to_csv(path, index=False) if kind == "csv" else frame.to_parquet(path)
    table = read_table(path, DICOM_KEYS)
    (row,) = table.rows.values()
    assert (row.patient_id, row.sex, row.age_years) == ("M\u00fcller", "F", 41.0)
    assert table.notes == ("columns of the table that are not used: 'remark of mine'",)
    assert table.counts == {"rows of the table": 1, "columns of the table that are not used": 1}


@pytest.mark.parametrize("first", [0, 1])
def test_the_numbers_of_rows_are_no_column(tmp_path: Path, first: int) -> None:
    frame = pd.DataFrame({"patient": ["a", "b"], "hospital": ["North", "South"]}, index=[first, first + 1])
    frame.to_csv(tmp_path / "t.csv")
    table = read_table(tmp_path / "t.csv", DICOM_KEYS)
    assert [row.site for row in table.rows.values()] == ["North", "South"]
    assert table.unused == ()
    frame.set_index(pd.Index([5, 3])).to_csv(tmp_path / "t.csv")
    with pytest.raises(CohortError, match="column 1 has no name but holds values"):
        read_table(tmp_path / "t.csv", DICOM_KEYS)


def test_a_column_of_the_right_name_goes_before_its_other_name(tmp_path: Path) -> None:
    table = csv(tmp_path / "t.csv", "patient_id,sex,gender", "1,F,M")
    assert table.rows["1"].sex == "F"
    assert table.unused == ("gender",)


@pytest.mark.parametrize(
    ("text", "years"),
    [("063Y", 63.0), ("63 y", 63.0), ("63.5 years", 63.5), ("018M", 1.5), ("90+", 90.0), (">89", 90.0), ("63,5", 63.5),
     ("n/a", None), ("?", None), ("Unknown", None)],
)  # fmt: skip
def test_ages_as_archives_write_them(tmp_path: Path, text: str, years: float | None) -> None:
    assert csv(tmp_path / "t.csv", "patient_id;age", f"7;{text}").rows["7"].age_years == years


@pytest.mark.parametrize("text", ["<18", "60-69", "adult", "-1", "999", "1e999"])
def test_ages_that_are_no_number_are_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(CohortError, match="'age_years' of row 1"):
        csv(tmp_path / "t.csv", "patient_id,age", f"7,{text}")


def test_columns_named_as_dicom_and_bids_name_them(tmp_path: Path) -> None:
    table = csv(tmp_path / "t.csv", "SeriesInstanceUID,PatientID,Patient's Sex,PatientAge,site", "1.2,7,F,063Y,A")
    assert (table.key, table.unused) == ("series_uid", ())
    assert (table.rows["1.2"].patient_id, table.rows["1.2"].sex, table.rows["1.2"].age_years) == ("7", "F", 63.0)
    path = tmp_path / "n.csv"
    path.write_text("participant_id,subject,filename,site\n7,8,a.nii,A")
    table = read_table(path, NIFTI_KEYS)
    assert (table.rows["a.nii"].patient_id, table.unused) == ("7", ("subject",))


def test_paths_of_windows_are_paths(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("file,patient_id\nsub\\x.nii,1\n")
    assert list(read_table(tmp_path / "t.csv", NIFTI_KEYS).rows) == ["sub/x.nii"]
    (tmp_path / "t.csv").write_text("file,patient_id\nsub\\x.nii,1\nsub/x.nii,2\n")
    with pytest.raises(CohortError, match="row 2 is the same"):
        read_table(tmp_path / "t.csv", NIFTI_KEYS)


@pytest.mark.parametrize(
    "lines",
    [
        ["patient_id|age|gender|label", "7|60|weiblich|1.0"],
        ["Cohort of 2024,,,", "patient_id,age,gender,label", "7,60,weiblich,1.0"],
        ["# exported by a registry", "patient_id,Age (months),Geschlecht,label", "7,720,F,1"],
        ["patient_id,age_at_scan,Sexe,label", '"=""7""",60 ans,femme,1.00'],
    ],
)
def test_what_programs_of_all_kinds_export_is_one_table(tmp_path: Path, lines: list[str]) -> None:
    table = csv(tmp_path / "t.csv", *lines)
    assert table.unused == ()
    row = table.rows["7"]
    assert (row.sex, row.age_years, row.label) == ("F", 60.0, "1")


@pytest.mark.parametrize("start", [b"PK\x03\x04", b"\xd0\xcf\x11\xe0"])
def test_a_workbook_is_named(tmp_path: Path, start: bytes) -> None:
    (tmp_path / "t.xlsx").write_bytes(start + b"\0" * 99)
    with pytest.raises(CohortError, match=r"t\.xlsx: a spreadsheet program's workbook; save it as CSV \(UTF-8\)"):
        read_table(tmp_path / "t.xlsx", NIFTI_KEYS)
