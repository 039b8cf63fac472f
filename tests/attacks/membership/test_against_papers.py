"""Every attack gives what a plain transcription of its paper gives."""

import statistics

import numpy as np
import pytest

from flprivacy.attacks.membership.bavaria import membership_bavaria
from flprivacy.attacks.membership.lira import membership_lira
from flprivacy.attacks.membership.rmia import RmiaConfig, membership_rmia
from flprivacy.attacks.membership.thresholds import membership_calibrated_loss, membership_loss
from tests.attacks.membership import papers
from tests.attacks.membership.signal_examples import draw

TOLERANCE = 1e-9


@pytest.fixture(scope="module", params=[1, 3], ids=["one query", "three queries"])
def signals(request):
    return draw(1, scans=40, references=8, queries=request.param)


def test_loss(signals):
    assert membership_loss(signals.target) == pytest.approx(papers.loss(signals.target), abs=TOLERANCE)


def test_calibrated_loss(signals):
    arrays = signals.target, signals.references, signals.members
    assert membership_calibrated_loss(*arrays) == pytest.approx(papers.calibrated(*arrays), abs=TOLERANCE)


@pytest.mark.parametrize("variance", ["pooled", "per_scan"])
def test_online_lira(signals, variance):
    arrays = signals.target, signals.references, signals.members
    expected = papers.lira(*arrays, online=True, pooled=variance == "pooled")
    assert membership_lira(*arrays, variance=variance) == pytest.approx(expected, abs=TOLERANCE)


@pytest.mark.parametrize("variance", ["pooled", "per_scan"])
def test_offline_lira(variance):
    """The paper's score is a normal tail, which rounds to 1 for the surest members; ours is its argument."""
    signals = draw(2, scans=40)
    arrays = signals.target, signals.references, signals.members
    expected = papers.lira(*arrays, online=False, pooled=variance == "pooled")
    tails = list(map(statistics.NormalDist().cdf, membership_lira(*arrays, mode="offline", variance=variance)))
    assert tails == pytest.approx(expected, abs=TOLERANCE)


def test_lira_of_joint_queries(signals):
    arrays = signals.target, signals.references, signals.members
    expected = papers.lira_joint(*arrays)
    assert membership_lira(*arrays, queries="joint") == pytest.approx(expected, abs=TOLERANCE)


@pytest.mark.parametrize("gamma", [1.0, 2.0])
@pytest.mark.parametrize("mode", ["online", "offline"])
@pytest.mark.parametrize("references", [2, 4])
def test_rmia(mode, gamma, references):
    signals = draw(3, scans=60, references=references, queries=2)
    scored, others = slice(0, 40), slice(40, 60)
    parts = [(signals.target[:, of], signals.references[:, :, of], signals.members[:, of]) for of in (scored, others)]
    config = RmiaConfig(mode=mode, gamma=gamma, offline_a=0.6)
    expected = papers.rmia(*parts[0], parts[1], gamma=gamma, online=mode == "online", a=0.6)
    found = membership_rmia(*parts[0], *parts[1], config=config)
    assert found == pytest.approx(expected, abs=TOLERANCE)
    assert len(set(expected)) > 10


def test_rmia_with_one_reference_that_knows_none_of_the_scans():
    rng = np.random.default_rng(4)
    target, reference = rng.normal(size=(2, 1, 30))
    outside, population = np.zeros((1, 20), bool), (target[:, 20:], reference[None, :, 20:], np.zeros((1, 10), bool))
    expected = papers.rmia(target[:, :20], reference[None, :, :20], outside, population, gamma=1.0, online=False, a=0.3)
    config = RmiaConfig(mode="offline")
    found = membership_rmia(target[:, :20], reference[None, :, :20], outside, *population[:2], config=config)
    assert found == pytest.approx(expected, abs=TOLERANCE)


@pytest.mark.parametrize("form", ["normal", "student"])
@pytest.mark.parametrize("mode", ["online", "offline"])
def test_bavaria(signals, mode, form):
    arrays = signals.target, signals.references, signals.members
    expected = papers.bavaria(*arrays, online=mode == "online", student=form == "student")
    assert membership_bavaria(*arrays, mode=mode, form=form) == pytest.approx(expected, abs=TOLERANCE)
