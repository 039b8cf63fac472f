import subprocess
import sys

import numpy as np
import pytest
from attack_examples import sample_for
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.preprocessing import StandardScaler

from flprivacy.attacks.config import LearnerConfig
from flprivacy.attacks.learner import attack_features, curve_epochs, reciprocal_spread, train_heads
from flprivacy.core.errors import AttackError, ConfigError

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


def test_the_number_of_threads_does_not_change_a_bit():
    code = """
    import numpy as np
    from flprivacy.attacks.config import LearnerConfig
    from flprivacy.attacks.learner import attack_features
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(900, 600)), rng.integers(0, 8, 900)
    config = LearnerConfig(epochs=2, batch_size=256)
    print(attack_features(x[:600], y[:600], x[600:], [0], config=config).tobytes().hex())
    """
    program = "\n".join(line.strip() for line in code.splitlines())
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"OPENBLAS_NUM_THREADS": threads, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            check=True,
        ).stdout
        for threads in ("1", "2")
    }
    assert len(outputs) == 1


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


def test_the_default_attack_is_no_weaker_than_logistic_regression_on_few_scans():
    """120 exposed scans at 21 sites of heavy-tailed size, 128 features with a weak signal: what the demo gives."""
    rng = np.random.default_rng(5)
    shares = 1.0 / np.arange(1, 22) ** 1.1
    train_n, test_n, width = 120, 400, 128
    site = np.concatenate([np.arange(21), rng.choice(21, train_n + test_n - 21, p=shares / shares.sum())])
    centres = 0.45 * rng.normal(size=(21, width))
    features = np.maximum(centres[site] + rng.normal(size=(len(site), width)), 0.0)
    ours = attack_features(features[:train_n], site[:train_n], features[train_n:], [0])[0].argmax(axis=-1)
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


def test_attack_features_scores_every_seed_as_an_attack_on_a_target_would(values, noise):
    x, rows = noise[0], np.arange(TRAIN)
    scores = attack_features(x[:TRAIN], values["site"][:TRAIN].astype(int), x[TRAIN:], (0, 4), config=CONFIG)
    assert scores.shape == (2, TEST, 5)
    assert scores.dtype == np.float32
    for own, seed in zip(scores, (0, 4)):
        sample = sample_for({"site": values["site"]}, CLASSES, rows, seed=seed)
        np.testing.assert_array_equal(own, train_heads(x[None, :TRAIN], x[TRAIN:], sample, CONFIG).scores[0])


def test_attack_features_predicts_years(noise):
    x = noise[0]
    years = 60 + 10 * x[:, 0] + np.random.default_rng(0).normal(0, 1, len(x))
    scores = attack_features(x[:TRAIN], years[:TRAIN], x[TRAIN:], [0], kind="years", config=LONG)
    assert scores.shape == (1, TEST, 1)
    spread = np.abs(years[TRAIN:] - np.median(years)).mean()
    assert np.abs(scores[0, :, 0] - years[TRAIN:]).mean() < 0.65 * spread


def test_attack_features_exposes_a_share_of_every_class(values, noise):
    x, site = noise[0], values["site"]
    options = {"exposed_fraction": 0.2, "n_classes": 7, "config": CONFIG}
    scores = attack_features(x[:TRAIN], site[:TRAIN], x[TRAIN:], (0, 1), **options)
    assert scores.shape == (2, TEST, 7)
    assert (scores[0] != scores[1]).any()
    assert (scores != attack_features(x[:TRAIN], site[:TRAIN], x[TRAIN:], (0, 1), n_classes=7, config=CONFIG)).any()


def _spoilt(array, value):
    made = np.array(array, float)
    made.flat[5] = value
    return made


X, Y = np.random.default_rng(0).normal(size=(20, 3)), np.arange(20) % 3


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"train_x": X[0]}, AttackError, r"train_x has shape \(3,\)"),
        ({"test_x": X[:0]}, AttackError, r"test_x has shape \(0, 3\)"),
        ({"test_x": np.array([["a"]])}, AttackError, r"test_x has shape \(1, 1\) and type <U1"),
        ({"test_x": X[:, :2]}, AttackError, "train_x has 3 features, test_x 2"),
        ({"train_x": _spoilt(X, np.nan)}, AttackError, "train_x holds values that are not finite"),
        ({"test_x": _spoilt(X, 1e300)}, AttackError, "test_x holds values that are not finite or beyond 1e"),
        ({"train_y": Y[:7]}, AttackError, r"train_y has shape \(7,\) .* must be \(20,\)"),
        ({"train_y": _spoilt(Y, np.nan)}, AttackError, "train_y holds values that are not finite"),
        ({"train_y": Y - 1}, AttackError, "train_y ranges from -1 to 1; must be whole numbers from 0"),
        ({"train_y": Y + 0.5}, AttackError, 'for ages give kind="years"'),
        ({"n_classes": 2}, AttackError, "train_y ranges from 0 to 2; must be whole numbers from 0 to 1"),
        ({"train_y": Y * 0, "n_classes": 2}, AttackError, "exposed scan.* of seed 0 share one label"),
        ({"train_y": Y * 0}, ConfigError, "n_classes is 1"),
        ({"train_y": Y * 0, "kind": "years"}, AttackError, "share one label"),
        ({"seeds": ()}, ConfigError, "seeds is"),
        ({"seeds": (1, 1)}, ConfigError, "different seeds"),
        ({"seeds": (-1,)}, ConfigError, "must not be negative"),
        ({"kind": "sex"}, ConfigError, "kind is 'sex'"),
        ({"exposed_fraction": 0.0}, ConfigError, "exposed fraction is 0.0"),
    ],
)
def test_attack_features_refuses_in_one_clear_line(changes, error, message):
    with pytest.raises(error, match=message) as caught:
        attack_features(**({"train_x": X, "train_y": Y, "test_x": X} | changes))
    assert "\n" not in str(caught.value)


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


def test_constant_columns_and_a_shift_of_the_others_change_nothing():
    rng = np.random.default_rng(5)
    truth, held_out = np.arange(240) % 4, np.arange(400) % 4
    means = 0.5 * rng.normal(size=(4, 24))
    plain = [means[y] + rng.normal(size=(len(y), 24)) for y in (truth, held_out)]
    constants, shift = rng.uniform(0.1, 3.0, size=60), rng.uniform(0.0, 3000.0, size=24)
    padded = [np.concatenate([x, np.tile(constants, (len(x), 1))], axis=1) for x in plain]
    moved = [x + shift for x in plain]
    alone, beside, elsewhere = (
        np.mean(attack_features(train, truth, test, seeds=range(3)).argmax(axis=-1) == held_out)
        for train, test in (plain, padded, moved)
    )
    assert alone > 0.6
    assert abs(beside - alone) < 0.05
    assert abs(elsewhere - alone) < 0.02
