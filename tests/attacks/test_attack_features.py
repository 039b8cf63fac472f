import subprocess
import sys

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics import f1_score
from sklearn.preprocessing import StandardScaler

from flprivacy.attacks.answering import Known, answer
from flprivacy.attacks.arrays import attack_features
from flprivacy.attacks.config import LearnerConfig
from flprivacy.attacks.family.choice import AVERAGED
from flprivacy.attacks.heads import Head
from flprivacy.core.attributes import SITE
from flprivacy.core.errors import AttackError, ConfigError

TRAIN, TEST, WIDTH = 150, 90, 9


@pytest.fixture(scope="module")
def values():
    rng = np.random.default_rng(0)
    n = TRAIN + TEST
    years = rng.normal(60, 12, n)
    return {"site": rng.permutation(np.arange(n) % 5).astype(float), "age_years": years}


@pytest.fixture(scope="module")
def noise():
    """Features (view, scan, feature) that tell nothing."""
    return np.random.default_rng(2).normal(size=(2, TRAIN + TEST, WIDTH)).astype("f4")


def test_the_number_of_threads_does_not_change_a_bit():
    code = """
    import numpy as np
    from flprivacy.attacks.arrays import attack_features
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(300, 150)), rng.integers(0, 8, 300)
    print(attack_features(x[:200], y[:200], x[200:], [0]).tobytes().hex())
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


def test_attack_features_answers_for_every_seed_as_an_attack_on_a_target_would(values, noise):
    x, site = noise[0], values["site"][:TRAIN]
    scores = attack_features(x[:TRAIN], site.astype(int), x[TRAIN:], (0, 4))
    assert scores.shape == (2, TEST, 5)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores.sum(axis=-1), 1, rtol=1e-5)
    for own, seed in zip(scores, (0, 4)):
        known = Known(
            heads=(Head(attribute=SITE, n_classes=5),), values=site[None], patients=np.arange(TRAIN), seed=seed
        )
        np.testing.assert_array_equal(own, answer(x[None, :TRAIN], x[TRAIN:], known)[0].scores)


def test_attack_features_predicts_years(noise):
    x = noise[0]
    years = 60 + 10 * x[:, 0] + np.random.default_rng(0).normal(0, 1, len(x))
    scores = attack_features(x[:TRAIN], years[:TRAIN], x[TRAIN:], [0], kind="years")
    assert scores.shape == (1, TEST, 1)
    spread = np.abs(years[TRAIN:] - np.median(years)).mean()
    assert np.abs(scores[0, :, 0] - years[TRAIN:]).mean() < 0.65 * spread


def test_attack_features_exposes_a_share_of_every_class(values, noise):
    x, site = noise[0], values["site"]
    options = {"exposed_fraction": 0.2, "n_classes": 7}
    scores = attack_features(x[:TRAIN], site[:TRAIN], x[TRAIN:], (0, 1), **options)
    assert scores.shape == (2, TEST, 7)
    assert (scores[0] != scores[1]).any()
    assert (scores != attack_features(x[:TRAIN], site[:TRAIN], x[TRAIN:], (0, 1), n_classes=7)).any()


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


def weighted_f1(truth, scores):
    return np.mean([f1_score(truth, one.argmax(axis=-1), average="weighted") for one in scores])


def planted(*, exposed, held_out=400, features=32, classes=21, strength=0.9, seed=0):
    """Sites of heavy-tailed size whose means differ, in features of unit noise."""
    rng = np.random.default_rng([7, seed])
    shares = 1.0 / np.arange(1, classes + 1) ** 1.1
    drawn = rng.choice(classes, exposed + held_out - 2 * classes, p=shares / shares.sum())
    site = np.concatenate(
        [np.arange(classes), drawn[: exposed - classes], np.arange(classes), drawn[exposed - classes :]]
    )
    x = strength * rng.normal(size=(classes, features))[site] + rng.normal(size=(len(site), features))
    return x[:exposed], site[:exposed], x[exposed:], site[exposed:]


def turned(rng, size):
    return np.linalg.qr(rng.normal(size=(size, size)))[0]


COORDINATES = {
    "orthogonal mix": lambda x, rng: turned(rng, x.shape[1]),
    "principal axes": lambda x, rng: np.linalg.eigh(np.cov(x.T))[1],
    "principal axes of a mix": lambda x, rng: turned(rng, x.shape[1]) @ np.diag(np.geomspace(1, 3, x.shape[1])),
    "condition 1e4": lambda x, rng: (
        turned(rng, x.shape[1]) @ np.diag(np.geomspace(1, 1e-4, x.shape[1])) @ turned(rng, x.shape[1])
    ),
    "scales over 6 decades": lambda x, rng: np.diag(rng.permutation(np.geomspace(1e-3, 1e3, x.shape[1]))),
}


@pytest.mark.parametrize("name", COORDINATES)
def test_other_coordinates_of_the_same_features_change_little(name):
    differences = []
    for seed in range(3):
        train, known, test, truth = planted(exposed=300, seed=seed)
        matrix = COORDINATES[name](train, np.random.default_rng([8, seed]))
        plain, other = (
            weighted_f1(truth, attack_features(a, known, b, range(2)))
            for a, b in ((train, test), (train @ matrix, test @ matrix))
        )
        assert plain > 0.8
        differences.append(other - plain)
    assert abs(np.mean(differences)) < 0.03, differences


@pytest.mark.parametrize(
    ("exposed", "held_out", "features", "strength"), [(64, 400, 32, 0.9), (100, 400, 32, 0.9), (240, 900, 128, 0.5)]
)
def test_of_few_exposed_scans_a_mix_takes_little_where_many_are_asked_about(exposed, held_out, features, strength):
    """Two exposed scans a feature do not show which directions are narrow by chance; six more do."""
    differences = []
    for seed in range(4):
        train, known, test, truth = planted(
            exposed=exposed, held_out=held_out, features=features, strength=strength, seed=500 + seed
        )
        matrix = COORDINATES["condition 1e4"](train, np.random.default_rng([9, seed]))
        plain, other = (
            weighted_f1(truth, attack_features(a, known, b, [0]))
            for a, b in ((train, test), (train @ matrix, test @ matrix))
        )
        assert plain > 0.85
        differences.append(other - plain)
    print(f"{exposed} scans of {features}: {np.mean(differences):+.3f}")
    assert abs(np.mean(differences)) < 0.03, differences


def test_years_are_told_as_well_after_a_mix():
    errors = []
    for seed in range(3):
        rng = np.random.default_rng([11, seed])
        x = rng.normal(size=(500, 32))
        years = 60 + 8 * x @ rng.normal(size=32) / np.sqrt(32) + rng.normal(0, 5, 500)
        told = [
            attack_features(z[:100], years[:100], z[100:], [0], kind="years")[0, :, 0]
            for z in (x, x @ COORDINATES["condition 1e4"](x, rng))
        ]
        errors.append([np.abs(one - years[100:]).mean() for one in (*told, np.median(years))])
    plain, mixed, guessed = np.mean(errors, axis=0)
    assert plain < 0.8 * guessed
    assert mixed < plain + 0.2


def told_by_oracle(train, known, test, truth, covariance, spread):
    """Weighted F1 of a discriminant that is told the true variance along every principal axis of the exposed scans, and
    how far apart the sites' means are: what no attacker knows who has only the scans.
    """
    sizes = np.bincount(known, minlength=21)
    means = np.stack([train[known == k].mean(axis=0) for k in range(21)])
    residuals = train - means[known]
    axes = np.linalg.eigh(residuals.T @ residuals)[1]
    variances = np.einsum("ij,jk,ki->i", axes.T, covariance, axes)
    x, own = ((f - train.mean(axis=0)) @ axes / np.sqrt(variances) for f in (test, means))
    trust = sizes * spread / (sizes * spread + 1)
    widening = 1 + spread / (sizes * spread + 1)
    distances = ((x[:, None] - trust[:, None] * own) ** 2).sum(axis=-1)
    logits = -0.5 * (distances / widening + x.shape[1] * np.log(widening)) + np.log(sizes + 0.3)
    return weighted_f1(truth, logits[None])


@pytest.mark.parametrize(
    ("exposed", "features", "strength", "near"), [(64, 32, 0.9, 0.08), (100, 32, 0.9, 0.05), (240, 128, 0.5, 0.05)]
)
def test_of_few_scans_in_a_mix_the_family_gets_what_an_oracle_gets_from_the_exposed_ones(
    exposed, features, strength, near
):
    """With few scans a feature, a mix of condition 1e4 takes its toll from whoever learns from these alone."""
    falls, losses = [], []
    for seed in range(6):
        train, known, test, truth = planted(exposed=exposed, features=features, strength=strength, seed=500 + seed)
        matrix = COORDINATES["condition 1e4"](train, np.random.default_rng([9, seed]))
        covariance = matrix.T @ matrix
        plain = told_by_oracle(train, known, test, truth, np.eye(features), strength**2)
        oracle = told_by_oracle(train @ matrix, known, test @ matrix, truth, covariance, strength**2)
        falls.append(plain - oracle)
        losses.append(oracle - weighted_f1(truth, attack_features(train @ matrix, known, test @ matrix, [0])))
    print(f"{exposed} scans of {features}: oracle falls by {np.mean(falls):.3f}, family by {np.mean(losses):.3f} more")
    assert np.mean(falls) > 0.03
    assert np.mean(losses) < near


def test_the_principal_axes_of_a_mix_hide_no_leak():
    """A few wide axes of which the site is one: what column scaling alone loses among noise scaled up."""
    rng = np.random.default_rng(3)
    site = np.arange(640) % 5
    x = 0.02 * rng.normal(size=(640, 128))
    x[:, :6] += 3 * rng.normal(size=(5, 6))[site] + rng.normal(size=(640, 6))
    mixed = x @ turned(rng, 128)
    axes = mixed @ np.linalg.eigh(np.cov(mixed[:240].T))[1]
    first, second = (
        weighted_f1(site[240:], attack_features(f[:240], site[:240], f[240:], range(3))) for f in (mixed, axes)
    )
    assert first > 0.9
    assert abs(first - second) < 0.03


def test_known_null_scores_of_noise_are_at_chance(noise):
    site = np.random.default_rng(4).integers(0, 4, TRAIN + TEST)
    scores = attack_features(noise[0, :TRAIN], site[:TRAIN], noise[0, TRAIN:], range(8))
    accuracy = (scores.argmax(axis=-1) == site[TRAIN:]).mean()
    assert accuracy == pytest.approx(0.25, abs=0.09)


def test_ages_are_told_as_well_as_by_ridge_regression_with_cross_validation():
    rng = np.random.default_rng(6)
    x = rng.normal(size=(640, 300)) * np.geomspace(1, 0.05, 300)
    years = 60 + 8 * x[:, :20] @ rng.normal(size=20) / np.sqrt(20) + rng.normal(0, 5, 640)
    ours = attack_features(x[:240], years[:240], x[240:], range(3), kind="years")[..., 0]
    theirs = RidgeCV(np.logspace(-2, 4, 13)).fit(x[:240], years[:240]).predict(x[240:])
    error, best = np.abs(ours - years[240:]).mean(), np.abs(theirs - years[240:]).mean()
    assert best < 0.85 * np.abs(years[240:] - np.median(years)).mean()
    assert error < best + 0.3


def test_what_no_line_can_part_is_found():
    rng = np.random.default_rng(9)
    x = rng.normal(size=(700, 4))
    ring = (np.linalg.norm(x[:, :2], axis=1) > 1.2).astype(int)
    scores = attack_features(x[:300], ring[:300], x[300:], range(2))
    assert weighted_f1(ring[300:], scores) > 0.85


@pytest.mark.parametrize("told_by", ["product", "length"])
def test_what_two_of_many_features_tell_only_together_is_found(told_by):
    """Neither of two features tells the sex, their product does, or the length of three; 21 others tell nothing."""
    rng = np.random.default_rng(12)
    sex = rng.integers(0, 2, 850)
    x = rng.normal(size=(850, 24))
    if told_by == "product":
        signs = np.sign(x[:, 0])
        x[:, :2] = (np.abs(x[:, :2]) + 0.3) * np.stack([signs, signs * (2 * sex - 1)], axis=1)
    else:
        x[:, :3] *= (np.where(sex, 2.2, 1.0) / np.linalg.norm(x[:, :3], axis=1))[:, None]
    scores = attack_features(x[:350], sex[:350], x[350:], range(3))
    assert weighted_f1(sex[350:], scores) > 0.75  # without quadratic discriminants .53 and .63


@pytest.mark.parametrize(("told_by", "most"), [("product", 0.75), ("length", 0.92)])
def test_years_that_features_tell_only_together_are_found(told_by, most):
    """Of the error of the median age, at most a share is left, without quadratic discriminants .98 or more."""
    rng = np.random.default_rng(13)
    years = rng.uniform(25, 92, 850)
    x = rng.normal(size=(850, 24))
    if told_by == "product":
        signs = np.sign(x[:, 0])
        x[:, :2] = np.stack([(np.abs(x[:, 0]) + 0.3) * signs, (years - 58) / 19 * signs + 0.2 * x[:, 1]], axis=1)
    else:
        x[:, :3] *= (years / 50 / np.linalg.norm(x[:, :3], axis=1))[:, None]
    found = attack_features(x[:350], years[:350], x[350:], range(3), kind="years")[..., 0]
    error, guessed = np.abs(found - years[350:]).mean(), np.abs(np.median(years[:350]) - years[350:]).mean()
    assert error < most * guessed


def test_scans_of_a_patient_are_left_out_together():
    """Patients have 6 nearly equal scans and a class drawn at random: with patients parted, memory looks like skill."""
    sure = []
    for seed in range(4):
        rng = np.random.default_rng([10, seed])
        x = np.repeat(rng.normal(size=(50, 20)), 6, axis=0) + 0.01 * rng.normal(size=(300, 20))
        y, patients = np.repeat(rng.integers(0, 2, 50), 6), np.repeat(np.arange(50), 6)
        held_out = rng.normal(size=(200, 20))
        sure.append([np.abs(attack_features(x, y, held_out, [0], patients=p) - 0.5).mean() for p in (patients, None)])
    together, parted = np.mean(sure, axis=0)
    assert together < 0.6 * parted


def test_the_reference_network_can_compete(noise):
    x = noise[0].copy()
    ring = (np.linalg.norm(x[:, :2], axis=1) > 1.2).astype(int)
    config = LearnerConfig(epochs=8, batch_size=32)
    known = Known(
        heads=(Head(attribute=SITE, n_classes=2),),
        values=ring[None, :TRAIN].astype(float),
        patients=np.arange(TRAIN),
        seed=0,
    )
    with_network, without = (answer(x[None, :TRAIN], x[TRAIN:], known, network=one)[0] for one in (config, None))
    assert 1 <= len(with_network.learners) <= AVERAGED
    assert not any("network" in name for name in without.learners)
    scores = attack_features(x[:TRAIN], ring[:TRAIN], x[TRAIN:], [0], config=config)[0]
    np.testing.assert_array_equal(scores, with_network.scores)


EDGES = {
    "constant features": (np.zeros((20, 3)), np.arange(20) % 2),
    "two scans": (X[:2], [0, 1]),
    "one scan a class": (X[:3, :1], [0, 1, 2]),
    "two patients": (np.repeat(X[:2], 10, axis=0), np.repeat([0, 1], 10)),
    "huge features": (1e17 * X, Y),
    "tiny features": (1e-30 * X, Y),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", EDGES)
def test_few_or_degenerate_scans_still_get_an_answer(name):
    train, known = EDGES[name]
    patients = known if name == "two patients" else None
    for kind in ("classes", "years"):
        scores = attack_features(train, known, train[:2] * 1.5, [0], kind=kind, patients=patients)
        assert np.isfinite(scores).all()


def test_patients_must_match_the_scans():
    with pytest.raises(AttackError, match=r"patients has shape \(3,\); must be \(20,\)"):
        attack_features(X, Y, X, patients=[1, 2, 3])
