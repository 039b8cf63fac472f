"""An S3 server in this process that fails on purpose, by a script drawn from a seed.

It speaks as much of the protocol as downloads need (HEAD, ranged GET with If-Match, list) and checks no signature.
"""

import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import unquote, urlsplit

from tests.services.failing_server import FAULTS, PASSING, STATUS, FailingHandler, FailingServer, Script, serving

__all__ = ["FAULTS", "PASSING", "Script", "ScriptedS3", "scripted_s3"]


class ScriptedS3(FailingServer):
    """Buckets in memory.

    Attributes:
        objects: bucket -> key -> bytes.
        refuse: (status, code) that every request gets, or None.
        tags: method -> what its answers make of an object's ETag; None: they have none.
        refuse_conditions: whether every request with If-Match is refused.
        headers: of the requests, as they came.
    """

    def __init__(self) -> None:
        super().__init__(_Handler)
        self.objects: dict[str, dict[str, bytes]] = {}
        self.refuse: tuple[int, str] | None = None
        self.tags: dict[str, Callable[[str], str | None]] = {}
        self.refuse_conditions = False
        self.headers: list[dict[str, str]] = []


@contextmanager
def scripted_s3() -> Iterator[ScriptedS3]:
    """Serve until the block ends."""
    with serving(ScriptedS3()) as server:
        yield server


class _Handler(FailingHandler):
    server: ScriptedS3

    def do_HEAD(self) -> None:
        data = self._found()
        if data is None:
            return
        fault, _ = self.server.script.next()
        if fault in STATUS:
            self.count(fault)
            self._refuse(STATUS[fault], "SlowDown")
            return
        self.send_response(200)
        self._send_tag(data)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()

    def do_GET(self) -> None:
        bucket, key = self._place()
        if self.server.before_read and key:
            self.server.before_read(key)
        if not key and bucket in self.server.objects and not self.server.refuse:
            self._list(bucket)
            return
        data = self._found()
        if data is None:
            return
        condition = self.headers.get("If-Match", _tag(data))
        if condition != _tag(data) or (self.server.refuse_conditions and "If-Match" in self.headers):
            self._refuse(412, "PreconditionFailed")
            return
        start, stop = 0, len(data)
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if asked:
            start, stop = int(asked[1]), min(len(data), int(asked[2]) + 1 if asked[2] else len(data))
        if start >= stop and asked:
            self._refuse(416, "InvalidRange")
            return
        self._answer(key, data, start, stop, ranged=bool(asked))

    def _answer(self, key: str, data: bytes, start: int, stop: int, *, ranged: bool) -> None:
        fault, where = self.server.script.next()
        if fault:
            self.count(fault)
        if fault in STATUS:
            self._refuse(STATUS[fault], {"500": "InternalError"}.get(fault, "SlowDown"))
            return
        body = self.spoilt(data, start, stop, fault, where)
        self.send_response(206 if ranged else 200)
        self._send_tag(data)
        self.send_header("Content-Length", str(body.promised))
        if ranged and fault != "garbage":
            self.send_header("Content-Range", f"bytes {body.start}-{body.stop - 1}/{len(data)}")
        self.end_headers()
        self.send_spoilt(key, body)

    def _place(self) -> tuple[str, str]:
        bucket, _, key = unquote(urlsplit(self.path).path).lstrip("/").partition("/")
        return bucket, key

    def _send_tag(self, data: bytes) -> None:
        tag = self.server.tags.get(self.command, str)(_tag(data))
        if tag is not None:
            self.send_header("ETag", tag)
        self.send_header("Last-Modified", "Sun, 29 Nov 2026 11:00:00 GMT")

    def _found(self) -> bytes | None:
        bucket, key = self._place()
        self.server.headers.append(dict(self.headers))
        if self.server.refuse:
            self._refuse(*self.server.refuse)
        elif bucket not in self.server.objects:
            self._refuse(404, "NoSuchBucket")
        elif key not in self.server.objects[bucket]:
            self._refuse(404, "NoSuchKey")
        else:
            return self.server.objects[bucket][key]
        return None

    def _list(self, bucket: str) -> None:
        prefix = dict(part.partition("=")[::2] for part in urlsplit(self.path).query.split("&")).get("prefix", "")
        rows = "".join(
            f"<Contents><Key>{key}</Key><Size>{len(data)}</Size><ETag>{_tag(data)}</ETag></Contents>"
            for key, data in sorted(self.server.objects[bucket].items())
            if key.startswith(unquote(prefix))
        )
        self._xml(200, f"<ListBucketResult><IsTruncated>false</IsTruncated>{rows}</ListBucketResult>")

    def _refuse(self, status: int, code: str) -> None:
        self._xml(status, f"<Error><Code>{code}</Code><Message>secret-of-the-server</Message></Error>")

    def _xml(self, status: int, text: str) -> None:
        body = f'<?xml version="1.0" encoding="UTF-8"?>{text}'.encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _tag(data: bytes) -> str:
    return f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'
