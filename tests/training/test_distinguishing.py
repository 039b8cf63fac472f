"""Neighbouring data sets through the product's own training: nobody can tell them apart better than is stated."""

from dataclasses import replace
from pathlib import Path

import pytest
from distinguishing import BUDGET, one_patient_more, scans_of_a_patient
from planted_bugs import by_scans

from flprivacy.core.dp_check import CONTRADICTED, NOT_CONTRADICTED
from flprivacy.training import federated

RUNS = 80


def test_how_many_scans_a_patient_has_is_not_told(tmp_path: Path) -> None:
    found = scans_of_a_patient(tmp_path, runs=RUNS)
    print(f"{RUNS} runs: stated {found.claimed:.2f}, proven {found.clopper_pearson:.2f}")
    assert found.claimed < 0.6
    assert found.audit.verdict == NOT_CONTRADICTED


def test_weights_by_numbers_of_scans_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mistake that was made: by the spread of the averaged noise, all of 80 runs are told apart."""
    monkeypatch.setattr(federated, "_shares", by_scans)
    found = scans_of_a_patient(tmp_path, runs=RUNS)
    print(f"{RUNS} runs: stated {found.claimed:.2f}, proven {found.clopper_pearson:.2f}")
    assert found.clopper_pearson > 1.5 > found.claimed
    assert found.audit.verdict == CONTRADICTED


def test_one_patient_more_is_not_told_by_the_denominator(tmp_path: Path) -> None:
    found = one_patient_more(tmp_path, runs=RUNS)
    print(f"{RUNS} runs: stated {found.claimed:.2f}, proven {found.clopper_pearson:.2f}")
    assert found.audit.verdict == NOT_CONTRADICTED


def test_a_denominator_read_off_the_data_tells_how_many_there_are(tmp_path: Path) -> None:
    """Which is why ``zero-out`` says that the number is public, and compares data sets of one number only."""
    public = replace(BUDGET, adjacency="zero-out", population=None)
    found = one_patient_more(tmp_path, runs=RUNS, privacy=public)
    print(f"{RUNS} runs: stated {found.claimed:.2f}, proven {found.clopper_pearson:.2f}")
    assert found.audit.verdict == CONTRADICTED
