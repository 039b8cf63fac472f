"""Make a stand-in for the base image with debootstrap, on a machine that reaches Debian's mirror but no registry.

Usage, as root on Debian: ``python -m images.base``; then ``make images BASE=flprivacy/base-debootstrap:bookworm``.
It holds Debian's own Python 3.11 where the default base holds Docker's build of it; nothing else differs for a step.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from images.docker import DockerError, client, has_image, need_daemon

STAND_IN = "flprivacy/base-debootstrap:bookworm"
_PACKAGES = "python3,python3-venv,python3-pip,ca-certificates"
# A registry's image is trimmed alike; licences (usr/share/doc/*/copyright) stay.
_LEFT_OUT = ("var/cache/apt", "var/lib/apt/lists", "var/log", "usr/share/man", "usr/share/locale", "usr/share/info")


def make_stand_in(*, suite: str = "bookworm", mirror: str = "") -> str:
    """Return the stand-in's name; make it if it is not on this machine.

    Args:
        suite: release of Debian.
        mirror: of Debian; empty: debootstrap's default.

    Raises:
        DockerError: debootstrap is missing or fails, or Docker does.
    """
    need_daemon()
    if has_image(STAND_IN):
        return STAND_IN
    if shutil.which("debootstrap") is None:
        raise DockerError("debootstrap is missing; as root on Debian run: apt-get install debootstrap")
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:  # not /tmp, which may be mounted without devices
        root = Path(folder) / "root"
        command = ["debootstrap", "--variant=minbase", f"--include={_PACKAGES}", suite, str(root), mirror]
        done = subprocess.run([word for word in command if word], capture_output=True, text=True, check=False)
        if done.returncode:
            last = (done.stdout + done.stderr).strip().splitlines()[-1:]
            raise DockerError(f"debootstrap failed with {done.returncode}: {' '.join(last)}")
        _trim(root)
        _import(root)
    return STAND_IN


def _trim(root: Path) -> None:
    for name in _LEFT_OUT:
        shutil.rmtree(root / name, ignore_errors=True)
        (root / name).mkdir(parents=True)
    for path in (root / "usr/share/doc").rglob("*"):
        if path.is_symlink() or (path.is_file() and path.name != "copyright"):
            path.unlink()
    for folder in list(root.rglob("__pycache__")):
        shutil.rmtree(folder)


def _import(root: Path) -> None:
    """Hand the folder to Docker as one layer."""
    archive = ["tar", "--directory", str(root), "--numeric-owner", "--sort=name", "--create", "."]
    changes = ["--change", 'CMD ["python3"]', "--change", "ENV LANG=C.UTF-8"]
    with subprocess.Popen(archive, stdout=subprocess.PIPE) as tar:
        done = subprocess.run([client(), "import", *changes, "-", STAND_IN], stdin=tar.stdout, check=False)
    if done.returncode or tar.returncode:
        raise DockerError(f"docker import of {root} failed with {done.returncode}, tar with {tar.returncode}")


def main() -> int:
    """Make the stand-in; return the exit code."""
    try:
        sys.stdout.write(f"{make_stand_in()}\n")
    except DockerError as error:
        sys.stderr.write(f"images: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
