"""A small cohort with sites, classes, sexes and ages, and one small generator trained on it for all tests."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_generators import CONFIG, SHAPE

from flprivacy.core.cohort import Cohort
from flprivacy.synthesis import train
from flprivacy.synthesis.adversaries import Adversaries
from flprivacy.synthesis.config import GeneratorConfig
from flprivacy.synthesis.networks import NetworkSize
from flprivacy.synthesis.train import train_generator
from tests.cohort_builder import build_cohort, cohort_meta, scan_table

_COMPILED: dict[object, Adversaries] = {}


@pytest.fixture
def compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let trainings of one configuration share their networks, as clients do: each sets all of their state."""

    def compiled(size: NetworkSize, config: GeneratorConfig) -> Adversaries:
        optimizer = config.privacy.optimizer if config.privacy else "adam"
        key = (size, optimizer, replace(config, privacy=None, steps=1, rounds=1, local_steps=1))
        if key not in _COMPILED:
            _COMPILED[key] = Adversaries(size, config)
        return _COMPILED[key]

    monkeypatch.setattr(train, "Adversaries", compiled)


@pytest.fixture(scope="session")
def small_cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    """Two sites and two classes, 24 training scans and 8 held out; a class is a bright box, a site a brightness."""
    number = np.arange(32)
    table = scan_table(
        32,
        site_id=number % 2,
        label=number // 2 % 2,
        split=np.where(number < 24, "train", "test"),
        sex=[("F", "M", None)[i % 3] for i in range(32)],
        age_years=np.where(number % 5 == 0, np.nan, 35.0 + number),
    )
    rng = np.random.default_rng(1)
    volumes = rng.integers(20, 60, (32, *SHAPE))
    volumes += 60 * table["site_id"].to_numpy()[:, None, None, None]
    volumes[:, 1:4, 4:10, 4:10] += 100 * table["label"].to_numpy()[:, None, None, None]
    folder = tmp_path_factory.mktemp("small") / "cohort"
    return build_cohort(folder, table, cohort_meta(SHAPE, ["north", "south"]), volumes.astype(np.uint8))


@pytest.fixture(scope="session")
def trained(small_cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a generator of all conditions."""
    folder = tmp_path_factory.mktemp("trained")
    config = replace(CONFIG, conditions=("site", "label", "sex", "age"))
    train_generator(config, small_cohort, work=folder / "work", out=folder / "generator")
    return folder / "generator"
