"""Build the images, and write their names and digests to ``images/images.yaml``.

Usage: ``python -m images.build [PROFILE ...] [--base IMAGE] [--python 3.11] [--repository NAME] [--push] [--bill]``
"""

import argparse
import json
import os
import subprocess
import sys
import time
import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path

from images.docker import DockerError, docker, has_image, need_daemon, secrets
from images.names import PROFILES, Image, read_names, write_names

ROOT = Path(__file__).parents[1]
OUT = ROOT / "build" / "images"
REPORT = OUT / "report.json"
_PYTHON = "3.11"
_MB = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Built:
    """What came of one image.

    Attributes:
        profile: of the image.
        image: ``repository:tag``.
        id: of its configuration, on this machine.
        digest: of what was pushed; empty if nothing was.
        bytes: of all its layers, unpacked.
        layers: digests of the unpacked layers, the base's first.
        seconds: that the build took.
        base: name of the base image.
    """

    profile: str
    image: str
    id: str
    digest: str
    bytes: int
    layers: list[str]
    seconds: float
    base: str


def version() -> str:
    """Return the package's version, which is the images' tag."""
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"])


def _git(*words: str) -> str:
    """Return what git says of this folder; empty outside a repository."""
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def _revision() -> str:
    commit = _git("rev-parse", "HEAD") or "unknown"
    return f"{commit}-changed" if _git("status", "--porcelain", "--", "src", "images", "pyproject.toml") else commit


def build_words(profile: str, *, base: str, python: str, plain: bool = True) -> list[str]:
    """Return the words of ``docker build`` for a profile, without what names its result.

    Args:
        profile: one of PROFILES.
        base: name of the base image.
        python: version of Python that the base has.
        plain: show every line of the build.
    """
    arguments = {
        "BASE": base,
        "PYTHON": python,
        "VERSION": version(),
        "REVISION": _revision(),
        # Newer builders give it to the image as the time of its making; ours gives files a fixed time anyway.
        "SOURCE_DATE_EPOCH": os.environ.get("SOURCE_DATE_EPOCH") or _git("log", "-1", "--format=%ct") or "0",
    }
    words = ["build", "--network", "host", "--file", str(ROOT / "images" / profile / "Dockerfile"), *secrets()]
    words += ["--progress", "plain"] if plain else []
    for name, value in arguments.items():
        words += ["--build-arg", f"{name}={value}"]
    return words


def build(profile: str, *, repository: str, base: str, python: str, push: bool = False) -> Built:
    """Build one image, and push it if asked to.

    Raises:
        DockerError: the build or the push fails.
    """
    image = f"{repository}/{profile}:{version()}"
    started = time.monotonic()
    docker(*build_words(profile, base=base, python=python), "--tag", image, str(ROOT), quiet=False)
    seconds = time.monotonic() - started
    digest = _push(image) if push else ""
    found = json.loads(docker("image", "inspect", image))[0]
    return Built(
        profile=profile,
        image=image,
        id=found["Id"],
        digest=digest,
        bytes=found["Size"],
        layers=found["RootFS"]["Layers"],
        seconds=round(seconds, 1),
        base=base,
    )


def _push(image: str) -> str:
    """Push an image and return the digest under which its registry has it."""
    docker("push", image, quiet=False)
    repository = image.rpartition(":")[0]
    known = json.loads(docker("image", "inspect", image))[0]["RepoDigests"]
    digests = [name.rpartition("@")[2] for name in known if name.rpartition("@")[0] == repository]
    if not digests:
        raise DockerError(f"{image} was pushed, but Docker knows no digest of it (it knows: {', '.join(known)})")
    return digests[-1]


def write_bill(profile: str, *, base: str, python: str) -> list[Path]:
    """Write the bill of materials and the licences of what an image holds, and return the files.

    Raises:
        DockerError: the build fails.
    """
    words = build_words(profile, base=base, python=python)
    docker(*words, "--target", "bill", "--output", f"type=local,dest={OUT}", str(ROOT), quiet=False)
    return [OUT / f"{profile}.cdx.json", OUT / f"{profile}.licences.csv"]


def _need_base(base: str) -> None:
    if has_image(base):
        return
    try:
        docker("pull", base, quiet=False)
    except DockerError as error:
        raise DockerError(
            f"{base}: not on this machine, and no registry gives it ({error}); give another by BASE=, or on Debian "
            "make a stand-in with python -m images.base"
        ) from error


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _remember(built: list[Built]) -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    known = {one["profile"]: one for one in json.loads(REPORT.read_text())} if REPORT.exists() else {}
    known |= {one.profile: asdict(one) for one in built}
    REPORT.write_text(json.dumps(list(known.values()), indent=2) + "\n")
    names = read_names() | {one.profile: Image(image=one.image, digest=one.digest) for one in built}
    for one in built:
        _say(f"{one.profile:8}{one.image:40}{one.bytes / _MB:8,.0f} MB{one.seconds:8.0f} s  {one.id[7:19]}")
    if write_names(names):
        _say("images/images.yaml has changed: run 'make compile', so that the pipelines name these images")


def _arguments(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m images.build", description=__doc__)
    parser.add_argument("profiles", nargs="*", metavar="PROFILE", help=f"which: {', '.join(PROFILES)} (all)")
    parser.add_argument("--base", default="", help="base image (python:PYTHON-slim-bookworm)")
    parser.add_argument("--python", default=_PYTHON, help=f"version of Python in the base ({_PYTHON})")
    parser.add_argument("--repository", default="flprivacy", help="what images are named after (flprivacy)")
    parser.add_argument("--push", action="store_true", help="push them, and write their digests down")
    parser.add_argument("--bill", action="store_true", help="instead, write bills of materials and licences")
    found = parser.parse_args(words)
    wrong = [name for name in found.profiles if name not in PROFILES]
    if wrong:
        parser.error(f"{wrong[0]}: no such profile; choose of {', '.join(PROFILES)}")
    found.profiles = found.profiles or list(PROFILES)
    found.base = found.base or f"python:{found.python}-slim-bookworm"
    return found


def main(words: list[str] | None = None) -> int:
    """Build what the command line asks for; return the exit code."""
    asked = _arguments(words)
    try:
        need_daemon()
        _need_base(asked.base)
        if asked.bill:
            for profile in asked.profiles:
                for file in write_bill(profile, base=asked.base, python=asked.python):
                    _say(str(file))
            return 0
        _remember(
            [
                build(profile, repository=asked.repository, base=asked.base, python=asked.python, push=asked.push)
                for profile in asked.profiles
            ]
        )
    except DockerError as error:
        sys.stderr.write(f"images: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
