import subprocess
import sys

import numpy as np
import pytest
from attack_examples import sample_for
from sklearn.metrics import f1_score

from flprivacy.attacks.config import LearnerConfig
from flprivacy.attacks.learner import curve_epochs, reciprocal_spread, train_heads

TRAIN, TEST, WIDTH = 150, 90, 9
CLASSES = {"site": 5, "sex": 2, "age_band": 4, "age_years": 0}
NAMES = tuple(CLASSES)
CONFIG = LearnerConfig(epochs=8, batch_size=32, learning_rate=3e-3)
LONG = LearnerConfig(epochs=40, batch_size=32, learning_rate=1e-2)
ROWS = np.sort(np.random.default_rng(1).choice(TRAIN, 70, replace=False))


@pytest.fixture(scope="module")
def values():
    rng = np.random.default_rng(0)
    n = TRAIN + TEST
    years = rng.normal(60, 12, n)
    sex = rng.integers(0, 2, n).astype(float)
    sex[::9] = years[::7] = np.nan
    site = rng.permutation(np.arange(n) % 5).astype(float)
    return {"site": site, "sex": sex, "age_band": rng.integers(0, 4, n).astype(float), "age_years": years}


@pytest.fixture(scope="module")
def noise():
    """Features (view, scan, feature) that tell nothing."""
    return np.random.default_rng(2).normal(size=(2, TRAIN + TEST, WIDTH)).astype("f4")


def train(values, features, config=CONFIG, *, seed=3, names=NAMES, **kwargs):
    sample = sample_for({name: values[name] for name in names}, CLASSES, ROWS, seed=seed)
    return train_heads(features[:, ROWS], features[0, TRAIN:], sample, config, **kwargs)


def _f1(trained, values, name):
    truth = values[name][TRAIN:]
    known = ~np.isnan(truth)
    guesses = trained.scores[NAMES.index(name)].argmax(-1)
    return f1_score(truth[known], guesses[known], average="weighted")


def test_heads_trained_together_agree_with_heads_trained_one_by_one(values, noise):
    together = train(values, noise)
    for a, name in enumerate(NAMES):
        alone = train(values, noise, names=(name,)).scores[0]
        np.testing.assert_allclose(alone, together.scores[a, :, : max(1, CLASSES[name])], rtol=1e-4, atol=2e-5)
    assert (together.scores[0] != train(values, noise, seed=4).scores[0]).any()


def test_curves_start_before_the_first_epoch_are_dense_early_and_end_after_the_last(values, noise):
    seen = []

    def strength(scores):
        seen.append(scores)
        return np.full(len(scores), len(seen), float)

    epochs = []
    trained = train(values, noise, strength=strength, on_epoch=lambda: epochs.append(len(seen)))
    assert curve_epochs(CONFIG.epochs) == (0, 1, 2, 3, 4, 8)
    np.testing.assert_array_equal(trained.curves, np.tile(np.arange(1.0, 7.0), (4, 1)))
    np.testing.assert_array_equal(seen[-1], trained.scores)
    assert (seen[0] != seen[1]).any()
    assert epochs == [1, 2, 3, 4, 5, 5, 5, 5]  # points of the curve there were after each epoch


def test_known_leak_a_planted_site_and_age_are_found(values, noise):
    site, years = values["site"], values["age_years"]
    leaks = noise.copy(), noise.copy()
    for k in range(WIDTH):
        leaks[0][..., k] += 6 * (site == k % 5)
        leaks[1][..., k] += (-1) ** k * np.nan_to_num((years - 60) / 3, nan=0.0)
    by_site, by_age = (train(values, features, LONG) for features in leaks)
    assert _f1(by_site, values, "site") > 0.95
    assert _f1(by_age, values, "site") < 0.35
    truth = years[TRAIN:]
    spread = np.nanmean(np.abs(truth - np.nanmedian(truth)))
    assert np.nanmean(np.abs(by_age.scores[3, :, 0] - truth)) < 0.5 * spread
    assert np.nanmean(np.abs(by_site.scores[3, :, 0] - truth)) > 0.8 * spread


def test_known_null_features_without_information_give_chance(values, noise):
    trained = [train(values, noise, LONG, seed=seed) for seed in range(5)]
    for name, chance in {"site": 0.2, "sex": 0.5, "age_band": 0.25}.items():
        assert np.mean([_f1(one, values, name) for one in trained]) == pytest.approx(chance, abs=0.09)


def test_scans_with_unknown_label_do_not_matter(values, noise):
    unknown = np.flatnonzero(np.isnan(values["sex"][ROWS]))
    sample = sample_for({"sex": values["sex"]}, CLASSES, ROWS, seed=0)
    first = train_heads(noise[:, ROWS], noise[0, TRAIN:], sample, CONFIG)
    sample.targets[0, unknown] = 1.0
    again = train_heads(noise[:, ROWS], noise[0, TRAIN:], sample, CONFIG)
    assert len(unknown) > 3
    np.testing.assert_array_equal(first.scores, again.scores)


def test_the_size_of_features_does_not_matter(values, noise):
    scaled = noise * np.geomspace(1e-5, 1e4, WIDTH, dtype="f4")
    np.testing.assert_allclose(train(values, scaled).scores, train(values, noise).scores, rtol=2e-2, atol=2e-3)


def test_features_that_do_not_vary_over_the_exposed_sample_are_silenced():
    exposed = np.random.default_rng(0).normal(size=(2, 30, 3)).astype("f4")
    exposed[..., 1] = 7.0
    scale = reciprocal_spread(exposed)
    assert scale[1] == 0
    np.testing.assert_allclose(scale[::2], 1 / exposed[..., ::2].std((0, 1)), rtol=1e-5)


def test_a_unit_that_wakes_in_held_out_scans_only_throws_no_age_out_of_range(values, noise):
    features = noise.copy()
    features[..., 0] = 0.0
    features[:, ROWS[0], 0] = 1e-3  # one exposed scan, barely
    features[:, TRAIN:, 0] = 5.0
    years, exposed = train(values, features, LONG).scores[3, :, 0], values["age_years"][ROWS]
    assert years.min() >= np.nanmin(exposed) - 1e-3
    assert years.max() <= np.nanmax(exposed) + 1e-3


def test_the_library_loads_numpy_and_nothing_heavy():
    heavy = ("keras", "tensorflow", "pandas", "pyarrow", "sklearn", "scipy", "h5py")
    code = f"import sys, flprivacy.attacks.learner; print([name for name in {heavy} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert found.strip() == "[]"


@pytest.mark.parametrize("scans", [96, 240, 1000])
def test_a_column_that_does_not_vary_is_left_out_whatever_it_holds(scans):
    """float32 sums of equal values are not exact: rounding must not pass for variation and be scaled up."""
    values = np.random.default_rng(3).uniform(0.1, 3.0, size=200).astype(np.float32)
    assert not reciprocal_spread(np.broadcast_to(values, (1, scans, 200)).copy()).any()
