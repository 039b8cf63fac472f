"""A real S3 server: Ceph's gateway over one monitor and one object store daemon, all on loopback.

Run it by hand with ``python -m tests.services.ceph``; it prints the environment that a client needs, and serves until
it is interrupted.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.services.debian_packages import need_programs

PROGRAMS = ("ceph", "ceph-mon", "ceph-osd", "radosgw", "radosgw-admin", "monmaptool")
PACKAGES = ("radosgw", "ceph-mon", "ceph-osd", "ceph-mgr", "ceph-common")
_READY_SECONDS = 180.0
_DISK_BYTES = 16 << 30  # sparse: only what is stored takes room

_CONFIGURATION = """
[global]
fsid = {fsid}
mon host = 127.0.0.1:{monitor}
auth cluster required = none
auth service required = none
auth client required = none
ms bind ipv4 = true
ms bind ipv6 = false
public addr = 127.0.0.1
cluster addr = 127.0.0.1
run dir = {folder}
log file = {folder}/$name.log
admin socket = {folder}/$name.asok
pid file = {folder}/$name.pid
crash dir = {folder}
mon data = {folder}/mon
osd data = {folder}/osd
osd objectstore = bluestore
bluestore block size = {disk}
bluestore fsck on mount = false
osd memory target = 900M
osd op num shards = 2
osd op num threads per shard = 1
osd crush chooseleaf type = 0
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd pool default pg autoscale mode = off
mon allow pool size one = true
mon max pg per osd = 1000
mon warn on pool no redundancy = false
mon data avail crit = 1
mon osd full ratio = .99
mon osd nearfull ratio = .99
mon osd backfillfull ratio = .99
osd failsafe full ratio = .99
[client]
ms mon client mode = crc
rgw thread pool size = 64
rgw enable usage log = false
rgw enable gc threads = false
rgw enable lc threads = false
rgw run sync thread = false
[client.rgw]
rgw frontends = beast endpoint=127.0.0.1:{gateway}
[client.sts]
rgw frontends = beast endpoint=127.0.0.1:{sts}
rgw s3 auth use sts = true
rgw sts key = flprivacyteststs
rgw sts min session duration = 1
"""
_SENT = re.compile(r'"GET ([^\s?]+)\S* HTTP/1\.1" 2\d\d (\d+)')
_ROLE = "reader"
_TRUSTED = {"Effect": "Allow", "Principal": {"AWS": ["arn:aws:iam:::user/tester"]}, "Action": ["sts:AssumeRole"]}
_ALLOWED = {"Effect": "Allow", "Action": ["s3:*"], "Resource": "arn:aws:s3:::*"}
_TRUST, _RIGHTS = (json.dumps({"Version": "2012-10-17", "Statement": [one]}) for one in (_TRUSTED, _ALLOWED))


@dataclass(frozen=True, kw_only=True)
class Gateway:
    """A running gateway.

    Attributes:
        endpoint: its URL.
        sts_endpoint: URL of a second gateway to the same buckets, which knows temporary credentials of ``role``.
        role: who may be assumed there.
        access_key: of the one user.
        secret_key: of the one user.
        folder: where its configuration, data and logs lie.
    """

    endpoint: str
    sts_endpoint: str
    role: str
    access_key: str
    secret_key: str
    folder: Path

    def environment(self) -> dict[str, str]:
        """Return the variables that the SDK's own chain reads."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def admin(self, *words: str) -> str:
        """Run ``radosgw-admin`` and return what it prints."""
        return _run("radosgw-admin", "-c", str(self.folder / "ceph.conf"), *words)

    def sent_bytes(self, *suffixes: str) -> int:
        """Return the bytes that the gateway has sent so far of objects with these suffixes, by its own access log."""
        log, mark = self.folder / "client.rgw.log", f"/{uuid.uuid4().hex}"
        with contextlib.suppress(urllib.error.HTTPError):  # there is none; what was logged before is then written
            urllib.request.urlopen(self.endpoint + mark, timeout=30).close()
        deadline = time.monotonic() + _READY_SECONDS
        while mark not in (text := log.read_text(errors="replace")):
            if time.monotonic() > deadline:
                raise RuntimeError(f"{log}: the gateway did not log a request in {_READY_SECONDS:.0f} s")
            time.sleep(0.05)
        return sum(int(size) for path, size in _SENT.findall(text) if path.endswith(suffixes))


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        last = " ".join((done.stderr.strip() or done.stdout.strip()).splitlines()[-1:])
        raise RuntimeError(f"{' '.join(command[:4])} failed with {done.returncode}: {last}")
    return done.stdout


def _start(folder: Path, *command: str) -> subprocess.Popen[bytes]:
    log = (folder / f"{command[0]}.out").open("ab")
    with log:
        return subprocess.Popen(
            # Die with the tests, even if those are killed.
            ["setpriv", "--pdeathsig", "KILL", *command, "-c", str(folder / "ceph.conf"), "-f"],
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )


def _wait_until_it_answers(url: str, processes: list[subprocess.Popen[bytes]], folder: Path) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline:
        for process in processes:
            if process.poll() is not None:
                raise RuntimeError(f"{process.args} ended with {process.returncode}; its logs are in {folder}")
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except urllib.error.HTTPError:
            return  # it answers
        except OSError:
            time.sleep(0.2)
    raise RuntimeError(f"Ceph's gateway did not answer at {url} in {_READY_SECONDS:.0f} s; its logs are in {folder}")


def _stop(processes: list[subprocess.Popen[bytes]]) -> None:
    for process in reversed(processes):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # nothing in it outlives the tests
        process.wait(timeout=30)


@contextmanager
def ceph_gateway(folder: Path | None = None) -> Iterator[Gateway]:
    """Start a gateway with one user, yield it, and stop and remove everything at the end.

    Raises:
        RuntimeError: it cannot be installed or does not start; never silently nothing.
    """
    need_programs(PROGRAMS, PACKAGES)
    # A short path: a UNIX socket's name has at most 107 characters.
    root = Path(tempfile.mkdtemp(prefix="ceph-", dir=folder))
    monitor, port, sts = _free_ports(3)
    fsid = str(uuid.uuid4())
    text = _CONFIGURATION.format(fsid=fsid, monitor=monitor, gateway=port, sts=sts, folder=root, disk=_DISK_BYTES)
    (root / "ceph.conf").write_text(text)
    processes: list[subprocess.Popen[bytes]] = []
    try:
        _start_cluster(root, fsid, monitor, processes)
        gateway = Gateway(
            endpoint=f"http://127.0.0.1:{port}",
            sts_endpoint=f"http://127.0.0.1:{sts}",
            role=f"arn:aws:iam:::role/{_ROLE}",
            access_key="TESTACCESSKEY",
            secret_key=uuid.uuid4().hex,
            folder=root,
        )
        keys = ("--access-key", gateway.access_key, "--secret-key", gateway.secret_key)
        gateway.admin("user", "create", "--uid", "tester", "--display-name", "tester", *keys)
        gateway.admin("role", "create", "--role-name", _ROLE, "--assume-role-policy-doc", _TRUST)
        gateway.admin("role-policy", "put", "--role-name", _ROLE, "--policy-name", "all", "--policy-doc", _RIGHTS)
        processes.append(_start(root, "radosgw", "-n", "client.rgw"))
        _wait_until_it_answers(gateway.endpoint, processes, root)
        processes.append(_start(root, "radosgw", "-n", "client.sts"))
        _wait_until_it_answers(gateway.sts_endpoint, processes, root)
        yield gateway
    finally:
        _stop(processes)
        shutil.rmtree(root, ignore_errors=True)


def _start_cluster(root: Path, fsid: str, port: int, processes: list[subprocess.Popen[bytes]]) -> None:
    conf = ("-c", str(root / "ceph.conf"))
    address = f"[v2:127.0.0.1:{port}]"
    _run("monmaptool", "--create", "--clobber", "--fsid", fsid, "--addv", "a", address, str(root / "monmap"))
    (root / "mon").mkdir()
    _run("ceph-mon", *conf, "--mkfs", "-i", "a", "--monmap", str(root / "monmap"))
    processes.append(_start(root, "ceph-mon", "-i", "a"))
    number = str(uuid.uuid4())
    _run("ceph", *conf, "--connect-timeout", "60", "osd", "new", number, "0")
    (root / "osd").mkdir()
    _run("ceph-osd", *conf, "-i", "0", "--mkfs", "--osd-uuid", number)
    processes.append(_start(root, "ceph-osd", "-i", "0"))


def main() -> int:
    """Serve until interrupted; stop cleanly on SIGTERM too."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    started = time.monotonic()
    with ceph_gateway() as gateway, contextlib.suppress(KeyboardInterrupt):
        for name, value in gateway.environment().items():
            print(f"export {name}={value}")
        print(f"# ready after {time.monotonic() - started:.1f} s; end with Ctrl-C", flush=True)
        signal.pause()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
