"""A cohort of synthetic scans: flagged row by row, linked to its origin, and refused by whoever asks for patients."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from tiny_cohort import META, change_manifest, change_meta, manifest, one_clear_line, write_tiny

from flprivacy.cli import main
from flprivacy.cohorts.export import export_nifti
from flprivacy.cohorts.format import open_cohort, read_volumes, verify_cohort
from flprivacy.cohorts.importing.build import import_cohort
from flprivacy.cohorts.importing.config import ImportConfig
from flprivacy.cohorts.importing.pseudonyms import Pseudonyms
from flprivacy.cohorts.metadata import read_meta
from flprivacy.cohorts.placed import Place, open_manifest, open_rows
from flprivacy.cohorts.remote import find_cohort, hand_over, look_at_cohort, push_cohort
from flprivacy.core.cohort import MANIFEST_COLUMNS, Cohort, SyntheticOrigin
from flprivacy.core.errors import CohortError
from flprivacy.core.parts import WITHOUT_MODEL
from flprivacy.steps.attack_target import attack_target
from flprivacy.steps.find_targets import find_targets
from flprivacy.steps.resolve_inputs import resolve_inputs
from flprivacy.steps.train_target import train_target
from flprivacy.study.given_cohort import pull_cohort
from flprivacy.study.plan import Plan
from tests.audit_plan import audit_plan
from tests.cohort_builder import build_cohort, build_synthetic

NAMES = Pseudonyms("k" * 32)


@pytest.fixture
def planted(tmp_path: Path) -> Cohort:
    return build_synthetic(tmp_path / "synthetic", manifest(), META)


def test_it_is_flagged_row_by_row_and_linked_to_where_it_comes_from(planted: Cohort) -> None:
    opened = verify_cohort(planted.folder, synthetic=True)
    assert tuple(opened.manifest.columns) == (*MANIFEST_COLUMNS, "synthetic")
    assert opened.manifest["synthetic"].all()
    assert opened.meta.synthetic_from == SyntheticOrigin(generator="a" * 64, cohort="b" * 64)
    pd.testing.assert_frame_equal(opened.manifest, planted.manifest)


def test_its_digest_covers_flag_and_link(planted: Cohort, tmp_path: Path) -> None:
    real = build_cohort(tmp_path / "real", manifest().assign(split="train"), META)
    assert planted.meta.digest != real.meta.digest
    other = replace(META, synthetic_from=SyntheticOrigin(generator="a" * 64, cohort="c" * 64))
    assert build_synthetic(tmp_path / "other", manifest(), other).meta.digest != planted.meta.digest


def test_of_scans_of_patients_neither_file_says_anything_of_it(tmp_path: Path) -> None:
    """So that their digests, and what older versions read, are what they were."""
    cohort = write_tiny(tmp_path / "cohort")
    assert "synthetic" not in (tmp_path / "cohort" / "cohort.json").read_text()
    assert tuple(pd.read_parquet(tmp_path / "cohort" / "manifest.parquet").columns) == MANIFEST_COLUMNS
    assert cohort.meta.digest == "671a7e5f2865ff9988afc8f496c80e1a63222a4433613ae01049715a7ceaea6f"


def _place(folder: Path, tmp_path: Path) -> Path:
    """The folder that names a cohort, as a step would hand it on."""
    (tmp_path / "placed").mkdir()
    (tmp_path / "placed" / "cohort.json").write_bytes((folder / "cohort.json").read_bytes())
    Place(uri=str(folder), version="x", scans=24).write(tmp_path / "placed" / "place.json")
    return tmp_path / "placed"


READERS: dict[str, Callable[[Path, Path], object]] = {
    "open": lambda folder, _: open_cohort(folder),
    "verify": lambda folder, _: verify_cohort(folder),
    "digest": lambda folder, _: read_meta(folder),
    "find": lambda folder, _: find_cohort(str(folder)),
    "look": lambda folder, _: look_at_cohort(str(folder)),
    "push": lambda folder, tmp: push_cohort(folder=folder, uri=str(tmp / "published")),
    "manifest": lambda folder, _: open_manifest(folder),
    "rows": lambda folder, tmp: open_rows(_place(folder, tmp), lambda cohort: np.arange(2)),
    "resolve_inputs": lambda folder, _: resolve_inputs(cohort=str(folder), targets={}),
    "pull_cohort": lambda folder, tmp: pull_cohort(
        Plan.read(audit_plan(tmp / "plan", cohort=str(folder))), tmp / "published"
    ),
    "attack_target": lambda folder, tmp: attack_target(
        plan=audit_plan(tmp / "plan"), cohort=folder, target_name="untrained", store="", scores=tmp / "published"
    ),
    "attack_target without a model": lambda folder, tmp: attack_target(
        plan=audit_plan(tmp / "plan"), cohort=folder, target_name=WITHOUT_MODEL, store=str(tmp / "store"),
        scores=tmp / "published",
    ),
    "train_target": lambda folder, tmp: train_target(
        plan=audit_plan(tmp / "plan"), cohort=folder, target_name="untrained", store="", target=tmp / "published"
    ),
    "find_targets": lambda folder, tmp: find_targets(
        cohort=str(folder), targets={}, targets_from=(), preset="quick", overrides={}, found=tmp / "published",
        store=str(tmp / "store"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("reader", READERS)
def test_a_reader_of_scans_of_patients_refuses_it(planted: Cohort, tmp_path: Path, reader: str) -> None:
    with pytest.raises(CohortError) as caught:
        READERS[reader](planted.folder, tmp_path)
    one_clear_line(caught.value, "cohort.json: holds synthetic scans", "give a cohort of patients' scans here")
    assert not (tmp_path / "published").exists()


def test_a_reader_of_synthetic_scans_refuses_scans_of_patients(tmp_path: Path) -> None:
    cohort = write_tiny(tmp_path / "cohort")
    with pytest.raises(CohortError) as caught:
        open_cohort(cohort.folder, synthetic=True)
    one_clear_line(caught.value, "cohort.json: holds scans of patients", "give a synthetic cohort here")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda frame: frame.drop(columns="synthetic"), ("'synthetic'", "synthetic_from", "one is missing")),
        (lambda frame: frame.assign(synthetic=frame.index != 3), ("synthetic of row 3", "its own folder")),
        (lambda frame: frame.assign(synthetic=1), ("'synthetic' has type int64",)),
        (lambda frame: frame.assign(split="test"), ("split of row 0 and 23 more", "nothing is measured on")),
    ],
)
def test_flags_that_say_something_else_than_the_metadata_are_refused(
    planted: Cohort, change: Callable[[pd.DataFrame], pd.DataFrame], words: tuple[str, ...]
) -> None:
    change_manifest(planted.folder, change, redigest=False)
    with pytest.raises(CohortError) as caught:
        open_cohort(planted.folder, synthetic=True)
    one_clear_line(caught.value, "manifest.parquet", *words)


def test_a_flag_that_is_taken_off_one_of_the_files_is_missed(planted: Cohort, tmp_path: Path) -> None:
    """Whoever leaves out the link to let it pass for a cohort of patients changes its digest, and leaves the column."""
    path = planted.folder / "cohort.json"
    fields = json.loads(path.read_text())
    del fields["synthetic_from"]
    path.write_text(json.dumps(fields))
    with pytest.raises(CohortError, match="one is missing"):
        open_cohort(planted.folder)
    change_manifest(planted.folder, lambda frame: frame.drop(columns="synthetic"), redigest=False)
    with pytest.raises(CohortError, match="its digest is not the one in"):
        open_cohort(planted.folder)
    cohort = write_tiny(tmp_path / "cohort")
    change_manifest(cohort.folder, lambda frame: frame.assign(synthetic=True, split="train"), redigest=False)
    with pytest.raises(CohortError, match="one is missing"):
        open_cohort(cohort.folder)


def test_a_link_is_two_digests(planted: Cohort) -> None:
    change_meta(planted.folder, synthetic_from={"generator": "a" * 64, "cohort": "../x"})
    with pytest.raises(CohortError) as caught:
        open_cohort(planted.folder, synthetic=True)
    one_clear_line(caught.value, "synthetic_from.cohort is '../x'", "64 hexadecimal digits")


def test_its_files_for_a_viewer_do_not_come_back_as_scans_of_patients(planted: Cohort, tmp_path: Path) -> None:
    export_nifti(planted, tmp_path / "nifti", rows=np.arange(2))
    table = tmp_path / "nifti" / "scans.csv"
    config = ImportConfig(name="x", shape=META.shape)

    def again() -> Any:
        found = tmp_path / "again"
        return import_cohort("nifti", table.parent, found, config=config, pseudonyms=NAMES, table=table)

    with pytest.raises(CohortError, match=r"scans\.csv: row 1 names a synthetic scan by column 'synthetic'; .*leave"):
        again()
    table.write_text("\n".join(line.rstrip().rpartition(",")[0] for line in table.read_text().splitlines()))
    with pytest.raises(CohortError, match="synthetic scan"):
        again()
    assert not (tmp_path / "again").exists()


def test_the_command_line_shows_it_as_what_it_is_and_publishes_it_when_asked_for(
    planted: Cohort, tmp_path: Path
) -> None:
    def run(*words: str) -> tuple[int, str]:
        done = CliRunner().invoke(main, ["cohort", *words], env={"COLUMNS": "200"})
        return done.exit_code, done.output + str(done.exception or "")

    assert "24 SYNTHETIC scans" in run("show", str(planted.folder))[1]
    assert "valid, 24 synthetic scans" in run("verify", str(planted.folder))[1]
    code, text = run("push", str(planted.folder), str(tmp_path / "published"))
    assert (code, "holds synthetic scans" in text) == (2, True)
    assert not (tmp_path / "published").exists()
    assert run("push", str(planted.folder), str(tmp_path / "published"), "--synthetic")[0] == 0
    published = verify_cohort(tmp_path / "published", synthetic=True)
    assert published.meta.synthetic_from == SyntheticOrigin(generator="a" * 64)
    assert published.manifest.equals(planted.manifest)
    shown = run("show", str(tmp_path / "published"))[1]
    assert ("24 SYNTHETIC scans" in shown, "aaaaaaaaaaaa" in shown, "bbbbbbbbbbbb" in shown) == (True, True, False)


def test_what_is_handed_over_does_not_depend_on_the_patients_digest(planted: Cohort, tmp_path: Path) -> None:
    """Of two cohorts of patients that differ in one, neither can be told from the synthetic scans' folder."""
    shards, told = {path.name for path in (planted.folder / "volumes").iterdir()}, []
    table, scans = planted.manifest.drop(columns=["shard", "row", "sha256"]), np.arange(len(planted.manifest))
    for patients in "bc":
        origin = SyntheticOrigin(generator="a" * 64, cohort=patients * 64)
        meta, volumes = replace(planted.meta, synthetic_from=origin), read_volumes(planted, scans)
        made, out = build_synthetic(tmp_path / f"made-{patients}", table, meta, iter(volumes)), tmp_path / patients
        hand_over(made.folder, out)
        verify_cohort(out, synthetic=True)
        told.append({path.relative_to(out): path.read_bytes() for path in out.rglob("*") if path.is_file()})
    assert told[0] == told[1]
    assert {path.name for path in told[0]} == {"cohort.json", "manifest.parquet", *shards}


def test_scans_of_patients_are_not_handed_over(tmp_path: Path) -> None:
    cohort = write_tiny(tmp_path / "cohort")
    with pytest.raises(CohortError, match=r"cohort\.json"):
        hand_over(cohort.folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()
