"""What a private generator promises: clipping, noise, sampling and denominators, on neighbouring cohorts."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from small_generators import CONFIG

from flprivacy.core.cohort import Cohort
from flprivacy.core.errors import ConfigError
from flprivacy.core.parsing import from_mapping
from flprivacy.privacy.accounting import account
from flprivacy.privacy.config import PrivacyConfig
from flprivacy.privacy.events import SampledGaussianSteps
from flprivacy.privacy.gradients import DpSgdRule
from flprivacy.synthesis.config import GeneratorConfig
from flprivacy.synthesis.folder import GeneratorRecord
from flprivacy.synthesis.networks import SpectralBound
from flprivacy.synthesis.private import PrivateDiscriminator
from flprivacy.synthesis.train import train_generator
from tests.cohort_builder import build_cohort, cohort_meta, scan_table

pytestmark = pytest.mark.usefixtures("compiled_once")

SHAPE = (4, 16, 16)
RATE, CLIP, NOISE, POPULATION = 0.5, 0.7, 2.0, 6
BUDGET = PrivacyConfig(
    unit="patient",
    noise_multiplier=NOISE,
    sampling_rate=1.0,
    population=POPULATION,
    delta=1e-3,
    clip_norm=CLIP,
    optimizer="sgd",
    noise_seed=11,
)
ONE_STEP = replace(
    CONFIG, steps=1, rounds=1, local_steps=1, checkpoint_every=1, discriminator_learning_rate=RATE, privacy=BUDGET
)


def people(**columns: object) -> pd.DataFrame:
    """Six patients at two sites, one of them with three scans."""
    usual = {"patient_id": [f"patient-{max(0, i - 2)}" for i in range(8)], "site_id": [0, 0, 0, 0, 1, 1, 1, 0]}
    return scan_table(8, **usual | columns)


def cohort_of(folder: Path, table: pd.DataFrame) -> Cohort:
    """Write a cohort in which a scan looks the same whoever else is there."""
    voxels = (np.random.default_rng(list(scan.encode())).integers(0, 256, SHAPE) for scan in table["scan_id"])
    meta = cohort_meta(SHAPE, ["north", "south"])
    return build_cohort(folder, table.reset_index(drop=True), meta, (v.astype(np.uint8) for v in voxels))


def trained(folder: Path, table: pd.DataFrame, config: GeneratorConfig) -> tuple[GeneratorRecord, np.ndarray]:
    """Train, and return the record and all weights of the discriminator, which alone looks at scans."""
    cohort = cohort_of(folder / "cohort", table)
    record = train_generator(config, cohort, work=folder / "work", out=folder / "out")
    return record, np.concatenate([w.ravel() for w in weights(folder / "out" / "private" / "discriminator.weights.h5")])


def own_rows(folder: Path, *, sites: int) -> np.ndarray:
    """Return (weight,) whether it belongs to a site alone, in the order of :func:`trained`."""
    found: list[np.ndarray] = []

    def visit(name: str, node: object) -> None:
        if isinstance(node, h5py.Dataset):
            own = np.zeros(node.shape, dtype=bool)
            if "projection" in name and own.ndim == 2:
                own[:sites] = True
            found.append(own.ravel())

    with h5py.File(folder / "out" / "private" / "discriminator.weights.h5") as file:
        file.visititems(visit)
    return np.concatenate(found)


def weights(path: Path) -> Iterator[np.ndarray]:
    found: list[np.ndarray] = []
    with h5py.File(path) as file:
        file.visititems(lambda _, node: found.append(node[()]) if isinstance(node, h5py.Dataset) else None)
    yield from (a.astype(np.float64) for a in found)


@pytest.fixture
def unbounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave kernels as the noised step leaves them; bounding their norm afterwards is post-processing."""
    monkeypatch.setattr(SpectralBound, "__call__", lambda self, w: w)


@pytest.mark.parametrize(("unit", "topology"), [("patient", "central"), ("scan", "federated")])
@pytest.mark.usefixtures("unbounded")
def test_one_unit_moves_the_discriminator_by_no_more_than_its_clipped_share(
    unit: str, topology: str, tmp_path: Path
) -> None:
    config = replace(ONE_STEP, topology=topology, privacy=replace(BUDGET, unit=unit))
    table = people()
    gone = table["patient_id"] == "patient-0" if unit == "patient" else table["scan_id"] == "scan-1"
    record, whole = trained(tmp_path / "whole", table, config)
    other, without = trained(tmp_path / "without", table[~gone], config)
    changing = {"digest": "", "sha256": ""}
    assert replace(record, **changing) == replace(other, **changing)
    sensitivity, moved = RATE * CLIP / POPULATION, whole - without
    if topology == "federated":  # what two sites average moves half as far, with less noise; a site's own rows do not
        moved *= np.where(own_rows(tmp_path / "whole", sites=2), 1.0, 2.0)
    assert 0.05 * sensitivity < np.linalg.norm(moved) < 1.001 * sensitivity
    if topology == "central":  # the same scans, other noise
        _, anew = trained(tmp_path / "anew", table, replace(config, privacy=replace(BUDGET, noise_seed=12)))
        assert (whole - anew).std() / np.sqrt(2.0) == pytest.approx(RATE * CLIP * NOISE / POPULATION, rel=0.05)


def test_generated_scans_are_asked_for_without_a_look_at_the_cohort(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither their conditions nor their number change with the mix of conditions among the training scans."""
    asked: list[np.ndarray] = []

    def update(self, client, number, real, made, condition):
        asked.append(condition)

    monkeypatch.setattr(PrivateDiscriminator, "update", update)
    config = replace(ONE_STEP, steps=3)
    trained(tmp_path / "even", people(), config)
    trained(tmp_path / "uneven", people(label=[0, 0, 0, 0, 0, 0, 0, 1]), config)
    even, uneven = asked[:3], asked[3:]
    assert all(np.array_equal(a, b) for a, b in zip(even, uneven, strict=True))
    assert {a.shape for a in asked} == {(POPULATION, 4)}


def test_every_update_draws_noise_of_its_own_and_real_scans_by_their_rate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[tuple[int, ...], float, bool]] = []
    step = DpSgdRule.step

    def watched(self, x, y, mask, **named):
        seen.append((named["key"], float(np.sum(mask * y[:, 1])), named["last"]))
        return step(self, x, y, mask, **named)

    monkeypatch.setattr(DpSgdRule, "step", watched)
    budget = replace(BUDGET, unit="scan", population=8, sampling_rate=0.5, noise_seed=None)
    config = replace(ONE_STEP, steps=3, discriminator_steps=4, topology="central", privacy=budget)
    record, _ = trained(tmp_path, people(), config)
    noised = [key for key, _, last in seen if last]
    assert len(set(noised)) == len(noised) == 12
    drawn = [sum(real for key, real, _ in seen if key == one) for one in noised]
    assert len(set(drawn)) > 1
    assert 2.0 < np.mean(drawn) < 6.0
    (event,) = record.dp_events
    assert (event["steps"], event["sampling_rate"], event["population"]) == (12, 0.5, 8)
    (kept,) = tmp_path.rglob("noise-seed.json")  # with the checkpoints, and gone with them
    assert kept.stat().st_mode & 0o077 == 0
    seed = str(json.loads(kept.read_text())["seed"])
    assert all(seed not in file.read_text() for file in (tmp_path / "out").rglob("*.json"))


def test_epsilon_is_that_of_the_events_and_the_statement_says_what_it_leaves_out(tmp_path: Path) -> None:
    budget = replace(BUDGET, noise_multiplier=None, epsilon=3.0, sampling_rate=0.5)
    config = replace(ONE_STEP, discriminator_steps=3, topology="federated", local_steps=3, privacy=budget)
    record, _ = trained(tmp_path, people(), config)
    events = [from_mapping(SampledGaussianSteps, event) for event in record.dp_events]
    assert [(e.client, e.steps) for e in events] == [("site-00", 9), ("site-01", 9)]
    assert 2.9 < record.epsilon <= 3.0
    assert record.epsilon == account(events, delta=1e-3).epsilon
    covered = {d.what: d.covered for d in record.privacy.disclosures}
    assert covered["generator.json"]
    (free,) = [what for what in covered if what.startswith("generated scans")]
    (mix,) = [what for what in covered if what.startswith("how many training scans there are of each site")]
    assert covered[free]
    assert not covered[mix]
    assert any(mix in caveat for caveat in record.privacy.caveats)
    assert "target.json" not in str(record.privacy)


def test_budgets_that_protect_less_than_they_say_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"privacy\.population is missing"):
        trained(tmp_path / "a", people(), replace(ONE_STEP, privacy=replace(BUDGET, population=None)))
    apart = people(site_id=[0, 1, 0, 1, 0, 1, 0, 1])
    with pytest.raises(ConfigError, match=r"clients_per_patient is 1"):
        trained(tmp_path / "b", apart, replace(ONE_STEP, topology="federated"))
    with pytest.raises(ConfigError, match="protects scan or patient"):
        replace(ONE_STEP, privacy=replace(BUDGET, unit="site"))
