"""Averaging a generator: what belongs to one site or class alone is averaged over those who have it."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_generators import CONFIG

from flprivacy.core.array_types import Array
from flprivacy.core.cohort import Cohort
from flprivacy.privacy.config import PrivacyConfig
from flprivacy.synthesis import topologies as federated
from flprivacy.synthesis.run import GeneratorRun, TrainedGenerator
from flprivacy.synthesis.train import TRAINERS, train_generator

PRIVATE = PrivacyConfig(unit="scan", noise_multiplier=1.0, adjacency="zero-out", noise_seed=1)


@pytest.mark.usefixtures("compiled_once")
@pytest.mark.parametrize("private", [False, True], ids=["by scans", "private"])
def test_rows_of_a_category_are_averaged_over_those_who_have_it(
    private: bool, small_cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[list[Array]] = []
    runs: list[tuple[GeneratorRun, TrainedGenerator]] = []
    trained, train = federated._trained, federated.train_federated

    def seen(*arguments: object) -> Iterator[list[Array]]:
        for weights in trained(*arguments):
            sent.append(weights)
            yield weights

    def kept(run: GeneratorRun) -> TrainedGenerator:
        runs.append((run, train(run)))
        return runs[0][1]

    monkeypatch.setattr(federated, "_trained", seen)
    monkeypatch.setitem(TRAINERS, "federated", kept)
    config = replace(CONFIG, topology="federated", rounds=1, privacy=PRIVATE if private else None)
    train_generator(config, small_cohort, work=tmp_path / "work", out=tmp_path / "out")
    ((run, result),) = runs
    north, south = sent
    assert sum(run.adversaries.by_condition) == 3  # of the generator, of its running sums, and of the discriminator
    labels = [np.bincount(run.conditions.label[run.conditions.site == site], minlength=2) for site in (0, 1)]
    of_class = np.stack(labels) / np.sum(labels, axis=0)
    if private:
        of_class = np.full((2, 2), 0.5)
    for by_row, average, a, b in zip(run.adversaries.by_condition, result.weights, north, south, strict=True):
        if not by_row:
            np.testing.assert_allclose(average, (a + b) / 2, rtol=1e-4, atol=1e-8)  # twelve scans each
            continue
        np.testing.assert_allclose(average[:2], [a[0], b[1]], rtol=1e-4, atol=1e-8)
        np.testing.assert_allclose(
            average[2:], of_class[0][:, None] * a[2:] + of_class[1][:, None] * b[2:], rtol=1e-4, atol=1e-8
        )
        assert not np.allclose(average[:2], (a + b)[:2] / 2, rtol=0.1, atol=0.0)
