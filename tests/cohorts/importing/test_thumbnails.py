"""The page of thumbnails: the slices that are there, odd scans first, nothing that a name could break."""

import base64
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from dicom_scans import SECRET, Scan, write_series
from nifti_scans import write_nifti
from PIL import Image
from test_dicom_geometry import NAMES

from flprivacy.cohorts.format import read_volumes
from flprivacy.cohorts.importing.build import import_cohort
from flprivacy.cohorts.importing.config import ImportConfig
from flprivacy.cohorts.importing.report import ImportReport
from flprivacy.cohorts.importing.thumbnails import look_of, write_thumbnails
from flprivacy.core.errors import CohortError, StorageError

SMALL = Scan(shape=(12, 8, 6), spacing_mm=(4.0, 5.0, 6.0), patient=f"{SECRET}-1")


def figures(page: str) -> list[tuple[list[np.ndarray], str]]:
    """Return the images and the caption of every figure."""
    found = []
    for figure in re.findall("<figure class=.*?>(.*?)</figure>", page, re.DOTALL):
        images = re.findall(r"base64,([^\"]+)", figure)
        shown = [np.asarray(Image.open(io.BytesIO(base64.b64decode(image)))) for image in images]
        found.append((shown, re.findall("<figcaption>(.*?)</figcaption>", figure)[0]))
    return found


def test_every_site_shows_middle_slices_and_odd_scans_first(tmp_path: Path) -> None:
    for number in range(12):
        scan = replace(
            SMALL,
            uid=f"1.{number}",
            study=f"2.{number}",
            patient=f"{SECRET}-{number}",
            spacing_mm=(4.0, 5.0 + number / 8, 6.0),
            age="100Y" if number == 7 else "063Y",
            tags={"StationName": "AB"[number % 2]},
        )
        write_series(tmp_path / "scans" / str(number), scan)
    config = ImportConfig(name="a <b> & c", shape=(5, 200, 6), site_tag="StationName", test_fraction=0.5)
    cohort, report = import_cohort("dicom", tmp_path / "scans", tmp_path / "out", config=config, pseudonyms=NAMES)
    page = (tmp_path / "out.import.html").read_text()
    assert "<title>a &lt;b&gt; &amp; c</title>" in page
    assert SECRET not in page
    assert re.findall(r"<h2>(.*?)</h2>", page) == [f"{site}: 6 scans" for site in cohort.meta.site_names]
    shown = figures(page)
    assert len(shown) == 12
    numbers = {scan_id: row for row, scan_id in enumerate(cohort.manifest["scan_id"])}
    for (above, front), caption in shown:
        volume = read_volumes(cohort, np.array([numbers[caption.split("<br>")[0]]]))[0]
        np.testing.assert_array_equal(above, volume[2, ::3])
        np.testing.assert_array_equal(front, volume[:, 100])
    odd = ["anonymisers" in caption for _, caption in shown]
    assert sum(odd) == 1 == page.count("<figure class='odd'>")
    assert odd.index(True) in (0, 6)
    assert report.sites == dict.fromkeys(cohort.meta.site_names, 6)


def test_what_was_refused_for_its_values_is_shown(tmp_path: Path) -> None:
    class Eight(Scan):
        def hu(self) -> np.ndarray:
            return np.clip((super().hu() + 1000) / 8, 0, 255)

    for name in "ab":
        write_nifti(tmp_path / "scans" / f"{name}.nii", Eight())
    (tmp_path / "t.csv").write_text(f"file,patient_id,site\na.nii,{SECRET}1,S\nb.nii,{SECRET}2,S\n")
    config = ImportConfig(name="x", shape=(6, 10, 12))
    with pytest.raises(CohortError, match=r"no scan can be taken: not in HU \(2\)"):
        import_cohort(
            "nifti", tmp_path / "scans", tmp_path / "out", config=config, pseudonyms=NAMES, table=tmp_path / "t.csv"
        )
    ((above, front), caption), _ = figures((tmp_path / "out.import.html").read_text())
    assert (above.shape, front.shape) == ((10, 12), (6, 12))
    page = (tmp_path / "out.import.html").read_text()
    assert "<li>not in HU: 2</li>" in page
    assert page.count("<figure class='out'>") == 2
    assert caption.startswith(f"{NAMES.scan('a.nii')}<br>not in HU<br>values from 0 to ")


def test_a_site_that_lost_its_scans_is_reported_with_them(tmp_path: Path) -> None:
    write_nifti(tmp_path / "scans" / "a.nii", Scan())
    empty = write_nifti(tmp_path / "scans" / "b.nii", Scan())
    empty.write_bytes(empty.read_bytes()[:352] + bytes(empty.stat().st_size - 352))
    (tmp_path / "t.csv").write_text(f"file,patient_id,site\na.nii,{SECRET}1,S\nb.nii,{SECRET}2,S\n")
    config = ImportConfig(name="x", shape=(6, 10, 12))
    with pytest.raises(CohortError, match="site 'S' has 1 patient"):
        import_cohort(
            "nifti", tmp_path / "scans", tmp_path / "out", config=config, pseudonyms=NAMES, table=tmp_path / "t.csv"
        )
    assert json.loads((tmp_path / "out.import.json").read_text())["reasons"] == {"not in HU": 1}
    (((above, _), caption),) = figures((tmp_path / "out.import.html").read_text())
    assert "one value everywhere" in caption
    assert not above.any()


def test_values_are_stretched_whatever_their_unit() -> None:
    volume = np.linspace(-3.0, 4.0, 3 * 200 * 5).reshape(3, 200, 5)
    above, front = look_of(volume)
    assert (above.shape, front.shape) == ((67, 5), (3, 5))
    assert int(front.min()) > 0
    assert (look_of(np.full((2, 2, 2), 7.0))[0] == 0).all()


def test_a_page_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    report = ImportReport(
        source="nifti",
        config=ImportConfig(name="x"),
        cohort_digest="",
        sites={},
        patients=0,
        unknown={},
        taken=(),
        left_out=(),
    )
    (tmp_path / "page.html").mkdir()
    with pytest.raises(StorageError, match=r"page.html: cannot be written"):
        write_thumbnails(tmp_path / "page.html", report, None, {})
