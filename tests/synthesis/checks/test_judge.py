"""The judge learns what a class looks like, from volumes of any size, and is the same each time."""

import numpy as np

from flprivacy.synthesis.checks.judge import train_judge


def scans(n: int, seed: int, edge: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """Return noise with a bright left or right half, and which half it is."""
    rng = np.random.default_rng(seed)
    side = rng.integers(2, size=n)
    volumes = rng.integers(40, 90, size=(n, 4, edge, edge), dtype=np.uint8)
    for volume, one in zip(volumes, side, strict=True):
        volume[:, :, one * edge // 2 : (one + 1) * edge // 2] += 80
    return volumes, side


def test_it_learns_and_repeats_itself() -> None:
    volumes, side = scans(60, 0)
    known = {"site": side, "class": np.arange(60) % 3}
    judge = train_judge(volumes, known, {"site": 2, "class": 3}, seed=0)
    others, truth = scans(40, 1)
    seen = judge.look(others)
    assert (seen.classes["site"] == truth).mean() > 0.95
    assert seen.features.shape == (40, 128)
    again = train_judge(volumes, known, {"site": 2, "class": 3}, seed=0).look(others)
    np.testing.assert_allclose(again.features, seen.features, rtol=1e-4, atol=1e-5)


def test_large_slices_are_seen_as_small_ones() -> None:
    volumes, side = scans(8, 2)
    large = np.repeat(np.repeat(volumes, 3, axis=2), 3, axis=3)
    seen = [train_judge(some, {"site": side}, {"site": 2}, seed=0).look(some).features for some in (volumes, large)]
    np.testing.assert_allclose(seen[0], seen[1], rtol=1e-4, atol=1e-5)
