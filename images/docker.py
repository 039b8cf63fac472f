"""Call Docker's command line."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

_WITHOUT_BUILDKIT = 23  # from this major version on, a client needs the plugin buildx


class DockerError(Exception):
    """Docker is missing, does not answer, or failed; the message is one line with a remedy."""


def client() -> str:
    """Return the path of a Docker client that can build with BuildKit: ``$DOCKER``, else the first on the PATH.

    Raises:
        DockerError: there is none.
    """
    given = os.environ.get("DOCKER")
    found = [given] if given else _on_path()
    for program in found:
        if _has_buildx(program) or 0 < _major(program) < _WITHOUT_BUILDKIT:
            return program
    tried = ", ".join(found) or "none on the PATH"
    raise DockerError(f"no Docker client that can build with BuildKit (tried: {tried}); install docker with buildx")


def _on_path() -> list[str]:
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    found = [shutil.which("docker", path=folder) for folder in folders]
    return list(dict.fromkeys(program for program in found if program))


def _has_buildx(program: str) -> bool:
    return _finished([program, "buildx", "version"]) is not None


def _major(program: str) -> int:
    text = _finished([program, "--version"]) or ""
    number = text.removeprefix("Docker version ").partition(".")[0]
    return int(number) if number.isdecimal() else 0


def _finished(command: list[str]) -> str | None:
    """Return what a command prints; None if it cannot be started or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None


def docker(*words: str, quiet: bool = True, environment: Mapping[str, str] | None = None) -> str:
    """Run one Docker command and return what it prints.

    Args:
        words: the command, such as ``("image", "inspect", name)``.
        quiet: keep what it prints to be returned; otherwise it is shown, and the answer is empty.
        environment: variables to add.

    Raises:
        DockerError: it fails.
    """
    done = subprocess.run(
        [client(), *words],
        env=os.environ | {"DOCKER_BUILDKIT": "1"} | dict(environment or {}),
        stdout=subprocess.PIPE if quiet else None,
        stderr=subprocess.PIPE if quiet else None,
        text=True,
        check=False,
    )
    if done.returncode:
        last = " ".join(((done.stderr or "") + (done.stdout or "")).strip().splitlines()[-1:])
        raise DockerError(f"docker {' '.join(words[:2])} failed with {done.returncode}: {last or 'see above'}")
    return (done.stdout or "").strip()


def need_daemon() -> None:
    """Ask Docker's daemon for its version.

    Raises:
        DockerError: it does not answer.
    """
    try:
        docker("version", "--format", "{{.Server.Version}}")
    except DockerError as error:
        raise DockerError(f"Docker's daemon does not answer ({error}); start it, or set DOCKER_HOST") from error


def has_image(name: str) -> bool:
    """Tell whether an image of that name is on this machine."""
    try:
        docker("image", "inspect", name)
    except DockerError:
        return False
    return True


def secrets() -> list[str]:
    """Return the options that hand this machine's certificate authority and package index to a build.

    ``$PIP_CONFIG_FILE`` is the secret ``pip``; the first of ``$PIP_CERT``, ``$SSL_CERT_FILE`` and
    ``$REQUESTS_CA_BUNDLE`` is the secret ``ca``.
    """
    options = []
    for name, variables in (("pip", ("PIP_CONFIG_FILE",)), ("ca", ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"))):
        files = [os.environ[variable] for variable in variables if os.environ.get(variable)]
        if files and Path(files[0]).is_file():
            options += ["--secret", f"id={name},src={files[0]}"]
    return options
