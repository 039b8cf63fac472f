"""What was read once is kept, with what was noticed in it, and not read again."""

from pathlib import Path

import numpy as np
import pytest

from flprivacy.cohorts.importing.found import Candidate, Reading, ScanError
from flprivacy.cohorts.importing.reading import kept_volumes, read_all
from flprivacy.core.errors import StorageError

VOLUME = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)


def scan(name: str, reading: Reading | None, *notes: str) -> Candidate:
    def read() -> Reading:
        if reading is None:
            raise ScanError("not in HU", volume=VOLUME)
        return reading

    return Candidate(
        scan_id=f"s-{name}", patient_id=name, site="A", label="", sex=None, age_years=None, split="", work=name,
        read=read, notes=notes,
    )  # fmt: skip


def test_what_was_noticed_outlives_an_interruption(tmp_path: Path) -> None:
    plain, odd = scan("plain", Reading(VOLUME)), scan("odd", Reading(VOLUME, ("3 voxels are NaN",)), "tilted")
    first, failed, looks = read_all([plain, odd, scan("bad", None)], tmp_path / "work", 1)
    assert [one.notes for one in first] == [(), ("tilted", "3 voxels are NaN")]
    assert ([one.item for one in failed], list(looks)) == (["s-bad"], ["s-bad"])
    again, _, _ = read_all([scan("plain", None), scan("odd", None, "tilted")], tmp_path / "work", 1)
    assert [one.notes for one in again] == [(), ("tilted", "3 voxels are NaN")]
    kept = dict(kept_volumes(again, tmp_path / "work", VOLUME.shape))
    assert list(kept) == [0, 1]
    assert all(np.array_equal(volume, VOLUME) for volume in kept.values())
    with pytest.raises(StorageError, match="a volume kept there is damaged; remove the folder and import again"):
        list(kept_volumes(again, tmp_path / "work", (2, 3, 5)))
