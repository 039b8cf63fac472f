"""Fusion: what it finds, against an oracle that knows the plant, and that what knows nothing costs nothing."""

import numpy as np
from scipy.optimize import minimize

from flprivacy.attacks.answering import Known, answer, answer_jointly
from flprivacy.attacks.family.fusion import fused, weights_of_evidence, weights_of_years
from flprivacy.attacks.family.problem import Problem, patient_folds
from flprivacy.attacks.heads import Head
from flprivacy.core.attributes import AGE_YEARS, SITE
from flprivacy.core.metrics import confusion_matrices, f1_weighted

CLASSES, EXPOSED, HELD_OUT = 6, 240, 600


def problem(values, n_classes):
    return Problem(values=values, n_classes=n_classes, folds=patient_folds(np.arange(len(values)), values, seed=0))


def test_weights_are_those_of_the_least_cross_entropy():
    rng = np.random.default_rng(0)
    classes = rng.integers(0, 4, 150)
    evidence = np.stack([s * np.eye(4)[classes] + rng.normal(size=(150, 4)) for s in (1.0, 0.5)])
    one = problem(classes.astype(float), 4)

    def loss(weights):
        logits = np.tensordot(weights, evidence, axes=1) + one.log_prior
        own = logits[np.arange(150), classes] - np.log(np.exp(logits).sum(axis=1))
        return -(one.judged * own).sum() / one.judged.sum() + 5e-4 * (weights**2).sum()

    np.testing.assert_allclose(weights_of_evidence(evidence, one), minimize(loss, [1.0, 1.0]).x, atol=1e-3)


def test_misleading_answers_get_no_weight():
    rng = np.random.default_rng(1)
    classes = rng.integers(0, 4, 200)
    good, bad = np.eye(4)[classes] + rng.normal(size=(200, 4)), -np.eye(4)[classes] + rng.normal(size=(200, 4))
    weights = weights_of_evidence(np.stack([good, bad]), problem(classes.astype(float), 4))
    assert weights[0] > 0.5
    assert weights[1] == 0
    years = rng.uniform(20, 90, 200)
    deviations = np.stack([years - years.mean(), years.mean() - years]) + rng.normal(0, 10, (2, 200))
    weights = weights_of_years(deviations - deviations.mean(axis=1, keepdims=True), problem(years, 0))
    assert weights[0] > 0.5
    assert weights[1] == 0


def world(seed, *, pixels=0.42, features=0.3, width=96):
    """Sites, pixels that know them, features that know them independently and less, and columns of noise."""
    rng = np.random.default_rng([11, seed])
    shares = 1.0 / np.arange(1, CLASSES + 1)
    site = rng.choice(CLASSES, EXPOSED + HELD_OUT, p=shares / shares.sum())
    means = pixels * rng.normal(size=(CLASSES, 60)), features * rng.normal(size=(CLASSES, width))
    seen = [m[site] + rng.normal(size=(len(site), m.shape[1])) for m in means]
    return site, means, seen, rng.normal(size=(len(site), width))


def joint(site, sources, *, seed):
    known = Known(
        heads=(Head(attribute=SITE, n_classes=CLASSES),),
        values=site[None, :EXPOSED].astype(float),
        patients=np.arange(EXPOSED),
        seed=seed,
    )
    alone = [answer(x[None, :EXPOSED].astype("f4"), x[EXPOSED:].astype("f4"), known) for x in sources]
    return [one[0].scores for one in alone], answer_jointly(alone, known)[0].scores


def strength(site, scores):
    return float(f1_weighted(confusion_matrices(site[EXPOSED:], scores.argmax(axis=1), CLASSES)))


def test_a_leak_that_is_weaker_alone_than_pixels_is_found_as_well_as_an_oracle_finds_it():
    """The oracle adds the two answers' evidence with the weights that are best on the held-out scans themselves."""
    gains, losses = [], []
    for seed in range(5):
        site, _, (pixels, features), _ = world(seed)
        (alone, model), together = joint(site, [pixels, features], seed=seed)
        assert strength(site, model) < strength(site, alone)
        logs = np.log(np.maximum(np.stack([alone, model]).astype(float), 1e-9))
        oracle = max(strength(site, logs[0] + w * logs[1]) for w in np.linspace(0, 2, 21))
        gains.append(strength(site, together) - strength(site, alone))
        losses.append(oracle - strength(site, together))
    assert np.mean(gains) > 0.03
    assert np.mean(losses) < 0.02


def test_known_null_columns_of_noise_cost_nothing():
    excesses = []
    for seed in range(8):
        site, _, (pixels, _), noise = world(seed)
        (alone, _), together = joint(site, [pixels, noise], seed=seed)
        excesses.append(strength(site, together) - strength(site, alone))
    mean, error = np.mean(excesses), np.std(excesses, ddof=1) / np.sqrt(len(excesses))
    assert mean > -0.01
    assert abs(mean) < 0.004 + 2.4 * error


def test_years_are_fused_and_noise_costs_nothing():
    gains, costs = [], []
    for seed in range(5):
        rng = np.random.default_rng([12, seed])
        years = rng.uniform(20, 90, EXPOSED + HELD_OUT)
        known = Known(
            heads=(Head(attribute=AGE_YEARS, n_classes=0),),
            values=years[None, :EXPOSED],
            patients=np.arange(EXPOSED),
            seed=seed,
        )
        sources = [(years / s)[:, None] * rng.normal(size=30) / 5 + rng.normal(size=(len(years), 30)) for s in (14, 18)]
        sources.append(rng.normal(size=(len(years), 60)))
        answers = [answer(x[None, :EXPOSED].astype("f4"), x[EXPOSED:].astype("f4"), known) for x in sources]
        errors = [
            np.abs(answer_jointly([answers[i] for i in some], known)[0].scores[:, 0] - years[EXPOSED:]).mean()
            for some in ((0,), (0, 1), (0, 2))
        ]
        gains.append(errors[0] - errors[1])
        costs.append(errors[2] - errors[0])
    assert np.mean(gains) > 0.5
    assert np.mean(costs) < 0.1


def test_fused_answers_stay_within_the_exposed_ages():
    years = np.linspace(40, 60, 50)
    one = problem(years, 0)
    left_out, held_out = years[:, None], np.array([[10.0], [50.0], [100.0]])
    found = fused(one, [(left_out, held_out)])[1]
    assert found.min() >= 40
    assert found.max() <= 60
