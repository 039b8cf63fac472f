from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_training import assert_same_bits

from flprivacy.core.cohort import Cohort
from flprivacy.core.errors import TrainingError
from flprivacy.training.alone import train_central, train_siloed
from flprivacy.training.pool import natural_partition
from flprivacy.training.topology import Run


def test_it_learns_two_classes_that_differ(make_run: Callable[..., Run]) -> None:
    (trained,) = train_central(make_run("central", epochs=12, learning_rate=0.01))
    assert trained.members.tolist() == list(range(22))
    assert [h["epoch"] for h in trained.history] == list(range(1, 13))
    assert trained.history[-1]["loss"] < 0.5 * trained.history[0]["loss"]
    assert trained.history[-1]["accuracy"] > 0.9


@pytest.mark.parametrize(("seeds", "same"), [((0, 0), True), ((0, 1), False)])
def test_the_seed_draws_everything(
    make_run: Callable[..., Run], tmp_path: Path, seeds: tuple[int, int], same: bool
) -> None:
    first, second = (
        train_central(make_run("central", epochs=2, seed=seed, folder=tmp_path / str(i)))[0]
        for i, seed in enumerate(seeds)
    )
    if same:
        assert_same_bits(first.weights, second.weights)
        assert first.history == second.history
    else:
        assert first.weights[0].tobytes() != second.weights[0].tobytes()


def test_a_diverging_run_leaves_no_checkpoint(make_run: Callable[..., Run], tmp_path: Path) -> None:
    run = make_run("central", epochs=2)
    broken = [w * float("nan") for w in run.initial_weights(0)]
    object.__setattr__(run, "initial_weights", lambda _: broken)
    with pytest.raises(TrainingError, match="model: the loss became nan"):
        train_central(run)
    assert not list(tmp_path.rglob("*.npz"))


def test_a_model_a_site_of_its_own_scans(make_run: Callable[..., Run], cohort: Cohort) -> None:
    models = train_siloed(make_run("siloed", epochs=1))
    assert [m.name for m in models] == ["site-00", "site-01", "site-02"]
    assert [m.members.tolist() for m in models] == [p.tolist() for p in natural_partition(cohort)]
    assert [len(m.history) for m in models] == [1, 1, 1]
    assert len({m.weights[0].tobytes() for m in models}) == 3


def test_a_sites_model_does_not_depend_on_the_other_sites(
    make_run: Callable[..., Run], cohort: Cohort, tmp_path: Path
) -> None:
    whole = train_siloed(make_run("siloed", epochs=2, folder=tmp_path / "whole"))
    manifest = cohort.manifest[cohort.manifest["site_id"] < 2].reset_index(drop=True)
    fewer = replace(cohort, manifest=manifest, meta=replace(cohort.meta, site_names=("a", "b")))
    part = train_siloed(make_run("siloed", epochs=2, cohort=fewer, folder=tmp_path / "part"))
    assert len(part) == 2
    for left, right in zip(whole, part, strict=False):
        assert_same_bits(left.weights, right.weights)


def test_a_site_without_training_scans_is_named(make_run: Callable[..., Run], cohort: Cohort) -> None:
    manifest = cohort.manifest.copy()
    manifest["split"] = np.where(manifest["site_id"] == 2, "test", manifest["split"])
    with pytest.raises(TrainingError, match="site 'c' has no training scan"):
        train_siloed(make_run("siloed", cohort=replace(cohort, manifest=manifest)))
