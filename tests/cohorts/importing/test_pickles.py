"""The reference study's files become a cohort."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from flprivacy_pickles import volumes, write_pickles

from flprivacy.cohorts.format import read_volumes, verify_cohort
from flprivacy.cohorts.importing.build import import_cohort
from flprivacy.cohorts.importing.config import ImportConfig
from flprivacy.cohorts.importing.pickles import find_pickles
from flprivacy.core.errors import CohortError, ConfigError

CONFIG = ImportConfig(name="reference", shape=None)


def test_every_scan_arrives_with_its_site_split_and_class(tmp_path: Path) -> None:
    write_pickles(tmp_path / "data", sites=12)
    cohort, report = import_cohort("flprivacy", tmp_path / "data", tmp_path / "cohort", config=CONFIG)
    verify_cohort(tmp_path / "cohort")
    assert cohort.meta.shape == (3, 6, 5)
    assert cohort.meta.site_names == tuple(f"site-{site:02d}" for site in range(12))
    assert cohort.meta.class_names == ("class-0", "class-1", "class-2")
    for row, scan in cohort.manifest.iterrows():
        number = int(scan["scan_id"].rsplit("-", 1)[1])
        source = volumes(scan["site_id"] + (100 if scan["split"] == "test" else 0), 4 + scan["site_id"])
        np.testing.assert_array_equal(
            read_volumes(cohort, np.array([row]))[0], source[number, ..., 0].transpose(2, 0, 1)
        )
        assert scan["label"] == number % 3
    assert len(report.taken) == 2 * sum(4 + site for site in range(12)) == len(cohort.manifest)
    assert cohort.manifest["sex"].isna().all()
    assert any("patient of its own" in note for note in report.notes)


def test_one_column_a_class_and_names(tmp_path: Path) -> None:
    write_pickles(tmp_path, sites=1)
    data = {"c0_x": volumes(0, 3), "c0_y": np.eye(4, dtype=np.float32)[[2, 0, 1]]}
    (tmp_path / "CovidData2022_cohort0train.npy").write_bytes(pickle.dumps(data, 4))
    names = ("normal", "covid", "pneumonia")
    found = find_pickles(tmp_path, config=ImportConfig(name="x", shape=(3, 6, 5), classes=names))
    assert [c.label for c in found.candidates if c.split == "train"] == ["pneumonia", "normal", "covid"]


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("0train", {"c1_x": volumes(0, 2), "c1_y": np.zeros(2)}, "c0_x and c0_y"),
        ("0train", {"c0_x": volumes(0, 2)}, "c0_x and c0_y"),
        ("0train", {"c0_x": volumes(0, 2).astype(np.float32), "c0_y": np.zeros(2)}, "not uint8"),
        ("0train", {"c0_x": volumes(0, 2)[..., 0, 0], "c0_y": np.zeros(2)}, r"not uint8 \(scan"),
        ("0train", {"c0_x": volumes(0, 2), "c0_y": np.zeros(3)}, "labels for 2 scans"),
        ("0train", {"c0_x": volumes(0, 2), "c0_y": np.array([0.5, 1])}, "whole numbers"),
        ("0train", {"c0_x": volumes(0, 2), "c0_y": np.array([np.nan, 1])}, "whole numbers"),
        ("0train", {"c0_x": volumes(0, 2), "c0_y": np.array([-1, 1])}, "between 0"),
        ("0train", {"c0_x": volumes(0, 2), "c0_y": np.array([10**9, 1])}, "between 0"),
        ("0train", {"c0_x": volumes(0, 2, (6, 5, 4)), "c0_y": np.zeros(2)}, "one shape at a time"),
    ],
)
def test_files_that_are_not_the_reference_layout(
    tmp_path: Path, name: str, data: dict[str, np.ndarray], words: str
) -> None:
    write_pickles(tmp_path, sites=1)
    (tmp_path / f"CovidData2022_cohort{name}.npy").write_bytes(pickle.dumps(data, 4))
    with pytest.raises(CohortError, match=words):
        find_pickles(tmp_path, config=CONFIG)


def test_other_folders_shapes_and_names(tmp_path: Path) -> None:
    with pytest.raises(CohortError, match="holds no CovidData2022"):
        find_pickles(tmp_path, config=CONFIG)
    with pytest.raises(CohortError, match="cannot be read"):
        find_pickles(tmp_path / "absent", config=CONFIG)
    write_pickles(tmp_path)
    with pytest.raises(ConfigError, match="shape"):
        find_pickles(tmp_path, config=ImportConfig(name="x"))
    with pytest.raises(ConfigError, match="classes"):
        find_pickles(tmp_path, config=ImportConfig(name="x", shape=None, classes=("one",)))
