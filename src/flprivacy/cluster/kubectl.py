"""What Kubernetes says, asked by ``kubectl`` with the access that its user has."""

import json
import shutil
import subprocess
from collections.abc import Mapping
from typing import Any

_TIMEOUT_SECONDS = 20


class UnreadError(Exception):
    """Kubernetes could not be asked, or does not tell this user; the message says why."""


class Kubectl:
    """Kubernetes as ``kubectl`` reaches it from here."""

    def run(self, *words: str, stdin: str = "") -> str:
        """Return what ``kubectl`` prints; UnreadError with its last line, if it fails."""
        done = self._ask(*words, stdin=stdin)
        if done.returncode:
            lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            raise UnreadError(f"kubectl: {lines[-1]}")
        return done.stdout

    def find(self, kind: str, name: str, namespace: str = "") -> Mapping[str, Any] | None:
        """Return an object as the API describes it; None if there is none of that name."""
        text = self.run("get", kind, name, *_within(namespace), "--ignore-not-found", "-o", "json")
        return json.loads(text) if text.strip() else None

    def every(self, kind: str, *words: str, namespace: str = "") -> list[Mapping[str, Any]]:
        """Return all objects of a kind; ``words`` choose among them, such as ``-l`` and a label."""
        text = self.run("get", kind, *(_within(namespace) or ("-A",)), *words, "-o", "json")
        return list(json.loads(text)["items"])

    def keys(self, name: str, namespace: str) -> frozenset[str] | None:
        """Return the keys of a Secret, never its values; None if there is no such Secret."""
        template = '{{range $key, $value := .data}}{{$key}}{{"\\n"}}{{end}}.'
        text = self.run(
            "get", "secret", name, *_within(namespace), "--ignore-not-found", "-o", f"go-template={template}"
        )
        return frozenset(text.split()[:-1]) if text.strip() else None

    def may(self, verb: str, resource: str, *, account: str, namespace: str) -> bool:
        """Say whether a service account may do that; ``resource`` is a kind, or ``kind/name``."""
        user = f"--as=system:serviceaccount:{namespace}:{account}"
        done = self._ask("auth", "can-i", verb, resource, user, *_within(namespace))
        answer = done.stdout.strip()  # with "no" the exit code is 1, too
        if answer not in ("yes", "no"):
            raise UnreadError(f"kubectl: {(done.stderr.strip().splitlines() or ['no answer'])[-1]}")
        return answer == "yes"

    def _ask(self, *words: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
        if shutil.which("kubectl") is None:
            raise UnreadError("kubectl is not installed here")
        try:
            return subprocess.run(
                ["kubectl", *words], input=stdin, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise UnreadError(f"kubectl did not answer within {_TIMEOUT_SECONDS} s") from error


def _within(namespace: str) -> tuple[str, ...]:
    return ("-n", namespace) if namespace else ()
