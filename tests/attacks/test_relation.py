"""Features of the scans that they are said to be of, of others, and of an unknown order."""

import numpy as np
import pytest

from flprivacy.attacks.relation import check_related, looks, unrelated
from flprivacy.core.errors import AttackError

N = 60


def _scans(seed=0):
    rng = np.random.default_rng(seed)
    return np.clip(rng.normal(100, 20, (N, 5, 9, 7)) + rng.normal(0, 15, (N, 1, 1, 1)), 0, 255).astype(np.uint8)


def _features(volumes, noise=1.0):
    rng = np.random.default_rng(1)
    flat = volumes.reshape(len(volumes), -1) / 255.0
    weights = rng.normal(size=(flat.shape[1], 12)) / np.sqrt(flat.shape[1])
    return np.maximum(flat @ weights + noise * 0.01 * rng.normal(size=(len(flat), 12)), 0).astype(np.float32)


def test_means_of_blocks():
    volumes = np.arange(2 * 8 * 4 * 3, dtype=np.uint8).reshape(2, 8, 4, 3)
    found = looks(volumes).reshape(2, 4, 4, 3)
    np.testing.assert_allclose(found[1, 2, 3, 1], volumes[1, 4:6, 3, 1].mean())


def test_features_of_these_scans_pass_in_any_order_units_and_scale():
    volumes = _scans()
    features, looked = _features(volumes), looks(volumes)
    order = np.random.default_rng(3).permutation(N)
    for some in (features, features * 1e-6, np.exp(20 * features), features @ np.ones((12, 1), np.float32)):
        check_related(some, looked, "m")
        check_related(some[order], looked[order], "m")


def test_features_of_other_scans_are_refused():
    volumes = _scans()
    features, looked = _features(volumes), looks(volumes)
    with pytest.raises(AttackError, match="have nothing to do with what the scans look like"):
        check_related(features[np.random.default_rng(2).permutation(N)], looked, "m")
    with pytest.raises(AttackError, match="check the scan ids"):
        check_related(_features(_scans(seed=9)), looked, "m")
    check_related(features[::-1][:20], looked[:20], "too few to tell")


def test_by_chance_one_of_a_hundred_passes():
    rng = np.random.default_rng(5)
    found = [unrelated(rng.normal(size=(40, 6)), rng.normal(size=(40, 9))) for _ in range(60)]
    assert np.mean(np.array(found) < 0.05) < 0.15
    assert 0.35 < np.mean(found) < 0.65
