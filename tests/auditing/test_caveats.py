"""What the interval of an excess does not know clears no target."""

from dataclasses import replace

import pytest

from flprivacy.auditing.attributes import not_cleared
from flprivacy.core.audit import INCONCLUSIVE, LEAK, NO_LEAK
from tests.reporting.example_audit import example_audit

CAVEAT = "gross errors may be missing"


@pytest.mark.parametrize(("verdict", "expected"), [(NO_LEAK, INCONCLUSIVE), (INCONCLUSIVE, INCONCLUSIVE), (LEAK, LEAK)])
def test_a_caveat_is_told_and_never_goes_with_a_clearance(verdict: str, expected: str) -> None:
    found = replace(example_audit(n_sites=3, attributes=("site",)).verdicts[0], verdict=verdict)
    weakened = not_cleared(found, CAVEAT)
    assert weakened.verdict == expected
    assert CAVEAT in weakened.reason
    assert found.reason in weakened.reason
    assert not_cleared(found, "") == found
