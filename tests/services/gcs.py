"""The GCS emulator of the development dependencies, in this process, on loopback."""

import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from gcp_storage_emulator.server import create_server


@contextmanager
def gcs_emulator(bucket: str) -> Iterator[str]:
    """Serve one bucket from memory; yield the value of ``STORAGE_EMULATOR_HOST``."""
    server = create_server("127.0.0.1", 0, in_memory=True, default_bucket=bucket)
    server.start()
    try:
        host, port = server._api._httpd.server_address[:2]
        endpoint = f"http://{host}:{port}"
        urllib.request.urlopen(f"{endpoint}/storage/v1/b/{bucket}", timeout=10).close()
        yield endpoint
    finally:
        server.stop()
