from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_training import assert_same_bits

from flprivacy.core.cohort import Cohort
from flprivacy.core.errors import TrainingError
from flprivacy.training.partition import natural_partition
from flprivacy.training.siloed import train_siloed
from flprivacy.training.topology import Run


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
