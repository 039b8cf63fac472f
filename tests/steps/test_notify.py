"""The webhook: gets how a run ended as JSON, its URL is shown nowhere, and its failures lose nothing."""

import json
import logging
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from flprivacy.core.audit import LEAK, NO_LEAK
from flprivacy.core.change import NO_CHANGE, WORSE, AuditChange, TargetChange
from flprivacy.core.errors import PolicyError
from flprivacy.core.retry import RetryConfig
from flprivacy.execution.ends import Failure, leave_failure, leave_result
from flprivacy.reporting.sentences import overall
from flprivacy.steps import notify as module
from flprivacy.steps.check_change import check_change
from flprivacy.steps.notify import audit_message, change_message, notify
from tests.reporting.example_audit import example_audit

SECRET = "hooks/T0-very-secret"


class _Hook(BaseHTTPRequestHandler):
    answers: ClassVar[list[int]] = []
    got: ClassVar[list[dict[str, object]]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.got.append(json.loads(body))
        self.send_response(self.answers.pop(0))
        self.send_header("Location", "http://127.0.0.1:9/elsewhere")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[_Hook]]:
    server = HTTPServer(("127.0.0.1", 0), _Hook)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("FLPRIVACY_WEBHOOK_URL", f"http://127.0.0.1:{server.server_port}/{SECRET}")
    monkeypatch.setattr(module, "_RETRY", RetryConfig(attempts=3, first_delay_seconds=0.0))
    _Hook.answers, _Hook.got = [], []
    yield _Hook
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def store(tmp_path: Path, change: Path) -> str:
    """A store in which a re-audit that found a change for the worse left it."""
    found = AuditChange.read(change / "change.json")
    leave_result(change_message(found, mlflow_run="m1", kfp_run="k1"), run="k1", store=str(tmp_path))
    return str(tmp_path)


def _told(store: str, run: str = "k1") -> bool:
    return notify(pipeline="re_audit", kfp_run=run, store=store)


@pytest.fixture
def change(tmp_path: Path) -> Path:
    found = AuditChange(
        verdict=WORSE,
        reason="central",
        cohort_name="c",
        cohort_digest="d",
        confidence=0.95,
        targets=(TargetChange(target="central", verdict=WORSE, reason="site +0.3"),),
    )
    found.write(tmp_path / "change.json")
    assert AuditChange.read(tmp_path / "change.json") == found
    return tmp_path


def test_the_verdict_and_its_evidence_arrive(hook: type[_Hook], store: str) -> None:
    hook.answers = [204]
    assert _told(store)
    (got,) = hook.got
    assert (got["verdict"], got["mlflow_run"], got["kfp_run"]) == (WORSE, "m1", "k1")
    assert got["targets"][0]["reason"] == "site +0.3"  # type: ignore[index]
    assert "changed for the worse" in str(got["text"])


def test_a_run_without_a_result_has_failed_for_the_reasons_that_its_steps_left(hook: type[_Hook], store: str) -> None:
    hook.answers = [200, 200]
    assert _told(store, "k2")
    leave_failure(Failure(step="evaluate", reason="the store is away"), run="k2", store=store)
    assert _told(store, "k2")
    first, second = hook.got
    assert first["text"] == (
        "flprivacy: re_audit failed: no step left a reason; 'flprivacy runs show k2' asks the cluster"
    )
    assert second["text"] == "flprivacy: re_audit failed: evaluate: the store is away"
    assert (second["kind"], second["causes"]) == ("flprivacy.failed_run", ["evaluate: the store is away"])


def test_a_run_that_fails_after_its_result_is_told_with_both(hook: type[_Hook], store: str) -> None:
    quiet = {"kind": "flprivacy.audit", "attention": False, "text": "flprivacy: demo: nothing leaks.", "kfp_run": "k3"}
    leave_failure(Failure(step="report_audit", reason="lost its node"), run="k3", store=store)
    leave_result(quiet, run="k3", store=store)
    assert not _told(store, "k3")  # the failure was of an attempt that was repeated
    why = "check_policy: 1 attack(s) leak, such as that on a: b; the run was asked to fail on a leak"
    for run in ("k1", "k3"):
        leave_failure(Failure(step=why.partition(": ")[0], reason=why.partition(": ")[2]), run=run, store=store)
    hook.answers = [200, 200]
    assert _told(store, "k1")
    assert _told(store, "k3")
    change, audit = hook.got
    assert (change["verdict"], change["kind"]) == (WORSE, "flprivacy.re_audit")
    assert change["text"] == f"flprivacy: changed for the worse (c): central. Then the run failed: {why}"
    assert audit == quiet | {
        "attention": True,
        "text": f"flprivacy: demo: nothing leaks. Then the run failed: {why}",
        "causes": [why],
    }


def test_a_store_that_cannot_be_read_is_told(hook: type[_Hook], store: str) -> None:
    (note,) = (Path(store) / "ends" / "k1").iterdir()
    note.write_text("{")
    hook.answers = [200]
    assert _told(store)
    assert "re_audit failed: notify: cannot tell what the run found" in str(hook.got[0]["text"])


def test_of_an_audit_only_what_somebody_must_know_is_told(hook: type[_Hook], store: str) -> None:
    leaky = example_audit(n_sites=3, keep=("untrained", "central", "pixels"), attributes=("site",))
    assert LEAK in [one.verdict for one in leaky.verdicts]
    kept = tuple(replace(one, verdict=NO_LEAK) for one in leaky.verdicts)
    harmless = replace(leaky, verdicts=kept, membership=(), failures=())
    cases = {"quiet": (harmless, "m"), "leaks": (leaky, "m"), "unfiled": (harmless, "")}
    for run, (audit, filed) in cases.items():
        leave_result(audit_message(audit, mlflow_run=filed, kfp_run=run), run=run, store=store)
    hook.answers = [200, 200]
    assert [_told(store, run) for run in cases] == [False, True, True]
    leaks, unfiled = hook.got
    assert overall(leaky) in str(leaks["text"])
    assert leaks["kfp_run"] == "leaks"
    assert "MLflow has not got the result" in str(unfiled["text"])


def test_what_may_pass_is_tried_again_and_what_may_not_is_not(
    hook: type[_Hook], store: str, caplog: pytest.LogCaptureFixture
) -> None:
    hook.answers = [503, 500, 200]
    assert _told(store)
    assert len(hook.got) == 3
    hook.answers = [503, 503, 503]
    assert not _told(store)
    assert "it answered 503, 3 times" in caplog.text
    for answer in (404, 302):  # a redirect is not followed
        hook.answers = [answer]
        assert not _told(store)
        assert f"it answered {answer}" in caplog.text
    assert SECRET not in caplog.text


@pytest.mark.parametrize("url", ["http://example.org/" + SECRET, "ftp://x/" + SECRET, SECRET, "https://[" + SECRET])
def test_an_unfit_url_is_refused_and_not_shown(
    url: str, store: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("FLPRIVACY_WEBHOOK_URL", url)
    assert not _told(store)
    assert "give" in caplog.text
    assert SECRET not in caplog.text


def test_without_a_url_nobody_is_told(
    store: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("FLPRIVACY_WEBHOOK_URL", raising=False)
    with caplog.at_level(logging.WARNING):
        assert not _told(store)
    assert caplog.text == ""


def test_the_run_fails_on_worse_only_if_asked(change: Path) -> None:
    assert check_change(change=change) == WORSE
    with pytest.raises(PolicyError, match=r"central: site \+0\.3; the run was asked to fail on it"):
        check_change(change=change, fail_on_worse=True)
    AuditChange(verdict=NO_CHANGE, reason="", cohort_name="c", cohort_digest="d", confidence=0.95, targets=()).write(
        change / "change.json"
    )
    assert check_change(change=change, fail_on_worse=True) == NO_CHANGE
