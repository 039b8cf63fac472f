"""References on halves of the hospitals: AUC and p-value against counting, leaks and none, intervals that hold."""

import itertools

import numpy as np
import pytest

from flprivacy.auditing.config import MembershipRule
from flprivacy.auditing.membership.site_findings import site_finding
from flprivacy.auditing.membership.site_references import audit_site_references, calibrated
from flprivacy.core.errors import AuditError, ConfigError
from flprivacy.core.reference_scores import SiteSignals

FEW = 199  # redraws, where many results are looked at


def halves(rng, pairs=4, sites=21):
    first = np.stack([rng.permutation(sites) < sites // 2 for _ in range(pairs)])
    return np.stack([first, ~first], axis=1).reshape(2 * pairs, sites)


def game(seed, *, pairs=4, sites=21, leak=0.0, unlike=0.0, noisy=0.5):
    """Signals with levels of references and of hospitals; a leak may differ between hospitals and references."""
    rng = np.random.default_rng([seed])
    inside = halves(rng, pairs, sites)
    shape = inside.shape
    gain = leak * (1 + unlike * rng.normal(size=sites)) * (1 + unlike / 2 * rng.normal(size=(shape[0], 1)))
    noise = np.exp(noisy * rng.normal(size=sites)) * rng.normal(size=shape)
    return rng.normal(size=(shape[0], 1)) + 3 * rng.normal(size=sites) + noise + gain * inside, inside


def by_hand(signals, inside):
    """The AUC of each reference, as it is defined."""
    areas, scores = [], np.empty(signals.shape)
    signals = np.array([row - row.mean() for row in signals])
    for one, site in itertools.product(range(len(signals)), range(signals.shape[1])):
        others = [r for r in range(len(signals)) if r // 2 != one // 2 and not inside[r, site]]
        scores[one, site] = signals[one, site] - np.mean([signals[r, site] for r in others])
    for one in range(len(signals)):
        pairs = list(itertools.product(np.flatnonzero(inside[one]), np.flatnonzero(~inside[one])))
        areas.append(
            np.mean([(scores[one, a] > scores[one, b]) + (scores[one, a] == scores[one, b]) / 2 for a, b in pairs])
        )
    return scores, float(np.mean(areas))


@pytest.mark.parametrize("sites", [6, 9])
def test_scores_and_auc_are_those_of_their_definition(sites):
    signals, inside = game(1, sites=sites, leak=1.0)
    scores, area = by_hand(signals, inside)
    found = audit_site_references(signals, inside, redraws=FEW)
    np.testing.assert_allclose(found.scores, scores)
    np.testing.assert_allclose(calibrated(signals, inside), scores)
    assert found.auc.value == pytest.approx(area)
    assert np.mean(list(found.recognised.values())) == pytest.approx(area, abs=0.05)


def test_the_p_value_is_the_share_of_all_draws_of_the_halves():
    signals, inside = game(5, pairs=2, sites=4, leak=0.7)
    choices = [np.isin(np.arange(4), one) for one in itertools.combinations(range(4), 2)]
    areas = [by_hand(signals, np.stack([a, ~a, b, ~b]))[1] for a, b in itertools.product(choices, repeat=2)]
    found = audit_site_references(signals, inside)
    exact = np.mean(np.array(areas) >= found.auc.value - 1e-9)
    assert found.p_value == pytest.approx(exact, abs=0.02)
    assert found.least_p_value == pytest.approx(1 / 36)
    assert np.mean(np.array(areas) >= found.noticed) <= 0.05 + 0.01


def test_levels_of_references_and_hospitals_do_not_matter():
    signals, inside = game(2, leak=1.0)
    moved = signals + np.arange(21) * 10.0 + np.arange(8)[:, None] * 5.0
    assert (
        audit_site_references(moved, inside, redraws=FEW).auc == audit_site_references(signals, inside, redraws=FEW).auc
    )


def test_without_a_leak_p_values_are_uniform():
    values = np.array([audit_site_references(*game(seed, sites=10), redraws=FEW).p_value for seed in range(400)])
    shares = [(values <= level).mean() for level in (0.05, 0.2, 0.5, 0.8)]
    np.testing.assert_allclose(shares, (0.05, 0.2, 0.5, 0.8), atol=0.06)


@pytest.mark.parametrize(("leak", "unlike"), [(0.0, 0.0), (1.0, 0.0), (1.0, 0.7)])
def test_95_of_100_intervals_hold_the_expected_auc(leak, unlike):
    """Of 500: without a leak, with one that is everywhere alike, and with one that differs between hospitals."""
    found = [audit_site_references(*game(seed, leak=leak, unlike=unlike), redraws=99).auc for seed in range(500)]
    expected = 0.5 if leak == 0.0 else np.mean([one.value for one in found])
    covered = np.mean([one.low <= expected <= one.high for one in found])
    assert 0.92 <= covered <= 0.98


def test_a_planted_leak_is_found_and_a_model_that_knows_nothing_is_not_called():
    rule = MembershipRule()
    found = audit_site_references(*game(3, leak=3.0))
    assert found.p_value == found.least_p_value == 1e-4
    assert found.auc.low > 0.75
    verdicts = [verdict_on(game(seed), rule, redraws=FEW).verdict for seed in range(200)]
    assert verdicts.count("leak") <= 10
    planted = verdict_on(game(3, leak=3.0), rule)
    assert (planted.verdict, planted.level, planted.decision.metric) == ("leak", "site", "auc")


def verdict_on(played, rule, redraws=9999):
    signals, inside = played
    names = tuple(f"hospital-{number}" for number in range(inside.shape[1]))
    held_out = np.random.default_rng(0).normal(size=signals.shape)
    asked = SiteSignals(target="central", sites=names, took_part=inside, contributed=signals, held_out=held_out)
    return site_finding(asked, rule=rule, confidence=0.95, claimed=(8.0, 1e-5), redraws=redraws)


def test_answers_that_do_not_depend_on_the_draw_at_all_tell_nothing():
    _, inside = game(0)
    constant = np.tile(np.random.default_rng(1).normal(size=21), (8, 1))
    found = audit_site_references(constant, inside)
    assert (found.auc.value, found.p_value) == (0.5, 1.0)
    finding = verdict_on((constant, inside), MembershipRule())
    assert finding.verdict != "leak"


def test_a_finding_says_what_it_rests_on():
    finding = verdict_on(game(3, leak=3.0), MembershipRule())
    assert (finding.sites.references, len(finding.sites.recognised), finding.epsilon_claimed) == (8, 21, 8.0)
    assert finding.sites.recognised["hospital-0"] > 0.5
    assert 0.2 < finding.sites.held_out.value < 0.8
    assert "8 models trained like the target were asked, each on half of 21 hospitals" in finding.caveats[0]
    assert "cannot be told from chance" in finding.caveats[1]


@pytest.mark.parametrize("rule", [None, MembershipRule(auc_threshold=None)])
def test_without_a_rule_for_the_auc_there_are_numbers_and_no_verdict(rule):
    finding = verdict_on(game(3, leak=3.0), rule)
    assert (finding.verdict, finding.decision) == ("", None)
    assert finding.sites.auc.value > 0.8


def test_hospitals_without_other_scans_leave_that_question_out():
    signals, inside = game(3)
    held_out = np.where(np.arange(21) == 4, np.nan, signals)
    asked = SiteSignals(
        target="a", sites=tuple(map(str, range(21))), took_part=inside, contributed=signals, held_out=held_out
    )
    found = site_finding(asked, rule=MembershipRule(), confidence=0.95).sites
    assert (found.held_out, found.held_out_p_value) == (None, None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s, i: (s[:, :3], i), r"took_part has shape \(8, 21\) and type bool, signals shape \(8, 3\)"),
        (lambda s, i: (s, i.astype(int)), "type int64"),
        (lambda s, i: (s[:2], i[:2]), "2 references and 21 hospitals; there must be pairs of references, two at least"),
        (lambda s, i: (s[:, :3], i[:, :3]), "8 references and 3 hospitals"),
        (lambda s, i: (s, np.roll(i, 1, axis=0)), "two references of a pair are no complements"),
        (lambda s, i: (s * np.nan, i), "not finite"),
        (lambda s, i: (s, np.concatenate([i[[1, 0]], i[2:]])), r"first halves of the pairs hold \[10, 11\] hospitals"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(change, message):
    signals, inside = change(*game(1))
    with pytest.raises(AuditError, match=message):
        audit_site_references(signals, inside, redraws=FEW)


def test_names_that_repeat_and_options_out_of_range_are_refused():
    signals, inside = game(1)
    with pytest.raises(AuditError, match="a different name for each of 21 hospitals"):
        audit_site_references(signals, inside, sites=["a"] * 21)
    with pytest.raises(ConfigError, match="redraws is 10"):
        audit_site_references(signals, inside, redraws=10)
