"""Kubeflow Pipelines' API on this machine, as a server with state (:mod:`tests.services.kfp_state`).

Every request and every answer is checked against the published description (:mod:`tests.services.kfp_swagger`); what
breaks it is kept in ``violations``. Only the answers to uploads that fail are not: the API server gives them fields of
their own.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.services.kfp_state import KfpState, Refused
from tests.services.kfp_swagger import Asked, Description, Violation

CODES = {400: 3, 401: 16, 403: 7, 404: 5, 409: 6, 500: 13, 503: 14}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: KfpState
    description: Description
    lock: threading.Lock

    def log_message(self, *words: object) -> None:
        pass

    def _serve(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with self.lock:
            status, body, kind = self._answer(raw)
        if status == 0:
            self.close_connection = True
            return
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_DELETE = _serve

    def _answer(self, raw: bytes) -> tuple[int, bytes, str]:
        try:
            asked = self.description.read(self.command, self.path, self.headers, raw)
        except (Violation, ValueError, KeyError) as error:
            self.state.violations.append(f"{type(error).__name__}: {error}")
            return 400, b"{}", "application/json"
        if self.state.token and self.headers.get("authorization") != f"Bearer {self.state.token}":
            self.state.asked.append(asked)
            return self._error(asked, 401, "Request header error: there is no user identity header")
        fault = next((f for f in self.state.faults if f.operation == asked.operation), None)
        if fault is not None:
            self.state.faults.remove(fault)
            if fault.after:
                self.state.answer(asked)
            else:
                self.state.asked.append(asked)
            if fault.body or not fault.status:
                return fault.status, fault.body, fault.kind
            return self._error(asked, fault.status, "injected")
        try:
            return self._json(asked.operation, 200, self.state.answer(asked))
        except Refused as error:
            return self._error(asked, error.status, str(error))

    def _error(self, asked: Asked, status: int, message: str) -> tuple[int, bytes, str]:
        if asked.operation == "UploadPipelineVersion":
            body = json.dumps({"error_message": message, "error_details": message}).encode()
            return status, body, "application/json"
        return self._json(asked.operation, status, {"code": CODES.get(status, 2), "message": message, "details": []})

    def _json(self, operation: str, status: int, body: Any) -> tuple[int, bytes, str]:
        try:
            self.description.check_answer(operation, status, body)
        except Violation as error:
            self.state.violations.append(str(error))
        return status, json.dumps(body).encode(), "application/json"


@contextmanager
def kfp_api() -> Iterator[KfpState]:
    """Serve the API on a free port of this machine while the block runs."""
    state = KfpState()
    words = {"state": state, "description": Description(), "lock": threading.Lock()}
    with ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), words)) as server:
        server.daemon_threads = True
        state.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()
