"""Fixtures for tests of training."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_training import tiny_manifest, tiny_network, write_tiny_cohort

from flprivacy.core.cohort import Cohort
from flprivacy.training.checkpoint import Checkpoints
from flprivacy.training.config import TargetConfig
from flprivacy.training.local import Learner
from flprivacy.training.method import ADAM
from flprivacy.training.pool import Pool, scan_pool
from flprivacy.training.topology import Run


@pytest.fixture(scope="session")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return write_tiny_cohort(tmp_path_factory.mktemp("tiny") / "cohort", tiny_manifest())


@pytest.fixture(scope="session")
def pool(cohort: Cohort) -> Pool:
    return scan_pool(cohort, protocol="standard")


@pytest.fixture(scope="session")
def learner() -> Learner:
    """One learner for all tests, as a run has one for all clients: nothing may leak from one use to the next."""
    return Learner(tiny_network(0), ADAM, TargetConfig(topology="central", batch_size=4, learning_rate=0.01))


@pytest.fixture
def make_run(cohort: Cohort, pool: Pool, learner: Learner, tmp_path: Path) -> Callable[..., Run]:
    """Return a function from TargetConfig fields to a run on the tiny network, with checkpoints in ``tmp_path``."""

    def make(topology: str, *, folder: Path | None = None, cohort: Cohort = cohort, **fields: object) -> Run:
        config = replace(TargetConfig(topology=topology, batch_size=4, learning_rate=0.01), **fields)
        return Run(
            name="tiny",
            config=config,
            cohort=cohort,
            pool=pool,
            learner=learner,
            initial_weights=lambda model: tiny_network(100 * config.seed + 10 * model).get_weights(),
            checkpoints=Checkpoints(folder=folder or tmp_path, key="0" * 64),
        )

    return make
