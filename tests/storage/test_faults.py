"""A dozen pulls from failing servers (the benchmark does 200): right, or refused in one line; never wrong."""

from pathlib import Path

import pytest

from flprivacy.core.cohort import Cohort
from tests.services.fault_runs import Outcome, fault_run, make_source

_RUNS, _GCS_RUNS = 16, 4


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return make_source(tmp_path_factory.mktemp("source") / "cohort")


@pytest.fixture(scope="module")
def outcomes() -> dict[int, Outcome]:
    return {}


@pytest.mark.parametrize("seed", range(_RUNS))
def test_the_cohort_is_right_or_the_step_refuses(
    clean_environment: None, source: Cohort, outcomes: dict[int, Outcome], seed: int, tmp_path: Path
) -> None:
    outcomes[seed] = fault_run(seed, source, tmp_path)


@pytest.mark.parametrize("seed", range(_GCS_RUNS))
def test_the_same_of_google_cloud_storage(clean_environment: None, source: Cohort, seed: int, tmp_path: Path) -> None:
    fault_run(seed, source, tmp_path, "GCS")


def test_the_runs_were_hard_enough(outcomes: dict[int, Outcome]) -> None:
    assert len(outcomes) == _RUNS
    seen = list(outcomes.values())
    assert {o.kind for o in seen} == {"plain", "changed", "killed"}
    assert len(set().union(*(o.faults for o in seen))) >= 8
    assert any(o.right and o.faults for o in seen), "none survived its faults"
    assert any(o.message for o in seen), "none was refused"
    assert any(0 < o.moved_again < max(p.moved_again for p in seen) for o in seen), "none carried on"
