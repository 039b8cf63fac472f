"""Docker: the machine's own daemon if one answers, else one that runs as long as it is needed.

Run it by hand, as root on Debian, with ``python -m tests.services.docker_daemon``; it serves until it is interrupted.
"""

import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from images.docker import DockerError, docker, need_daemon
from tests.services.debian_packages import need_programs

_READY_SECONDS = 120.0
# No bridge: what runs here uses the machine's own network, and nobody has to change its firewall.
_COMMAND = ("dockerd", "--bridge=none", "--iptables=false", "--ip6tables=false")


@contextmanager
def docker_daemon() -> Iterator[str]:
    """See that Docker answers while this lasts; yields the daemon's version.

    Raises:
        RuntimeError: it cannot be installed or does not start.
    """
    try:
        need_daemon()
    except DockerError:
        with _own_daemon():
            yield docker("version", "--format", "{{.Server.Version}}")
        return
    yield docker("version", "--format", "{{.Server.Version}}")


@contextmanager
def _own_daemon() -> Iterator[None]:
    need_programs(("dockerd", "docker"), ("docker.io",))
    with tempfile.NamedTemporaryFile(prefix="dockerd-", suffix=".log") as log:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", *_COMMAND], stdout=log, stderr=log, start_new_session=True
        )
        try:
            _wait(process, Path(log.name))
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=60)


def _wait(process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while True:
        try:
            return need_daemon()
        except DockerError as error:
            if process.poll() is not None or time.monotonic() > deadline:
                last = " ".join(log.read_text(errors="replace").splitlines()[-3:])
                raise RuntimeError(f"dockerd did not start ({error}); its log ends with: {last}") from error
            time.sleep(0.2)


def main() -> int:
    """Serve until interrupted; stop cleanly on SIGTERM too."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with docker_daemon() as version:
        print(f"Docker {version} answers; end with Ctrl-C", flush=True)
        signal.pause()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
