"""A real PostgreSQL on loopback, with a password and an empty database ``mlflow``.

Run it by hand with ``python -m tests.services.postgres``; it prints the URL and serves until it is interrupted.
"""

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from tests.services.debian_packages import need_programs

_READY_SECONDS = 120.0
_USER, _DATABASE = "flprivacy", "mlflow"


def postgres_programs() -> Path:
    """Return the folder of initdb, postgres, pg_dump and the rest; Debian keeps it off the path.

    Raises:
        RuntimeError: there is no PostgreSQL and it cannot be installed here; the message says what to run.
    """
    for attempt in range(2):
        if found := shutil.which("initdb"):
            return Path(found).resolve().parent
        if versions := sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4])):
            return versions[-1].parent
        if not attempt:
            need_programs(("pg_createcluster",), ("postgresql",))
    raise RuntimeError("the tests need PostgreSQL's server; as root on Debian 12 run: apt-get install postgresql-15")


def libpq_environment(url: str) -> dict[str, str]:
    """Return what libpq's programs read instead of a URL."""
    parts = urlsplit(url)
    return {
        "PGHOST": parts.hostname or "",
        "PGPORT": str(parts.port),
        "PGUSER": parts.username or "",
        "PGPASSWORD": parts.password or "",
        "PGDATABASE": parts.path.lstrip("/"),
    }


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _wait(server: "subprocess.Popen[bytes]", programs: Path, port: int, log: Path) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    question = [str(programs / "pg_isready"), "--quiet", "--host=127.0.0.1", f"--port={port}"]
    while subprocess.run(question, check=False).returncode:
        if server.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"PostgreSQL did not start; {log} ends with: {log.read_text()[-500:]}")
        time.sleep(0.05)


@contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """Run a server; its log goes to ``folder``, its data to a temporary folder that is removed at the end.

    Yields:
        ``postgresql+psycopg2://user:password@127.0.0.1:port/mlflow``
    """
    programs, port, password = postgres_programs(), _free_port(), secrets.token_hex(16)
    log = folder / "postgres.log"
    # The server refuses to run as root, and another user cannot enter root's own temporary folders.
    user = "nobody" if os.geteuid() == 0 else None
    work = Path(tempfile.mkdtemp(prefix="flprivacy-postgres-"))
    data, secret = work / "data", work / "password"
    secret.write_text(password)
    if user:
        for path in (work, secret):
            shutil.chown(path, user)
    try:
        initdb = [programs / "initdb", f"--pgdata={data}", f"--username={_USER}", f"--pwfile={secret}"]
        initdb += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]
        subprocess.run(initdb, user=user, cwd=work, check=True, capture_output=True)
        # No durability: a crash of the machine ends the test anyway.
        quick = [word for name in ("fsync", "synchronous_commit", "full_page_writes") for word in ("-c", f"{name}=off")]
        command = [programs / "postgres", "-D", data, "-h", "127.0.0.1", "-p", str(port), "-k", work, *quick]
        with log.open("wb") as output:
            server = subprocess.Popen(command, user=user, cwd=work, stdout=output, stderr=output)
        try:
            _wait(server, programs, port, log)
            url = f"postgresql+psycopg2://{_USER}:{password}@127.0.0.1:{port}/{_DATABASE}"
            environment = os.environ | libpq_environment(url)
            subprocess.run([programs / "createdb", _DATABASE], env=environment, check=True, capture_output=True)
            yield url
        finally:
            server.send_signal(signal.SIGINT)  # ends the connections that are left, too
            server.wait(_READY_SECONDS)
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # stopped either way, the server goes too
    with contextlib.suppress(KeyboardInterrupt), tempfile.TemporaryDirectory() as here, postgres(Path(here)) as address:
        print(address, flush=True)
        signal.pause()
