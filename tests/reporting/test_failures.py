"""Targets without numbers are named, with the reason, in the terminal and on the page."""

from dataclasses import replace

from report_page import undrawn

from flprivacy.core.audit import Audit, TargetFailure
from flprivacy.reporting.failures import lines as failure_lines
from flprivacy.reporting.terminal import headline

FAILURES = (
    TargetFailure(target="old<b>", step="pull_target", reason="s3://m/old: no answer", transient=True),
    TargetFailure(target="private", step="train_target", reason="the loss is no number in epoch 1"),
)


def test_each_is_a_sentence_and_only_what_may_pass_is_worth_another_try() -> None:
    audit = Audit(
        name="x", cohort_name="c", cohort_digest="", cohort={}, config={}, targets=(), metrics=(), excesses=(),
        verdicts=(), confusions=(), scatters=(), curves=(), failures=FAILURES,
    )  # fmt: skip
    fetching, training = failure_lines(audit)
    assert fetching.endswith("fetching it failed: s3://m/old: no answer; the failure may be temporary: try again")
    assert training == "private was not audited, because training failed: the loss is no number in epoch 1"


def test_terminal_and_page_say_so(small_audit: Audit, small_report: str) -> None:
    failed = replace(small_audit, failures=FAILURES)
    lines = failure_lines(failed)
    assert [line for line in headline(failed) if "was not audited" in line] == [f"\N{WARNING SIGN} {x}" for x in lines]
    page = undrawn(failed)
    assert page.count("was not audited") == 2
    assert "old&lt;b&gt; was not audited" in page
    assert "was not audited" not in small_report


def test_a_generator_that_failed_is_in_the_first_line_and_has_a_sentence(small_audit: Audit) -> None:
    broken = TargetFailure(target="generator", step="train_generator", reason="it collapsed", role="generator")
    mixed = TargetFailure(target="mixed", step="train_target", reason="no synthetic scans for it")
    failed = replace(small_audit, failures=(broken, mixed))
    assert "Not audited, as something failed: mixed and the generator." in headline(failed)[0]
    first, second = failure_lines(failed)
    assert first == (
        "the generator was not audited, because training failed: it collapsed; nothing is said of its scans"
    )
    assert second == "mixed was not audited, because training failed: no synthetic scans for it"
    assert "Not audited" not in headline(small_audit)[0]
