"""A cohort too small for some checks: these are named with the reason, and the others go on."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from flprivacy.cohorts.format import read_volumes
from flprivacy.cohorts.phantom.config import PhantomConfig
from flprivacy.cohorts.phantom.generate import phantom_cohort
from flprivacy.core.cohort import TRAIN, Cohort, SyntheticOrigin
from flprivacy.core.errors import AuditError
from flprivacy.core.generator_audit import UNDECIDED
from flprivacy.synthesis.checks.appearance import (
    AGREEMENT,
    ANATOMY,
    CHECKS,
    DIVERSITY,
    FIDELITY,
    learn_appearance,
    measure_appearance,
)
from flprivacy.synthesis.checks.closeness import measure_closeness
from flprivacy.synthesis.checks.subject import Subject, subject_of
from tests.cohort_builder import build_synthetic


def subject(folder: Path, scans: int) -> Subject:
    """Phantoms of one hospital, and as many synthetic scans as there are training scans, which are copies of these."""
    cohort: Cohort = phantom_cohort(
        PhantomConfig(scans=scans, sites=1, shape=(8, 32, 32), seed=1), folder / "cohort", workers=1
    )
    rows = cohort.rows(TRAIN)
    table = cohort.manifest.iloc[rows].drop(columns=["shard", "row", "sha256"]).reset_index(drop=True)
    names = [f"synthetic-{number}" for number in range(len(rows))]
    origin = SyntheticOrigin(generator="a" * 64, cohort=cohort.meta.digest)
    synthetic = build_synthetic(
        folder / "synthetic",
        table.assign(scan_id=names, patient_id=names),
        replace(cohort.meta, digest="", synthetic_from=origin),
        read_volumes(cohort, rows),
    )
    return subject_of(cohort, synthetic, most=100, seed=0)


def closeness(of: Subject):
    return measure_closeness(of, lambda volumes, _: np.zeros(len(volumes)), ("site", "label"), error_rate=0.01, seed=0)


def test_what_few_scans_do_not_allow_is_named_and_the_rest_is_found(tmp_path: Path) -> None:
    few = subject(tmp_path, 40)
    found = measure_appearance(few, learn_appearance(few, seed=0), seed=0)
    assert found.unchecked.keys() == {FIDELITY, "agreement, site"}
    assert "needs at least 16 of each" in found.unchecked[FIDELITY]
    assert found.fidelity is None
    assert found.diversity is not None
    assert {one.condition for one in found.agreement} == {"class"}
    assert found.anatomy


def test_hardly_any_patients_leave_next_to_nothing_to_check(tmp_path: Path) -> None:
    few = subject(tmp_path, 10)
    found = measure_appearance(few, learn_appearance(few, seed=0), seed=0)
    assert tuple(found.unchecked) == CHECKS == (FIDELITY, DIVERSITY, AGREEMENT, ANATOMY)
    assert "a comparison needs" in found.unchecked[ANATOMY]
    near = closeness(few)
    assert near.memorisation.verdict == UNDECIDED
    assert "copying cannot be told from chance" in near.memorisation.reason
    assert near.memorisation.tests == ()
    assert len(near.scores["calibrated"]) == 10


def test_with_fewer_patients_still_nothing_is_near_or_far(tmp_path: Path) -> None:
    with pytest.raises(AuditError, match="are too few to tell what is near"):
        closeness(subject(tmp_path, 7))
