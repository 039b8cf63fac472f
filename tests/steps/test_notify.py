"""The webhook: gets the verdict as JSON, its URL is shown nowhere, and its failures lose nothing."""

import json
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from flprivacy.core.change import NO_CHANGE, WORSE, AuditChange, TargetChange
from flprivacy.core.errors import PolicyError
from flprivacy.core.retry import RetryConfig
from flprivacy.steps import notify as module
from flprivacy.steps.check_change import check_change
from flprivacy.steps.notify import notify

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


def test_the_verdict_and_its_evidence_arrive(hook: type[_Hook], change: Path) -> None:
    hook.answers = [204]
    assert notify(change=change, mlflow_run="m1", kfp_run="k1")
    (got,) = hook.got
    assert (got["verdict"], got["mlflow_run"], got["kfp_run"]) == (WORSE, "m1", "k1")
    assert got["targets"][0]["reason"] == "site +0.3"  # type: ignore[index]
    assert "changed for the worse" in str(got["text"])


def test_what_may_pass_is_tried_again_and_what_may_not_is_not(
    hook: type[_Hook], change: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hook.answers = [503, 500, 200]
    assert notify(change=change)
    assert len(hook.got) == 3
    hook.answers = [503, 503, 503]
    assert not notify(change=change)
    assert "it answered 503, 3 times" in caplog.text
    for answer in (404, 302):  # a redirect is not followed
        hook.answers = [answer]
        assert not notify(change=change)
        assert f"it answered {answer}" in caplog.text
    assert SECRET not in caplog.text


@pytest.mark.parametrize("url", ["http://example.org/" + SECRET, "ftp://x/" + SECRET, SECRET, "https://[" + SECRET])
def test_an_unfit_url_is_refused_and_not_shown(
    url: str, change: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("FLPRIVACY_WEBHOOK_URL", url)
    assert not notify(change=change)
    assert "give" in caplog.text
    assert SECRET not in caplog.text


def test_without_a_url_nobody_is_told(
    change: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("FLPRIVACY_WEBHOOK_URL", raising=False)
    with caplog.at_level(logging.WARNING):
        assert not notify(change=change)
    assert caplog.text == ""


def test_the_run_fails_on_worse_only_if_asked(change: Path) -> None:
    assert check_change(change=change) == WORSE
    with pytest.raises(PolicyError, match=r"central: site \+0\.3; the run was asked to fail on it"):
        check_change(change=change, fail_on_worse=True)
    AuditChange(verdict=NO_CHANGE, reason="", cohort_name="c", cohort_digest="d", confidence=0.95, targets=()).write(
        change / "change.json"
    )
    assert check_change(change=change, fail_on_worse=True) == NO_CHANGE
