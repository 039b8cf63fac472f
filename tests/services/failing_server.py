"""What servers that fail on purpose share: the script of failures, drawn from a seed, and how each one looks."""

import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TypeVar

# Answers without the bytes; they come in bursts.
STATUS = {"500": 500, "503": 503, "slow down": 503}
# Failures that may pass.
PASSING = (*STATUS, "reset", "truncated", "closed early", "stall", "wrong range", "garbage")
# Wrong bytes with a good status.
DAMAGING = ("corrupt",)
FAULTS = (*PASSING, *DAMAGING)
_STALL_SECONDS = 0.2


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
            if self._kind in STATUS:
                self.burst = self._rng.randrange(4)
            return self._kind, where


class FailingServer(ThreadingHTTPServer):
    """A server in this process, on loopback.

    Attributes:
        script: which answers fail.
        before_read: called with the key before every read is answered; it may change objects.
        bytes_per_second: of each connection; 0: as fast as it goes.
        sent: bytes of bodies sent, by key.
        injected: faults that struck, by kind.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.script = Script()
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


S = TypeVar("S", bound=FailingServer)


@contextmanager
def serving(server: S) -> Iterator[S]:
    """Serve until the block ends."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass
class Body:
    """What an answer sends of an object, and what its headers say of that.

    Attributes:
        data: bytes sent.
        promised: bytes that the header says follow.
        start: first byte that the header names.
        stop: byte after the last that the header names.
        fault: what is wrong with it.
    """

    data: bytes
    promised: int
    start: int
    stop: int
    fault: str


class FailingHandler(BaseHTTPRequestHandler):
    """Answers of a failing server. Subclasses speak the protocol."""

    protocol_version = "HTTP/1.1"
    server: FailingServer

    def log_message(self, *args: object) -> None:
        """Stay silent."""

    def count(self, fault: str) -> None:
        """Note that a fault struck."""
        with self.server.lock:
            self.server.injected[fault] += 1

    def spoilt(self, data: bytes, start: int, stop: int, fault: str, where: float) -> Body:
        """Return what a fault makes of bytes ``start`` to ``stop`` of an object."""
        body = Body(data=data[start:stop], promised=stop - start, start=start, stop=stop, fault=fault)
        cut = int(where * len(body.data))
        if fault == "corrupt" and body.data:
            body.data = body.data[:cut] + bytes([body.data[cut] ^ 0x55]) + body.data[cut + 1 :]
        elif fault in ("truncated", "reset", "closed early"):
            body.data = body.data[:cut]
            body.promised = cut if fault == "truncated" else body.promised
        elif fault == "garbage":
            body.data, body.promised = b"<html>busy</html>", 17
        elif fault == "wrong range":
            body = Body(data=data, promised=len(data), start=0, stop=len(data), fault=fault)
        return body

    def send_spoilt(self, key: str, body: Body) -> None:
        """Send an answer's body, and end the connection as its fault asks."""
        stall, step = _STALL_SECONDS if body.fault == "stall" else 0.0, 1 << 16
        for at in range(0, len(body.data), step):
            piece = body.data[at : at + step]
            self.wfile.write(piece)
            with self.server.lock:
                self.server.sent[key] += len(piece)
            if self.server.bytes_per_second:
                time.sleep(len(piece) / self.server.bytes_per_second)
            time.sleep(stall)
            stall = 0.0
        if body.fault == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        if body.fault in ("reset", "closed early"):
            self.close_connection = True
