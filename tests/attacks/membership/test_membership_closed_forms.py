"""On signals of known distribution AUC and true positive rates are those of the closed form."""

import numpy as np
import pytest
from scipy.stats import norm

from flprivacy.attacks.membership.bavaria import membership_bavaria
from flprivacy.attacks.membership.lira import membership_lira
from flprivacy.attacks.membership.rmia import membership_rmia
from flprivacy.attacks.membership.thresholds import (
    membership_calibrated_loss,
    membership_loss,
    membership_population,
    membership_quantile,
)
from flprivacy.attacks.membership.white_box import membership_gradient_norm, membership_layers
from tests.attacks.membership.signal_examples import draw

GAIN, DIFFICULTY, FPR = 1.5, 2.0, 0.01


def auc(scores, inside):
    members, others = scores[inside], np.sort(scores[~inside])
    below, at_most = (np.searchsorted(others, members, side=side) for side in ("left", "right"))
    return float((below + at_most).mean() / (2 * len(others)))


def tpr(scores, inside, fpr=FPR):
    return float((scores[inside] > np.quantile(scores[~inside], 1.0 - fpr)).mean())


def of_normals(distance):
    """Return AUC and TPR of telling N(distance, 1) from N(0, 1)."""
    return norm.cdf(distance / np.sqrt(2.0)), norm.cdf(distance - norm.isf(FPR))


def test_loss_sees_difficulty_as_noise():
    signals = draw(1, scans=40_000, references=2, gain=GAIN, difficulty=DIFFICULTY)
    scores = membership_loss(signals.target)
    area, rate = of_normals(GAIN / np.hypot(1.0, DIFFICULTY))
    assert auc(scores, signals.inside) == pytest.approx(area, abs=0.01)
    assert tpr(scores, signals.inside) == pytest.approx(rate, abs=0.01)


@pytest.mark.parametrize("queries", [1, 4])
def test_offline_lira_knows_difficulty_up_to_the_error_of_its_references(queries):
    signals = draw(2, scans=40_000, references=8, gain=GAIN, queries=queries)
    area, rate = of_normals(np.sqrt(queries) * GAIN / np.sqrt(1.0 + 1.0 / 4.0))
    scores = membership_lira(signals.target, signals.references, signals.members, mode="offline")
    assert auc(scores, signals.inside) == pytest.approx(area, abs=0.01)
    assert tpr(scores, signals.inside) == pytest.approx(rate, abs=0.02)


@pytest.mark.parametrize("mode", ["online", "offline"])
def test_joint_queries_of_which_one_is_a_noisier_copy_are_worth_the_better_one(mode):
    """Where a second view only adds noise, the sufficient statistic is the first; an average is worse."""
    signals = draw(3, scans=40_000, references=64, gain=GAIN)
    rng = np.random.default_rng(0)
    copied = (
        np.concatenate([values, values + rng.normal(size=values.shape)], axis=-2)
        for values in (signals.target, signals.references)
    )
    arrays = (*copied, signals.members)
    joint, apart = (membership_lira(*arrays, mode=mode, queries=queries) for queries in ("joint", "independent"))
    area, _ = of_normals(GAIN / np.sqrt(1.0 + 1.0 / 32.0))
    if mode == "online":
        assert auc(joint, signals.inside) == pytest.approx(area, abs=0.01)
    else:  # a shift of both by as much is looked for along the first view alone
        alone = membership_lira(signals.target, signals.references, signals.members, mode=mode)
        assert joint == pytest.approx(alone, abs=0.05)
    assert auc(joint, signals.inside) > auc(apart, signals.inside) + 0.01


@pytest.mark.parametrize("attack", [membership_lira, membership_bavaria], ids=["lira", "bavaria"])
def test_with_many_references_the_likelihood_ratio_is_as_good_as_knowing_both_distributions(attack):
    found = []
    for seed in range(5):
        signals = draw(seed, scans=4000, references=128, gain=GAIN)
        scores = attack(signals.target, signals.references, signals.members)
        found.append((auc(scores, signals.inside), tpr(scores, signals.inside)))
    area, rate = of_normals(GAIN)
    assert np.mean(found, axis=0) == pytest.approx([area, rate], abs=0.03)


def test_gradient_norms_of_a_known_distribution():
    signals = draw(4, scans=40_000, references=2, gain=GAIN, difficulty=0.0)
    area, rate = of_normals(GAIN)
    scores = membership_gradient_norm(np.exp(-signals.target))
    assert auc(scores, signals.inside) == pytest.approx(area, abs=0.01)
    assert tpr(scores, signals.inside) == pytest.approx(rate, abs=0.02)


def test_layers_of_different_scale_are_combined_to_their_common_distance():
    """Statistics 1 and 2 each are moved by training, 3 is not; 1 and 2 share half of their noise."""
    rng, scans, references = np.random.default_rng(5), 10_000, 16
    halves = np.array([rng.permutation(scans) < scans // 2 for _ in range(references // 2)])
    members = np.concatenate([halves, ~halves])
    inside = rng.random(scans) < 0.5
    level = 3.0 * rng.normal(size=(3, scans))
    covariance = np.array([[1.0, 0.5, 0.0], [0.5, 1.0, 0.0], [0.0, 0.0, 1.0]])
    root, moved, scale = np.linalg.cholesky(covariance), np.array([1.0, 1.5, 0.0]), np.array([1.0, 1e3, 1e-3])

    def model(trained):
        values = level + root @ rng.normal(size=(3, scans)) + moved[:, None] * trained
        return values * scale[:, None]

    scores = membership_layers(model(inside), np.stack([model(trained) for trained in members]), members)
    distance = np.sqrt(moved @ np.linalg.solve(covariance, moved)) / np.sqrt(1.0 + 1.0 / 8.0)
    area, rate = of_normals(distance)
    assert auc(scores, inside) == pytest.approx(area, abs=0.015)
    assert tpr(scores, inside) == pytest.approx(rate, abs=0.03)


def test_the_share_of_a_population_is_uniform_for_non_members_and_within_groups():
    rng = np.random.default_rng(6)
    groups, others = rng.integers(0, 2, 2000), rng.integers(0, 2, 4000)
    target, population = rng.normal(size=2000) + 5.0 * groups, rng.normal(size=4000) + 5.0 * others
    scores = membership_population(target, population, groups=groups, population_groups=others)
    for group in (0, 1):
        shares = np.quantile(scores[groups == group], [0.1, 0.5, 0.9])
        assert shares == pytest.approx([0.1, 0.5, 0.9], abs=0.05)
    naive = [np.mean(population[others == g] < z) for z, g in zip(target, groups, strict=True)]
    assert scores == pytest.approx(naive)


def test_the_quantile_of_references_is_a_count():
    signals = draw(7, scans=50)
    naive = []
    for scan, z in enumerate(signals.target[0]):
        outside = signals.references[~signals.members[:, scan], 0, scan]
        naive.append(sum(other < z for other in outside) / len(outside))
    assert membership_quantile(signals.target, signals.references, signals.members) == pytest.approx(naive)


NEED_REFERENCES = {
    "calibrated": membership_calibrated_loss,
    "quantile": membership_quantile,
    "lira": membership_lira,
    "offline lira": lambda *arrays: membership_lira(*arrays, mode="offline"),
    "bavaria": membership_bavaria,
    "rmia": lambda target, references, members: membership_rmia(
        target[:, :-300], references[..., :-300], members[:, :-300], target[:, -300:], references[..., -300:],
        members[:, -300:],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NEED_REFERENCES)
def test_a_target_that_forgets_is_at_chance_and_references_help_with_one_that_remembers(name):
    for gain, low, high in ((0.0, 0.46, 0.54), (GAIN, 0.70, 0.87)):
        signals = draw(8, scans=3000, gain=gain)
        scores = NEED_REFERENCES[name](signals.target, signals.references, signals.members)
        area = auc(scores, signals.inside[: len(scores)])
        assert low < area < high, area
    assert area > auc(membership_loss(signals.target), signals.inside)
