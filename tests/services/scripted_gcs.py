"""A Google Cloud Storage server in this process that heeds generations and fails on purpose, as the emulator does not.

It speaks as much of the JSON API as downloads need: metadata, media by range with ``ifGenerationMatch``, list. It is
also the token server of a service account, whose key file :func:`write_key_file` writes.
"""

import base64
import json
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import google_crc32c
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.services.failing_server import STATUS, FailingHandler, FailingServer, serving


class ScriptedGcs(FailingServer):
    """One bucket in memory.

    Attributes:
        objects: key -> (generation, bytes) of the bucket ``b``.
        refuse: status that every request gets, or 0.
        answered: requests by their path's first words.
        token: that every request must bring; empty: none is asked for.
        payer: project that must be named as paying; empty: none is asked for.
        refuse_login: what the token server says instead of giving a token; empty: it gives one.
    """

    def __init__(self) -> None:
        super().__init__(_Handler)
        self.objects: dict[str, tuple[int, bytes]] = {}
        self.refuse = 0
        self.answered: Counter[str] = Counter()
        self.token = self.refuse_login = self.payer = ""


@contextmanager
def scripted_gcs() -> Iterator[ScriptedGcs]:
    """Serve until the block ends."""
    with serving(ScriptedGcs()) as server:
        yield server


def write_key_file(path: Path, server: ScriptedGcs) -> Path:
    """Write the key of a service account whose token server is this one."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    account = {
        "type": "service_account",
        "project_id": "tests",
        "private_key_id": "very-secret-key",
        "private_key": pem.decode(),
        "client_email": "auditor@tests.example.org",
        "token_uri": f"{server.endpoint}/token",
    }
    path.write_text(json.dumps(account))
    return path


class _Handler(FailingHandler):
    server: ScriptedGcs

    def do_POST(self) -> None:
        """Give a token, or say why not."""
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.answered["token"] += 1
        if self.server.refuse_login:
            self._json(400, {"error": "invalid_grant", "error_description": self.server.refuse_login})
        else:
            self._json(200, {"access_token": self.server.token, "expires_in": 3600, "token_type": "Bearer"})

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        download = parts.path.startswith("/download/") or query.get("alt") == "media"
        self.server.answered["download" if download else "metadata"] += 1
        found = re.search(r"/b/([^/]+)/o(?:/(.+))?$", parts.path)
        if self.server.token and self.headers.get("Authorization") != f"Bearer {self.server.token}":
            self._json(401, {"error": {"message": "secret-of-the-server"}})
        elif self.server.refuse:
            self._json(self.server.refuse, {"error": {"message": "secret-of-the-server"}})
        elif self.server.payer and query.get("userProject") != self.server.payer:
            self._json(400, {"error": {"message": "Bucket is a requester pays bucket but no user project provided."}})
        elif not found or found[1] != "b":
            self._json(404, {"error": {"message": "The specified bucket does not exist."}})
        elif found[2] is None:
            self._json(200, {"items": [self._resource(key) for key in sorted(self.server.objects)]})
        elif unquote(found[2]) not in self.server.objects:
            self._json(404, {"error": {"message": "No such object"}})
        elif download:
            self._download(unquote(found[2]), query)
        else:
            self._json(200, self._resource(unquote(found[2])))

    def _resource(self, key: str) -> dict[str, str]:
        generation, data = self.server.objects[key]
        checksum = base64.b64encode(google_crc32c.value(data).to_bytes(4, "big")).decode()
        found = {"name": key, "bucket": "b", "generation": str(generation), "size": str(len(data))}
        return found | {"crc32c": checksum}

    def _download(self, key: str, query: dict[str, str]) -> None:
        if self.server.before_read:
            self.server.before_read(key)
        generation, data = self.server.objects[key]
        if query.get("ifGenerationMatch", str(generation)) != str(generation):
            self._json(412, {"error": {"message": "Precondition Failed"}})
            return
        fault, where = self.server.script.next()
        if fault:
            self.count(fault)
        if fault in STATUS:
            self._json(429 if fault == "slow down" else STATUS[fault], {})
            return
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        start, stop = (int(asked[1]), min(len(data), int(asked[2]) + 1)) if asked else (0, len(data))
        body = self.spoilt(data, start, stop, fault, where)
        self.send_response(206 if asked else 200)
        self.send_header("X-Goog-Generation", str(generation))
        self.send_header("Content-Length", str(body.promised))
        self.end_headers()
        self.send_spoilt(key, body)

    def _json(self, status: int, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
