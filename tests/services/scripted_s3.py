"""An S3 server in this process that fails on purpose, by a script drawn from a seed.

It speaks as much of the protocol as downloads need (HEAD, ranged GET with If-Match, list) and checks no signature.
"""

import hashlib
import random
import re
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

# Failures that may pass.
PASSING = ("reset", "500", "503", "slow down", "truncated", "closed early", "stall", "wrong range", "garbage")
# Wrong bytes with a good status.
DAMAGING = ("corrupt",)
FAULTS = (*PASSING, *DAMAGING)


@dataclass
class Script:
    """Which answers fail, and how.

    Attributes:
        seed: draws them.
        rate: share of the answers that fail.
        faults: kinds to draw from.
        most: failures in all; then every answer is good.
    """

    seed: int = 0
    rate: float = 0.0
    faults: tuple[str, ...] = FAULTS
    most: int = 1_000_000
    burst: int = 0
    _rng: random.Random = field(init=False)
    _lock: threading.Lock = field(init=False, default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._rng = random.Random(self.seed)
        self._kind = ""

    def next(self) -> tuple[str, float]:
        """Return the next answer's fault, empty for none, and a number in [0, 1) that says where it strikes."""
        with self._lock:
            where = self._rng.random()
            if self.burst > 0:
                self.burst -= 1
                return self._kind, where
            if self.most <= 0 or self._rng.random() >= self.rate:
                return "", where
            self.most -= 1
            self._kind = self._rng.choice(self.faults)
            if self._kind in ("500", "503", "slow down"):
                self.burst = self._rng.randrange(4)
            return self._kind, where


class ScriptedS3(ThreadingHTTPServer):
    """Buckets in memory.

    Attributes:
        objects: bucket -> key -> bytes.
        script: which answers fail.
        refuse: (status, code) that every request gets, or None.
        before_read: called with the key before every GET is answered; it may change objects.
        bytes_per_second: of each connection; 0: as fast as it goes.
        sent: bytes of bodies sent, by key.
        injected: faults that struck, by kind.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.objects: dict[str, dict[str, bytes]] = {}
        self.script = Script()
        self.refuse: tuple[int, str] | None = None
        self.before_read: Callable[[str], None] | None = None
        self.bytes_per_second = 0.0
        self.sent: Counter[str] = Counter()
        self.injected: Counter[str] = Counter()
        self.lock = threading.Lock()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients hang up on purpose here; nothing to say about it."""


@contextmanager
def scripted_s3() -> Iterator[ScriptedS3]:
    """Serve until the block ends."""
    server = ScriptedS3()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ScriptedS3

    def log_message(self, *args: object) -> None:
        """Stay silent."""

    def do_HEAD(self) -> None:
        data = self._found()
        if data is None:
            return
        fault, _ = self.server.script.next()
        if fault in ("500", "503", "slow down"):
            self._count(fault)
            self._refuse(500 if fault == "500" else 503, "SlowDown")
            return
        self.send_response(200)
        self.send_header("ETag", _tag(data))
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
        if self.headers.get("If-Match", _tag(data)) != _tag(data):
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
            self._count(fault)
        if fault in ("500", "503", "slow down"):
            self._refuse(int(fault) if fault.isdigit() else 503, {"500": "InternalError"}.get(fault, "SlowDown"))
            return
        body, promised = data[start:stop], stop - start
        cut = int(where * len(body))
        if fault == "corrupt" and body:
            body = body[:cut] + bytes([body[cut] ^ 0x55]) + body[cut + 1 :]
        elif fault == "truncated":
            body, promised = body[:cut], cut
        elif fault in ("reset", "closed early"):
            body = body[:cut]
        elif fault == "garbage":
            body, promised = b"<html>busy</html>", 17
        elif fault == "wrong range":
            start, stop, body, promised = 0, len(data), data, len(data)
        self.send_response(206 if ranged else 200)
        self.send_header("ETag", _tag(data))
        self.send_header("Content-Length", str(promised))
        if ranged and fault != "garbage":
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(data)}")
        self.end_headers()
        self._send(key, body, stall=0.2 if fault == "stall" else 0.0)
        if fault == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        if fault in ("reset", "closed early"):
            self.close_connection = True

    def _send(self, key: str, body: bytes, *, stall: float) -> None:
        step = 1 << 16
        for at in range(0, len(body), step):
            piece = body[at : at + step]
            self.wfile.write(piece)
            with self.server.lock:
                self.server.sent[key] += len(piece)
            if self.server.bytes_per_second:
                time.sleep(len(piece) / self.server.bytes_per_second)
            time.sleep(stall)
            stall = 0.0

    def _place(self) -> tuple[str, str]:
        bucket, _, key = unquote(urlsplit(self.path).path).lstrip("/").partition("/")
        return bucket, key

    def _found(self) -> bytes | None:
        bucket, key = self._place()
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

    def _count(self, fault: str) -> None:
        with self.server.lock:
            self.server.injected[fault] += 1


def _tag(data: bytes) -> str:
    return f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'
