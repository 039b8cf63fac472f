"""Whether hospitals took part: exact p-values against counting all choices."""

import itertools

import numpy as np
import pytest

from flprivacy.auditing.membership.sites import audit_site_membership
from flprivacy.core.errors import AuditError


@pytest.mark.parametrize("ties", [False, True])
def test_p_value_and_auc_agree_with_counting_all_choices(ties):
    rng = np.random.default_rng(1)
    scores = rng.normal(size=9).round(0 if ties else 9)
    members = np.arange(9) < 4

    def area(chosen):
        pairs = [
            (scores[i] > scores[j]) + (scores[i] == scores[j]) / 2 for i in chosen for j in set(range(9)) - {*chosen}
        ]
        return sum(pairs) / len(pairs)

    found = audit_site_membership(members, scores)
    areas = [area(chosen) for chosen in itertools.combinations(range(9), 4)]
    assert found.auc == pytest.approx(area((0, 1, 2, 3)))
    assert found.p_value == pytest.approx(np.mean([one >= found.auc - 1e-12 for one in areas]))


def test_twenty_one_sites_and_what_they_resolve():
    members = np.arange(21) < 20
    one_out = audit_site_membership(members, -np.arange(21.0))
    assert one_out.p_value == one_out.least_p_value == pytest.approx(1 / 21)
    assert set(one_out.site_p_values.values()) == {one_out.least_site_p_value} == {0.5}
    half = audit_site_membership(np.arange(21) < 11, -np.arange(21.0))
    assert half.p_value == half.least_p_value == pytest.approx(1 / 352_716)


def test_null_p_values_are_at_most_as_small_as_they_say():
    rng = np.random.default_rng(2)
    values = [audit_site_membership(np.arange(21) < 11, rng.normal(size=21)).p_value for _ in range(400)]
    assert np.mean(np.array(values) <= 0.05) <= 0.08
    assert 0.4 < np.median(values) < 0.6


@pytest.mark.parametrize(
    ("members", "scores", "sites", "message"),
    [
        ([True, True], [1.0, 2.0], None, "2 hospitals took part and 0 did not"),
        ([True, False], [1.0], None, "one score for each"),
        ([1, 0], [1.0, 2.0], None, "bool"),
        ([True, False], [1.0, np.nan], None, "not finite"),
        ([True, False], [1.0, 2.0], ["a", "a"], "different name"),
    ],
)
def test_what_proves_nothing_is_refused(members, scores, sites, message):
    with pytest.raises(AuditError, match=message):
        audit_site_membership(members, scores, sites=sites)
