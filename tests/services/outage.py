"""A way to a server that can be cut: to its clients the server is away, though it keeps all that it has."""

import contextlib
import selectors
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

_PIECE = 1 << 16


class Way:
    """Forwards connections on loopback, unless it is cut; then they are closed, and new ones refused.

    Attributes:
        port: where clients connect.
    """

    def __init__(self, port: int) -> None:
        self._server = port
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self._listener: socket.socket | None = None

    @property
    def is_cut(self) -> bool:
        """Whether no connection comes through."""
        return self._listener is None

    def open(self) -> None:
        """Let connections through."""
        listener = socket.create_server(("127.0.0.1", self.port), backlog=128)
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def cut(self) -> None:
        """Close every connection and refuse new ones."""
        listener, self._listener = self._listener, None
        if listener is not None:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # wakes whoever accepts
            listener.close()
        for pair in list(self._pairs):
            _close(pair)

    def cut_for(self, seconds: float) -> threading.Thread:
        """Cut it now; a thread opens it again, which is returned."""
        self.cut()
        opener = threading.Thread(target=lambda: (time.sleep(seconds), self.open()))
        opener.start()
        return opener

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.create_connection(("127.0.0.1", self._server))
                threading.Thread(target=self._forward, args=(client, server), daemon=True).start()

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        pair, other = (client, server), {client: server, server: client}
        self._pairs.add(pair)
        with selectors.DefaultSelector() as selector, contextlib.suppress(OSError, ValueError):
            for one in pair:
                selector.register(one, selectors.EVENT_READ)
            while all(self._moved(key.fileobj, other) for key, _ in selector.select()):
                pass
        self._pairs.discard(pair)
        _close(pair)

    @staticmethod
    def _moved(source: object, other: dict[socket.socket, socket.socket]) -> bool:
        assert isinstance(source, socket.socket)
        data = source.recv(_PIECE)
        if data:
            other[source].sendall(data)
        return bool(data)


def _close(pair: tuple[socket.socket, socket.socket]) -> None:
    for one in pair:
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
        one.close()


@contextmanager
def way_to(port: int) -> Iterator[Way]:
    """Yield an open way to a server's port."""
    way = Way(port)
    way.open()
    try:
        yield way
    finally:
        way.cut()
