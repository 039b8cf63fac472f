import functools
from dataclasses import replace

import numpy as np
import pytest
from attack_examples import exposure_for, labels_for
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.preprocessing import StandardScaler

from flprivacy.attacks.config import AttackConfig
from flprivacy.attacks.grid import Batches, FeatureTable, HeadGrid, equal_batches, random_bits, reciprocal_spread

TRAIN, TEST, WIDTH, MODELS = 150, 90, 9, 2
CLASSES = {"site": 5, "sex": 2, "age_band": 4, "age_years": 0}
SEEDS = (0, 3, 8)
CONFIG = AttackConfig(epochs=8, batch_size=32, learning_rate=3e-3, views=2)
LONG = replace(CONFIG, epochs=40, learning_rate=1e-2)


@pytest.fixture(scope="module")
def labels():
    rng = np.random.default_rng(0)
    n = TRAIN + TEST
    years = rng.normal(60, 12, n)
    sex = rng.integers(0, 2, n).astype(float)
    sex[::9] = years[::7] = np.nan
    site = rng.permutation(np.arange(n) % 5)
    return labels_for({"site": site, "sex": sex, "age_band": rng.integers(0, 4, n), "age_years": years}, CLASSES)


@pytest.fixture(scope="module")
def exposure(labels):
    rng = np.random.default_rng(1)
    rows = np.stack([np.sort(rng.choice(TRAIN, 70, replace=False)) for _ in SEEDS])
    return exposure_for(labels, rows, seeds=SEEDS)


def table_of(features):
    """A table from (model, view, scan, feature) of training and test scans."""
    return FeatureTable(rows=np.arange(TRAIN), exposed=features[:, :, :TRAIN], test=features[:, 0, TRAIN:])


@pytest.fixture(scope="module")
def noise():
    return np.random.default_rng(2).normal(size=(MODELS, 2, TRAIN + TEST, WIDTH)).astype("f4")


def no_measure(scores):
    return np.zeros(scores.shape[:3])


def train(config, labels, exposure, table, measure=no_measure):
    grid = built(config, labels, len(table.test), len(exposure.seeds))
    return grid.train(table, exposure, measure)


@functools.cache
def built(config, labels, models, seeds):
    """Tracing takes longer than training here: tests share their grids."""
    return HeadGrid(config, labels, models=models, seeds=seeds, features=WIDTH)


def test_heads_trained_together_agree_with_heads_trained_one_by_one(labels, exposure, noise):
    together = train(CONFIG, labels, exposure, table_of(noise))
    for one in labels:
        for m, s in ((0, 0), (1, 2)):
            alone = exposure_for((one,), exposure.rows[s : s + 1], seeds=(SEEDS[s],))
            scores = train(CONFIG, (one,), alone, table_of(noise[m : m + 1])).scores[0, 0, 0]
            np.testing.assert_allclose(scores, together.by_attribute(m, labels)[one.name][s], rtol=1e-3, atol=2e-4)
    assert together.scores[..., 0].std(axis=(0, 1)).min() > 1e-3  # heads do differ


def test_a_grid_trained_again_gives_the_same_bits(labels, exposure, noise):
    first = train(CONFIG, labels, exposure, table_of(noise))
    fresh = HeadGrid(CONFIG, labels, models=MODELS, seeds=len(SEEDS), features=WIDTH)
    fresh.train(table_of(noise[..., ::-1]), exposure, no_measure)
    again = fresh.train(table_of(noise), exposure, no_measure)
    np.testing.assert_array_equal(first.scores, again.scores)


def test_curves_start_before_the_first_epoch_and_end_after_the_last(labels, exposure, noise):
    seen = []

    def measure(scores):
        seen.append(scores)
        return np.full(scores.shape[:3], len(seen), float)

    result = train(CONFIG, labels, exposure, table_of(noise), measure)
    assert result.curves.shape == (MODELS, len(SEEDS), 4, CONFIG.epochs + 1)
    np.testing.assert_array_equal(result.curves[1, 2, 3], np.arange(1, CONFIG.epochs + 2))
    np.testing.assert_array_equal(seen[-1], result.scores)
    assert (seen[0] != seen[1]).any()


def _f1(result, labels, name, model=0):
    one = next(x for x in labels if x.name == name)
    truth = one.values[TRAIN:]
    known = ~np.isnan(truth)
    scores = result.by_attribute(model, labels)[name]
    return np.mean([f1_score(truth[known], s[known].argmax(-1), average="weighted") for s in scores])


def test_known_leak_a_planted_site_and_age_are_found(labels, exposure, noise):
    features = noise.copy()
    site, years = labels[0].values, labels[3].values
    for k in range(WIDTH):
        features[0, :, :, k] += 6 * (site == k % 5)
        features[1, :, :, k] += (-1) ** k * np.nan_to_num((years - 60) / 3, nan=0.0)
    result = train(LONG, labels, exposure, table_of(features))
    assert _f1(result, labels, "site", model=0) > 0.95
    assert _f1(result, labels, "site", model=1) < 0.35
    known = ~np.isnan(years[TRAIN:])
    errors = [
        np.abs(result.by_attribute(m, labels)["age_years"][:, known, 0] - years[TRAIN:][known]).mean() for m in (0, 1)
    ]
    spread = np.abs(years[TRAIN:][known] - np.nanmedian(years)).mean()
    assert errors[1] < 0.5 * spread
    assert errors[0] > 0.8 * spread


def test_known_null_features_without_information_give_chance(labels, exposure, noise):
    result = train(LONG, labels, exposure, table_of(noise))
    chances = {"site": 0.2, "sex": 0.5, "age_band": 0.25}
    for name, chance in chances.items():
        strengths = [_f1(result, labels, name, model) for model in range(MODELS)]
        assert np.mean(strengths) == pytest.approx(chance, abs=0.09)


def test_scans_with_unknown_label_do_not_matter(labels, exposure, noise):
    sex = labels[1]
    features = noise.copy()
    result = train(CONFIG, (sex,), exposure_for((sex,), exposure.rows, seeds=SEEDS), table_of(features))
    targets = exposure_for((sex,), exposure.rows, seeds=SEEDS)
    spoilt = replace(targets, targets=np.where(targets.weights == 0, 1.0, targets.targets).astype("f4"))
    other = train(CONFIG, (sex,), spoilt, table_of(features))
    np.testing.assert_array_equal(result.scores, other.scores)


def test_the_size_of_features_does_not_matter(labels, exposure, noise):
    scaled = noise * np.geomspace(1e-5, 1e4, WIDTH, dtype="f4")
    plain = train(CONFIG, labels, exposure, table_of(noise))
    other = train(CONFIG, labels, exposure, table_of(scaled))
    np.testing.assert_allclose(other.scores, plain.scores, rtol=2e-2, atol=2e-3)


def test_features_that_do_not_vary_over_the_exposed_sample_are_silenced():
    reference = np.random.default_rng(0).normal(size=(1, 1, 1, 30, 3)).astype("f4")
    reference[..., 1] = 7.0
    scale = reciprocal_spread(reference)
    assert scale[0, 0, 0, 0, 1] == 0
    np.testing.assert_allclose(scale[0, 0, 0, 0, ::2], 1 / reference[0, 0, 0, :, ::2].std(0), rtol=1e-5)


@pytest.mark.parametrize(
    ("n", "batch", "steps", "size"), [(10, 128, 1, 10), (300, 128, 3, 100), (7, 3, 3, 3), (1, 4, 1, 1)]
)
def test_batches_are_equal_and_leave_no_scan_out(n, batch, steps, size):
    batches = equal_batches(n, batch, np.random.default_rng(0))
    assert batches.shape == (steps, size)
    assert set(batches.ravel()) == set(range(n))
    np.testing.assert_array_equal(batches.ravel()[n:], batches.ravel()[: steps * size - n])


def test_a_seeds_batches_do_not_depend_on_the_other_seeds(labels, exposure):
    many = next(Batches(exposure, labels, CONFIG, views=2).epoch(features=WIDTH))
    one = next(Batches(exposure.only(3), labels[1:2], CONFIG, views=2).epoch(features=WIDTH))
    np.testing.assert_array_equal(many.scans[1], one.scans[0])
    np.testing.assert_array_equal(many.views[1], one.views[0])
    np.testing.assert_array_equal(many.keep["keep_hidden"][0, 1, 1], one.keep["keep_hidden"][0, 0, 0])
    assert set(np.unique(many.views)) == {0, 1}


def test_random_bits_are_fair():
    bits = random_bits(np.random.default_rng(0), (100, 103))
    assert bits.shape == (100, 103)
    assert set(np.unique(bits)) == {0, 1}
    assert bits.mean() == pytest.approx(0.5, abs=0.02)


def test_a_unit_that_wakes_in_held_out_scans_only_throws_no_age_out_of_range(labels, exposure, noise):
    features = noise.copy()
    features[..., 0] = 0.0
    features[:, :, int(exposure.rows[0, 0]), 0] = 1e-3  # one exposed scan of the first seed, barely
    features[:, :, TRAIN:, 0] = 5.0
    found = train(LONG, labels, exposure, table_of(features))
    years = found.by_attribute(0, labels)["age_years"][..., 0]
    for s, rows in enumerate(exposure.rows):
        exposed = labels[3].values[rows]
        assert years[s].min() >= np.nanmin(exposed) - 1e-3
        assert years[s].max() <= np.nanmax(exposed) + 1e-3


def test_the_default_attack_is_no_weaker_than_logistic_regression_on_few_scans():
    """120 exposed scans at 21 sites of heavy-tailed size, 128 features with a weak signal: what the demo gives."""
    rng = np.random.default_rng(5)
    shares = 1.0 / np.arange(1, 22) ** 1.1
    train_n, test_n, width = 120, 400, 128
    site = np.concatenate([np.arange(21), rng.choice(21, train_n + test_n - 21, p=shares / shares.sum())])
    centres = 0.45 * rng.normal(size=(21, width))
    features = np.maximum(centres[site] + rng.normal(size=(len(site), width)), 0.0).astype("f4")
    labels = labels_for({"site": site.astype(float)}, {"site": 21})
    exposure = exposure_for(labels, np.arange(train_n)[None], seeds=(0,))
    table = FeatureTable(rows=np.arange(train_n), exposed=features[None, None, :train_n], test=features[None, train_n:])
    grid = HeadGrid(AttackConfig(), labels, models=1, seeds=1, features=width)
    ours = grid.train(table, exposure, no_measure).by_attribute(0, labels)["site"][0].argmax(axis=-1)
    scaler = StandardScaler().fit(features[:train_n])
    theirs = [
        LogisticRegression(C=c, max_iter=500)
        .fit(scaler.transform(features[:train_n]), site[:train_n])
        .predict(scaler.transform(features[train_n:]))
        for c in (0.01, 0.1, 1.0)
    ]
    best = max(f1_score(site[train_n:], one, average="weighted") for one in theirs)
    assert best > 0.4  # there is something to find
    assert f1_score(site[train_n:], ours, average="weighted") > best - 0.04
