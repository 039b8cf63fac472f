"""Fidelity, diversity, agreement and anatomy: closed forms, naive references, a known null and a known difference."""

import numpy as np
import pytest

from flprivacy.core.errors import AuditError, ConfigError
from flprivacy.synthesis.checks.agreement import measure_agreement
from flprivacy.synthesis.checks.anatomy import LUNG, OUTLINE, WIDTH, compare_anatomy, measure_anatomy, wasserstein
from flprivacy.synthesis.checks.diversity import density_and_coverage, ideal_coverage
from flprivacy.synthesis.checks.fidelity import frechet_distance, measure_fidelity
from flprivacy.synthesis.checks.resampling import even_samples

WINDOW_HU = (-1000.0, 400.0)


def test_the_frechet_distance_of_normal_samples_is_that_of_their_moments() -> None:
    rng = np.random.default_rng(0)
    first = rng.normal(size=(200_000, 2)) * (1.0, 2.0)
    second = rng.normal(size=(200_000, 2)) * (3.0, 2.0) + (0.0, 1.5)
    assert frechet_distance(first, second) == pytest.approx(1.5**2 + (3.0 - 1.0) ** 2, rel=0.02)
    assert frechet_distance(first, first) == pytest.approx(0.0, abs=1e-9)


def test_the_frechet_distance_is_that_of_the_matrix_root() -> None:
    from scipy.linalg import sqrtm

    rng = np.random.default_rng(1)
    first, second = rng.normal(size=(50, 6)), rng.normal(size=(40, 6)) @ rng.normal(size=(6, 6))
    one, other = np.cov(first.T), np.cov(second.T)
    naive = np.square(first.mean(0) - second.mean(0)).sum() + np.trace(one + other - 2.0 * sqrtm(one @ other).real)
    assert frechet_distance(first, second) == pytest.approx(naive)


def features(n: int, seed: int, shift: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, 12)) + shift


def test_a_perfect_generator_is_as_far_as_the_floor_and_a_worse_one_further() -> None:
    patients = np.arange(300) // 2
    for shift in (0.0, 0.5):
        found = measure_fidelity(
            features(400, 2, shift),
            features(300, 3),
            features(300, 4),
            held_out_patients=patients,
            training_patients=patients,
            features="numbers",
        )
        assert found.n == 300
        assert (found.distance.low > found.floor.high) == bool(shift)
        assert 0.0 <= found.floor.low < found.floor.value < found.floor.high


def test_the_interval_of_a_distance_covers_it() -> None:
    """Of 40 samples, by how far they lie apart on average; the bias is that of samples of this size, in truth too."""
    patients = np.arange(120)
    found = [
        measure_fidelity(
            features(120, 100 + seed, 0.4),
            features(120, 200 + seed),
            features(120, 300 + seed),
            held_out_patients=patients,
            training_patients=patients,
            features="numbers",
            replicates=60,
        ).distance
        for seed in range(40)
    ]
    truth = np.mean([one.value for one in found])
    assert np.mean([one.low <= truth <= one.high for one in found]) > 0.8


def test_density_and_coverage_are_those_of_their_definitions() -> None:
    rng = np.random.default_rng(0)
    real, synthetic, k = rng.normal(size=(40, 3)), rng.normal(size=(30, 3)) + 0.5, 3
    found = density_and_coverage(real, synthetic, k=k)
    radius = [sorted(np.linalg.norm(real - one, axis=1))[k] for one in real]
    inside = [[np.linalg.norm(one - other) <= r for other in synthetic] for one, r in zip(real, radius, strict=True)]
    assert found.density == pytest.approx(np.sum(inside) / (k * 30))
    assert found.coverage == pytest.approx(np.mean([any(row) for row in inside]))


def test_the_ideal_is_reached_by_the_same_distribution_and_missed_by_a_collapsed_one() -> None:
    found = [density_and_coverage(features(100, seed), features(100, 1000 + seed)) for seed in range(60)]
    assert np.mean([one.coverage for one in found]) == pytest.approx(ideal_coverage(100, 100, 5), abs=0.005)
    assert ideal_coverage(100, 100, 5) == pytest.approx(0.971, abs=5e-4)
    assert np.mean([one.density for one in found]) == pytest.approx(1.0, abs=0.1)
    collapsed = density_and_coverage(features(100, 0), np.tile(features(1, 1), (100, 1)))
    assert collapsed.coverage < 0.2


def test_perfect_copies_are_perfect_in_density_and_coverage() -> None:
    real = features(100, 0)
    found = density_and_coverage(real, real)
    assert found.coverage == 1.0
    assert found.density >= 1.0


def test_arrays_that_do_not_fit_are_refused() -> None:
    with pytest.raises(AuditError, match="3 features, synthetic 4"):
        density_and_coverage(np.ones((10, 3)), np.ones((10, 4)))
    with pytest.raises(AuditError, match="no 5 neighbours"):
        density_and_coverage(np.ones((5, 3)), np.ones((10, 3)))
    with pytest.raises(AuditError, match="finite"):
        density_and_coverage(np.full((10, 3), np.nan), np.ones((10, 3)))
    with pytest.raises(ConfigError, match="k is 0"):
        density_and_coverage(np.ones((10, 3)), np.ones((10, 3)), k=0)
    with pytest.raises(AuditError, match="at least 16 of each"):
        measure_fidelity(
            features(9, 0),
            features(9, 1),
            features(9, 2),
            held_out_patients=np.arange(9),
            training_patients=np.arange(9),
            features="numbers",
        )


def agreement(seen: np.ndarray, asked: np.ndarray):  # type: ignore[no-untyped-def]
    truth = np.arange(60) % 3
    return measure_agreement(
        "site", "rule", seen=seen, asked=asked, seen_in_real=truth, real=truth, real_patients=np.arange(60)
    )


def test_agreement_is_told_from_chance() -> None:
    asked = np.random.default_rng(0).integers(3, size=200)
    by_chance, right = agreement(np.random.default_rng(1).integers(3, size=200), asked), agreement(asked, asked)
    assert by_chance.p_value > 0.01
    assert by_chance.synthetic.low < 1 / 3 < by_chance.synthetic.high
    assert right.p_value < 0.001
    assert right.chance == pytest.approx(np.square(np.bincount(asked) / 200).sum())
    assert right.synthetic.value == right.real.value == 1.0
    assert right.synthetic.low > 0.97


def test_a_classifier_that_always_says_the_same_agrees_by_chance() -> None:
    asked = np.where(np.arange(200) < 140, 0, 1)
    found = agreement(np.zeros(200, dtype=int), asked)
    assert found.synthetic.value == found.chance == 0.7
    assert found.p_value == 1.0


def body(lung: bool = True, radius: int = 12, moved: int = 0) -> np.ndarray:
    """Return a cylinder of soft tissue with two air-filled holes, (4, 40, 48); voxels of 0 HU and of -1000 HU."""
    y, x = np.mgrid[:40, :48]
    volume = np.zeros((4, 40, 48), np.uint8)
    x = x - moved
    volume[:, (y - 20) ** 2 + (x - 24) ** 2 <= radius**2] = 182
    if lung:
        for side in (-5, 5):
            volume[:, (y - 20) ** 2 + (x - 24 - side) ** 2 <= 16] = 0
    return volume


def test_lungs_and_outline_of_a_drawn_body_are_measured() -> None:
    found = measure_anatomy(np.stack([body(), body(lung=False), body(radius=16), body(moved=6)]), WINDOW_HU)
    lungs = 2 * np.sum((np.mgrid[-4:5, -4:5] ** 2).sum(0) <= 16)
    disc = np.sum((np.mgrid[-12:13, -12:13] ** 2).sum(0) <= 144)
    assert found[LUNG][0] == pytest.approx(lungs / disc)
    assert found[LUNG][1] == 0.0
    assert found[OUTLINE][0] == pytest.approx(disc / (40 * 48))
    assert found[OUTLINE][2] > found[OUTLINE][0]
    assert found[WIDTH][0] == pytest.approx(25 / 48)
    assert [found[name][3] for name in found] == [found[name][0] for name in found]


def test_another_shape_is_further_than_the_floor() -> None:
    rng = np.random.default_rng(0)

    def values(n: int, mean: float) -> dict[str, np.ndarray]:
        return {name: rng.normal(mean, 1.0, n) for name in (LUNG, OUTLINE, WIDTH)}

    for mean in (0.0, 1.5):
        checks = compare_anatomy(
            values(150, mean),
            values(150, 0.0),
            values(150, 0.0),
            held_out_patients=np.arange(150),
            training_patients=np.arange(150),
        )
        assert [one.distance.low > one.floor.high for one in checks] == [bool(mean)] * 3


def test_the_wasserstein_distance_is_scipys() -> None:
    from scipy.stats import wasserstein_distance

    rng = np.random.default_rng(0)
    first, second = rng.normal(size=50), rng.normal(0.7, 2.0, size=31)
    assert wasserstein(first, second) == pytest.approx(wasserstein_distance(first, second))


def test_patients_are_drawn_whole() -> None:
    patients = np.repeat(np.arange(50), 2)
    rows = even_samples(patients, 31, seed=0)
    assert len(rows) == 30
    assert (np.bincount(patients[rows], minlength=50) % 2 == 0).all()
