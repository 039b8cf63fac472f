"""The signal, and what attacks refuse."""

from functools import partial

import numpy as np
import pytest
from scipy.special import log_expit, log_softmax, softmax

from flprivacy.attacks.membership.bavaria import membership_bavaria
from flprivacy.attacks.membership.lira import membership_lira
from flprivacy.attacks.membership.rmia import RmiaConfig, membership_rmia
from flprivacy.attacks.membership.signals import membership_signal
from flprivacy.attacks.membership.thresholds import (
    membership_calibrated_loss,
    membership_loss,
    membership_population,
    membership_quantile,
)
from flprivacy.attacks.membership.white_box import membership_gradient_norm, membership_layers
from flprivacy.core.errors import AttackError, ConfigError
from tests.attacks.membership.signal_examples import draw

RNG = np.random.default_rng(0)
LOGITS, LABELS = RNG.normal(size=(2, 5, 3)), RNG.integers(0, 3, 5)


def test_the_signal_holds_the_loss():
    losses = -np.take_along_axis(log_softmax(LOGITS, axis=-1), LABELS[None, :, None], axis=-1)[..., 0]
    assert -log_expit(membership_signal(LOGITS, LABELS)) == pytest.approx(losses)


def test_logits_and_probabilities_give_the_same_signal():
    of_logits = membership_signal(LOGITS, LABELS)
    assert membership_signal(softmax(LOGITS, axis=-1), LABELS, kind="probabilities") == pytest.approx(of_logits)
    assert membership_signal(LOGITS + 100.0, LABELS) == pytest.approx(of_logits)


def test_a_confidence_that_rounds_to_one_keeps_its_digits():
    signals = membership_signal([[80.0, 0.0], [90.0, 0.0]], [0, 0])
    assert signals == pytest.approx([80.0, 90.0])
    certain = membership_signal([[1.0, 0.0], [0.0, 1.0]], [0, 0], kind="probabilities")
    assert np.isfinite(certain).all()
    assert certain[0] == pytest.approx(-certain[1])


@pytest.mark.parametrize(
    ("outputs", "labels", "kind", "message"),
    [
        (LOGITS, LABELS[:4], "logits", "one label for each scan"),
        (LOGITS[..., :1], LABELS, "logits", "at least 2 classes"),
        (LOGITS * np.nan, LABELS, "logits", "not finite"),
        (LOGITS, LABELS + 1, "logits", r"outside 0\.\.2"),
        (LOGITS, LABELS, "probabilities", 'kind="logits"'),
    ],
)
def test_outputs_that_make_no_sense_are_refused(outputs, labels, kind, message):
    with pytest.raises(AttackError, match=message):
        membership_signal(outputs, labels, kind=kind)


SIGNALS = draw(0, scans=20)
TARGET, REFERENCES, MEMBERS = SIGNALS.target, SIGNALS.references, SIGNALS.members
POPULATION = draw(1, scans=30)
WITH_REFERENCES = {
    "calibrated": membership_calibrated_loss,
    "quantile": membership_quantile,
    "lira": membership_lira,
    "bavaria": membership_bavaria,
    "lira of joint queries": partial(membership_lira, queries="joint"),
    "layers": membership_layers,
    "rmia": lambda *arrays: membership_rmia(*arrays, POPULATION.target, POPULATION.references, POPULATION.members),
}


@pytest.mark.parametrize("name", WITH_REFERENCES)
@pytest.mark.parametrize(
    ("target", "references", "members", "message"),
    [
        (TARGET[:, :19], REFERENCES, MEMBERS, "same queries and scans"),
        (TARGET, REFERENCES[:0], MEMBERS[:0], "at least one reference"),
        (TARGET, REFERENCES, MEMBERS.astype(int), "must be bool"),
        (TARGET, REFERENCES, MEMBERS[:7], "whether each reference was trained on each scan"),
        (TARGET, REFERENCES * np.inf, MEMBERS, "diverged reference"),
        (TARGET * np.nan, REFERENCES, MEMBERS, "diverged model"),
        (TARGET, REFERENCES, MEMBERS | True, "20 of 20 scans have fewer than"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(name, target, references, members, message):
    with pytest.raises(AttackError, match=message):
        WITH_REFERENCES[name](target, references, members)


@pytest.mark.parametrize("name", WITH_REFERENCES)
def test_the_order_of_scans_and_references_is_of_no_account(name):
    scores = WITH_REFERENCES[name](TARGET, REFERENCES, MEMBERS)
    scans, references = np.random.default_rng(1).permutation(20), np.random.default_rng(2).permutation(8)
    moved = REFERENCES[references][..., scans], MEMBERS[references][:, scans]
    assert WITH_REFERENCES[name](TARGET[:, scans], *moved) == pytest.approx(scores[scans])


def test_online_attacks_need_references_of_both_kinds():
    for attack in (membership_lira, membership_bavaria, WITH_REFERENCES["rmia"]):
        with pytest.raises(AttackError, match="trained with them"):
            attack(TARGET, REFERENCES, MEMBERS & False)


def test_references_that_never_change_are_refused():
    for attack in (membership_lira, membership_bavaria):
        with pytest.raises(AttackError, match="do not vary"):
            attack(TARGET, REFERENCES * 0.0, MEMBERS)
    with pytest.raises(AttackError, match="copies of others"):
        membership_lira(TARGET, REFERENCES * 0.0, MEMBERS, queries="joint")
    with pytest.raises(AttackError, match="how training changes"):
        membership_layers(TARGET, REFERENCES[:1], MEMBERS[:1] & False)


def test_what_else_is_refused():
    with pytest.raises(AttackError, match="shape"):
        membership_loss(np.zeros((2, 3, 4)))
    with pytest.raises(AttackError, match="not positive"):
        membership_gradient_norm([1.0, 0.0])
    with pytest.raises(AttackError, match="no scan of group 'b'"):
        membership_population([1.0, 2.0], [0.0], groups=["a", "b"], population_groups=["a"])
    with pytest.raises(AttackError, match="queries"):
        membership_population(np.zeros((2, 3)), np.zeros((1, 3)))
    with pytest.raises(AttackError, match="same models and queries"):
        membership_rmia(TARGET, REFERENCES, MEMBERS, TARGET, REFERENCES[:2], MEMBERS[:2] & False)
    with pytest.raises(ConfigError, match=r"gamma is 0\.5"):
        RmiaConfig(gamma=0.5)
    with pytest.raises(ConfigError, match="mode is 'both'"):
        membership_lira(TARGET, REFERENCES, MEMBERS, mode="both")
    with pytest.raises(ConfigError, match="variance is 'per_scan'; must be pooled where queries are joint"):
        membership_lira(TARGET, REFERENCES, MEMBERS, variance="per_scan", queries="joint")
    with pytest.raises(ConfigError, match="queries is 'product'"):
        membership_lira(TARGET, REFERENCES, MEMBERS, queries="product")
