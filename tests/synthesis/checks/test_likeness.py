"""Copies of phantoms stay near whatever was done to them, and a copier is told from a generator of fresh ones."""

from collections.abc import Callable

import numpy as np
import pytest

from flprivacy.core.array_types import Volumes
from flprivacy.core.generator_audit import COPIES, Memorisation
from flprivacy.synthesis.checks import planting
from flprivacy.synthesis.checks.likeness import Likeness, fit_likeness, views
from flprivacy.synthesis.checks.memorisation import Evidence, find_copies
from flprivacy.synthesis.checks.planting import plant
from tests.synthesis.checks.phantoms import Scans, phantoms

Way = Callable[[Volumes, np.random.Generator], Volumes]
WAYS: dict[str, Way] = {
    "same": planting.same,
    "shifted": planting.shifted,
    "mirrored": planting.mirrored,
    "blurred": planting.blurred,
    "brighter": lambda volume, _: (0.7 * volume + 40).astype(np.uint8),
    "noisy": lambda volume, rng: np.clip(volume + rng.normal(0, 12, volume.shape), 0, 255).astype(np.uint8),
    "a slice up": lambda volume, _: np.concatenate([volume[1:], volume[-1:]]),
}


@pytest.fixture(scope="module")
def real() -> Scans:
    return phantoms(0)


@pytest.fixture(scope="module")
def likeness(real: Scans) -> Likeness:
    return fit_likeness(real.read, len(real.volumes))


def changed(volumes: Volumes, way: Way, seed: int = 0) -> Volumes:
    rng = np.random.default_rng(seed)
    return np.stack([way(one, rng) for one in volumes])


@pytest.mark.parametrize("name", WAYS)
def test_a_copy_is_nearest_to_its_patient(name: str, real: Scans, likeness: Likeness) -> None:
    rows = np.arange(0, len(real.volumes), 3)
    found = likeness.neighbours(lambda some: changed(real.volumes[rows], WAYS[name])[some], len(rows), real.patients)
    usual = likeness.neighbours(real.read, len(real.volumes), real.patients, real.patients).closeness()
    # A slice is an eighth of these phantoms' depth.
    least, rare = (0.6, 0.9) if name == "a slice up" else (0.9, 0.98)
    assert (found.patients[:, 0] == real.patients[rows]).mean() > least
    assert np.median(found.closeness()) > np.quantile(usual, rare)


def test_the_views_are_the_scan_and_its_mirror_image_at_three_heights(real: Scans) -> None:
    volumes = real.volumes[:3]
    seen = list(views(volumes))
    assert len(seen) == 6
    again = list(views(volumes[..., ::-1]))
    for one, other in zip(seen, again[3:] + again[:3], strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    lifted = np.concatenate([volumes[:, 1:], volumes[:, -1:]], axis=1)
    moved, base = next(views(lifted)), seen[0]
    assert ((moved * seen[2]).sum(axis=1) > (moved * base).sum(axis=1)).all()


def test_the_space_does_not_know_who_was_trained_on(real: Scans, likeness: Likeness) -> None:
    """Held-out and training scans have the same share in it: in another order it is the same space."""
    order = np.random.default_rng(0).permutation(len(real.volumes))
    again = fit_likeness(lambda rows: real.volumes[order][rows], len(order))
    some = phantoms(1).volumes[:10]
    np.testing.assert_allclose(again.distances(some), likeness.distances(some)[:, order], rtol=2e-2)


def test_slices_of_full_size_are_reduced_first(real: Scans) -> None:
    large = np.repeat(np.repeat(real.volumes[:64], 6, axis=2), 6, axis=3)
    space = fit_likeness(lambda rows: large[rows], len(large))
    assert space.mean.shape == next(views(real.volumes[:1])).shape[1:]
    copies = changed(large[::4], planting.shifted)
    found = space.neighbours(lambda rows: copies[rows], len(copies), np.arange(len(large)))
    assert (found.patients[:, 0] == np.arange(0, len(large), 4)).mean() > 0.8


def judged(real: Scans, likeness: Likeness, made: Volumes) -> Memorisation:
    sources = np.flatnonzero(real.training)[::4]
    planted = plant(real.volumes[sources], seed=5)
    first = np.unique(real.patients, return_index=True)[1]

    def near(volumes: Volumes):  # type: ignore[no-untyped-def]
        return likeness.neighbours(lambda rows: volumes[rows], len(volumes), real.patients)

    evidence = Evidence(
        synthetic=near(made),
        real=likeness.neighbours(real.read, len(real.volumes), real.patients, real.patients),
        owners=real.patients,
        training=real.training[first],
        strata=real.sites[first],
        planted=near(planted),
        planted_sources=real.patients[sources],
    )
    return find_copies(evidence, permutations=499)


@pytest.mark.parametrize("name", ["same", "shifted", "mirrored", "blurred"])
def test_a_copier_is_flagged(name: str, real: Scans, likeness: Likeness) -> None:
    rows = np.random.default_rng(1).choice(np.flatnonzero(real.training), 100)
    found = judged(real, likeness, changed(real.volumes[rows], WAYS[name], seed=2))
    assert found.verdict == COPIES
    assert found.suspects_of_training > 60


def test_a_copier_of_twenty_patients_and_one_of_few_samples_are_flagged(real: Scans, likeness: Likeness) -> None:
    rng = np.random.default_rng(3)
    members = np.flatnonzero(real.training)
    twenty = real.volumes[rng.choice(rng.choice(members, 20, replace=False), 120)]
    assert judged(real, likeness, changed(twenty, planting.shifted)).verdict == COPIES
    mixed = phantoms(2).volumes.copy()
    mixed[:24] = changed(real.volumes[rng.choice(members, 24, replace=False)], planting.blurred)
    assert judged(real, likeness, mixed).verdict == COPIES


def test_a_generator_of_fresh_phantoms_is_not_flagged(real: Scans, likeness: Likeness) -> None:
    """The rate of false alarms over 100 cohorts is measured by tests/benchmarks/bench_memorisation.py."""
    for seed in (1, 2):
        assert judged(real, likeness, phantoms(seed).volumes).verdict != COPIES
