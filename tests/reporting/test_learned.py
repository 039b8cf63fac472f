"""What training added over fresh weights is said even where pixels tell more, and only where it is clear."""

from dataclasses import replace

from flprivacy.core.audit import LEAK, NO_LEAK, Audit
from flprivacy.reporting.asides import learned_lines
from flprivacy.reporting.html import render
from flprivacy.reporting.terminal import headline
from tests.reporting.example_audit import example_audit


def _audit(over_untrained: float, verdict: str) -> Audit:
    audit = example_audit(n_sites=3, attributes=("site",), accesses=("features",), fractions=(0.1,))
    place = ("central", "site", "features")
    excesses = tuple(
        replace(e, value=over_untrained, ci_low=over_untrained - 0.03, ci_high=over_untrained + 0.03)
        if (e.attack.target, e.attack.attribute, e.attack.access, e.baseline) == (*place, "untrained")
        and e.metric == "f1_weighted"
        else replace(e, ci_low=-0.5)
        for e in audit.excesses
    )
    verdicts = tuple(
        replace(v, verdict=verdict if (v.attack.target, v.attack.attribute, v.attack.access) == place else NO_LEAK)
        for v in audit.verdicts
    )
    return replace(audit, excesses=excesses, verdicts=verdicts)


def test_a_clear_gain_over_fresh_weights_is_told_although_no_leak_was_found() -> None:
    audit = _audit(0.13, NO_LEAK)
    (line,) = learned_lines(audit)
    assert "central" in line
    assert "site from features +0.130 [0.100, 0.160]" in line
    assert line in headline(audit)
    assert line in render(audit).replace("&#39;", "'")


def test_a_gain_within_what_is_tolerated_is_not_told() -> None:
    assert learned_lines(_audit(0.04, NO_LEAK)) == ()


def test_a_leak_speaks_for_itself() -> None:
    assert learned_lines(_audit(0.13, LEAK)) == ()
