"""What an import asks a person to look at: contradictions, identical scans, and values that nobody has."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from dicom_scans import Scan
from nifti_scans import write_nifti
from test_dicom_geometry import NAMES

from flprivacy.cohorts.importing.build import import_cohort
from flprivacy.cohorts.importing.config import ImportConfig
from flprivacy.cohorts.importing.doubts import constants, contradictions, people, spellings, twin_notes
from flprivacy.cohorts.importing.found import Candidate
from flprivacy.cohorts.importing.report import import_tables
from flprivacy.core.cohort import Cohort

SMALL = Scan(shape=(12, 8, 6), spacing_mm=(4.0, 5.0, 6.0))


def scan(
    patient: str, number: int = 0, *, sex: str | None = "F", age: float | None = 40.0, site: str = "A"
) -> Candidate:
    return Candidate(
        scan_id=f"s-{patient}-{number}",
        patient_id=patient,
        site=site,
        label="",
        sex=sex,
        age_years=age,
        split="",
        work="",
        read=lambda: np.zeros((2, 2, 2), dtype=np.uint8),
    )


def test_one_person_has_one_sex_and_ages_that_fit() -> None:
    fine = [scan("a"), scan("a", 1, sex=None, age=50.0), scan("b", sex="M", age=None)]
    assert contradictions(fine) == ()
    sex, age = contradictions([*fine, scan("b", 1), scan("a", 2, age=50.5), scan("c"), scan("c", 1, age=71.0)])
    assert sex == "patients with scans of both sexes, so perhaps several people: b"
    assert age == "patients whose ages differ by more than 10 years, so perhaps several people: a, c"


def test_values_that_all_patients_share_are_noted() -> None:
    same = [scan(f"p{n}", age=90.0, sex="FM"[n % 2]) for n in range(3)]
    assert constants(same) == ("cohort: all 3 patients have age 90; is it a placeholder?",)
    assert constants([*same[:2], same[0]]) == ()
    assert constants([*same[:2], replace(same[2], age_years=None)]) == ()
    women = [scan(f"q{n}", age=40.0 + n, site="B") for n in range(5)]
    assert constants(women) == ("cohort: all 5 patients have sex F; is it a placeholder?",)
    assert constants(women[1:]) == ()
    assert constants([*same, *women]) == (
        "site A: all 3 patients have age 90; is it a placeholder?",
        "site B: all 5 patients have sex F; is it a placeholder?",
    )
    apart = [replace(person, site=f"S{number}") for number, person in enumerate(same)]
    assert constants(apart) == ("cohort: all 3 patients have age 90; is it a placeholder?",)


def test_identical_scans_join_their_patients() -> None:
    groups = [[scan("c"), scan("b")], [scan("b", 1), scan("a")], [scan("x"), scan("x", 1)]]
    assert people(groups) == {"a": "a", "b": "a", "c": "a", "x": "x"}


def test_notes_on_identical_scans_say_of_whom_and_where() -> None:
    own, others, torn = [scan("x"), scan("x", 1)], [scan("c"), scan("d")], [scan("a"), scan("b")]
    splits = dict.fromkeys(("s-x-0", "s-x-1", "s-a-0", "s-c-0", "s-d-0"), "train") | {"s-b-0": "test"}
    assert twin_notes([], {}) == ()
    assert twin_notes([own, others, torn], splits) == (
        "identical scans in training and held out as well; leave all but one out: s-a-0, s-b-0",
        "identical scans of several patients: s-c-0, s-d-0",
        "identical scans: s-x-0, s-x-1",
    )
    many = [scan("y", number) for number in range(7)]
    assert twin_notes([many], dict.fromkeys([m.scan_id for m in many], "test")) == (
        "identical scans: s-y-0, s-y-1, s-y-2, s-y-3, s-y-4 and 2 more",
    )


def imported(root: Path, patients: str, *, given: str = "", seed: int = 0) -> tuple[Cohort, tuple[str, ...]]:
    """Import one scan a letter; letters that are the same but for case hold the same voxels; A is patient A2."""
    table = root / "table.csv"
    lines = [f"file,patient_id,site{',split' if given else ''}"]
    for number, patient in enumerate(patients):
        spacing = (4.0, 5.0 + (ord(patient.lower()) - ord("a")) / 4, 6.0)
        write_nifti(root / "scans" / f"{number}.nii", replace(SMALL, spacing_mm=spacing))
        split = f",{'train' if given[number] == '1' else 'test'}" if given else ""
        lines.append(f"{number}.nii,{patient}{'2' * patient.isupper()},Basel{split}")
    table.write_text("\n".join(lines))
    config = ImportConfig(name="x", shape=(5, 7, 6), spacing_mm=(8.0, 6.0, 6.0), test_fraction=0.5, seed=seed)
    cohort, report = import_cohort(
        "nifti", root / "scans", root / f"cohort{seed}", config=config, pseudonyms=NAMES, table=table
    )
    assert [t.title for t in import_tables(report)].count("worth a look") == bool(report.notes)
    return cohort, report.notes


def test_sites_and_classes_that_are_written_in_several_ways_are_noted() -> None:
    sites = [
        replace(scan(str(n)), site=site, label="COVID") for n, site in enumerate(("Mayo", "mayo ", "01", "1", "B"))
    ]
    notes = spellings([*sites, replace(scan("x"), site="B", label="Covid")])
    assert notes == (
        "sites whose names differ only in case, blanks or leading zeros, so perhaps one: 'Mayo' = 'mayo ', '01' = '1'",
        "classes whose names differ only in case, blanks or leading zeros, so perhaps one: 'COVID' = 'Covid'",
    )
    assert spellings(sites[-2:]) == ()


@pytest.mark.parametrize("seed", range(6))
def test_the_same_scan_is_never_drawn_into_both_splits(tmp_path: Path, seed: int) -> None:
    cohort, notes = imported(tmp_path, "aAbcd", seed=seed)
    split = dict(zip(cohort.manifest["patient_id"], cohort.manifest["split"], strict=True))
    assert split[NAMES.patient("a")] == split[NAMES.patient("A2")]
    assert [note.partition(":")[0] for note in notes] == ["identical scans of several patients"]


def test_where_there_is_no_other_way_it_is_said(tmp_path: Path) -> None:
    cohort, notes = imported(tmp_path, "aA")
    assert sorted(cohort.manifest["split"]) == ["test", "train"]
    assert notes[0].startswith("identical scans in training and held out as well")


def test_given_splits_are_kept_and_judged(tmp_path: Path) -> None:
    cohort, notes = imported(tmp_path, "aAbc", given="1010")
    assert sorted(cohort.manifest["split"]) == ["test", "test", "train", "train"]
    assert notes[0].startswith("identical scans in training and held out as well")


def test_ids_that_differ_only_in_how_they_are_written_stay_on_one_side(tmp_path: Path) -> None:
    lines = ["file,patient_id,site"]
    for number, patient in enumerate(("0012", "12", "Ab 1", "aB1", "c", "d")):
        scan_ = replace(SMALL, spacing_mm=(4.0, 5.0 + number / 4, 6.0))
        write_nifti(tmp_path / "scans" / f"{number}.nii", scan_)
        lines.append(f"{number}.nii,{patient},Basel")
    (tmp_path / "table.csv").write_text("\n".join(lines))
    for seed in range(4):
        config = ImportConfig(name="x", shape=(5, 7, 6), test_fraction=0.4, seed=seed)
        out = tmp_path / f"cohort{seed}"
        cohort, report = import_cohort(
            "nifti", tmp_path / "scans", out, config=config, pseudonyms=NAMES, table=tmp_path / "table.csv", workers=1
        )
        split = dict(zip(cohort.manifest["patient_id"], cohort.manifest["split"], strict=True))
        assert split[NAMES.patient("0012")] == split[NAMES.patient("12")]
        assert split[NAMES.patient("Ab 1")] == split[NAMES.patient("aB1")]
        (note,) = report.notes
        assert note.startswith("patient ids that differ only in case, blanks or leading zeros")
        assert note.count(" = ") == 2


def test_scans_that_differ_bring_no_note(tmp_path: Path) -> None:
    assert imported(tmp_path, "abcd")[1] == ()
