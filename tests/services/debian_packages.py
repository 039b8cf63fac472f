"""Install Debian packages that the tests' servers come from. Fails with one clear message; never skips."""

import os
import shutil
import subprocess
from collections.abc import Sequence

_SECONDS = 900


def need_programs(programs: Sequence[str], packages: Sequence[str]) -> None:
    """See that ``programs`` are there; install ``packages`` with apt-get otherwise.

    Raises:
        RuntimeError: a program is missing and cannot be installed here; the message says what to run.
    """
    missing = [name for name in programs if shutil.which(name) is None]
    if not missing:
        return
    remedy = f"as root on Debian 12 run: apt-get install --no-install-recommends {' '.join(packages)}"
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        raise RuntimeError(f"the tests need {missing[0]}, which is missing and cannot be installed here; {remedy}")
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    wait = ["-o", "DPkg::Lock::Timeout=300", "-qq"]
    for command in (
        ["apt-get", *wait, "update"],
        ["apt-get", *wait, "install", "-y", "--no-install-recommends", *packages],
    ):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=_SECONDS, check=False)
        if done.returncode and "install" in command:
            last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
            raise RuntimeError(f"the tests need {missing[0]}; apt-get failed ({' '.join(last)}); {remedy}")
    still = [name for name in programs if shutil.which(name) is None]
    if still:
        raise RuntimeError(f"the tests need {still[0]}, which {' '.join(packages)} did not bring; {remedy}")
