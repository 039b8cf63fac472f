"""One realistic audit and its rendered report, shared by all tests of reporting."""

import pytest
from example_audit import example_audit
from report_page import Page

from flprivacy.core.audit import Audit
from flprivacy.reporting.html import render


@pytest.fixture(scope="session")
def audit() -> Audit:
    return example_audit()


@pytest.fixture(scope="session")
def small_audit() -> Audit:
    """Three hospitals, one target, one attack."""
    return example_audit(
        n_sites=3,
        keep=("untrained", "central", "pixels"),
        attributes=("site",),
        accesses=("features",),
        fractions=(0.1,),
    )


@pytest.fixture(scope="session")
def small_report(small_audit: Audit) -> str:
    return render(small_audit)


@pytest.fixture(scope="session")
def report(audit: Audit) -> str:
    return render(audit)


@pytest.fixture(scope="session")
def page(report: str) -> Page:
    return Page(report)
