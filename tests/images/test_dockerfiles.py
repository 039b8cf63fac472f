"""Dockerfiles: locked by hashes, nothing secret in a layer, a numeric user at the end, alike where they should be."""

import re
from pathlib import Path

import pytest

from images.names import PROFILES

ROOT = Path(__file__).parents[2]


def _text(profile: str) -> str:
    return (ROOT / "images" / profile / "Dockerfile").read_text()


def _instructions(profile: str) -> list[str]:
    """Return the instructions without comments, each on one line."""
    lines = [line for line in _text(profile).splitlines() if not line.startswith("#")]
    return [line for line in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines() if line.strip()]


@pytest.fixture(params=PROFILES)
def profile(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_base_and_python_are_build_arguments(profile: str) -> None:
    instructions = _instructions(profile)
    assert instructions[:2] == ["ARG PYTHON=3.11", "ARG BASE=python:${PYTHON}-slim-bookworm"]
    bases = [line.split()[1] for line in instructions if line.startswith("FROM")]
    stages = [line.split()[3] for line in instructions if re.match(r"FROM \S+ AS ", line)]
    assert set(bases) <= {"${BASE}", "scratch", *stages}
    assert not _text(profile).lower().startswith("# syntax")


def test_the_last_stage_is_fresh_and_runs_as_a_number(profile: str) -> None:
    instructions = _instructions(profile)
    last = instructions[max(n for n, line in enumerate(instructions) if line.startswith("FROM")) :]
    assert last[0] == "FROM ${BASE} AS runtime"
    assert "USER 10001:10001" in last
    assert not [line for line in last if line.startswith(("ENTRYPOINT", "VOLUME"))]
    copied = [line for line in last if line.startswith(("COPY", "ADD"))]
    assert copied
    assert all(line.startswith("COPY --from=") for line in copied)
    assert not [line for line in last if line.startswith("RUN") and "rm -rf" not in line]
    assert "org.opencontainers.image.version" in "".join(last)
    assert "org.opencontainers.image.revision" in "".join(last)


def test_every_installation_is_locked(profile: str) -> None:
    installs = re.findall(r"pip (?:--python \S+ )?(?:install|wheel) [^&;]*", " ".join(_instructions(profile)))
    assert len(installs) >= 3
    for words in installs:
        assert "--no-deps" in words
        assert "--require-hashes" in words or "--no-index" in words
    assert not re.search(r"apt-get|curl|wget|https?://|--index-url|--trusted-host", _text(profile))


def test_what_a_host_needs_to_install_is_a_secret_and_in_no_layer(profile: str) -> None:
    instructions = _instructions(profile)
    for line in instructions:
        if re.search(r"--require-hashes", line):
            assert "--mount=type=secret,id=ca" in line
            assert "--mount=type=secret,id=pip" in line
            assert "--mount=type=cache" in line
        assert not re.match(r"(ARG|ENV) .*(CERT|CA_BUNDLE|INDEX|PASSWORD|TOKEN)", line)


def test_no_file_tells_when_it_was_made(profile: str) -> None:
    text = " ".join(_instructions(profile))
    copied = re.findall(r"COPY --from=\w+ (\S+?)/? \S+", text)
    assert {"/opt/flprivacy", "/own"} <= set(copied)
    assert "find /opt/flprivacy -exec touch --no-dereference --date=1980-01-01" in text
    assert "find /own -exec touch --no-dereference --date=1980-01-01" in text
    assert text.count("compileall") == text.count("--invalidation-mode unchecked-hash") >= 1


def test_audit_and_train_differ_only_by_their_profile() -> None:
    audit, train = (
        [
            line
            for line in _instructions(name)
            if not re.match(r"ARG PROFILE=|LABEL |ENV NVIDIA_DRIVER_CAPABILITIES=compute,utility$", line)
        ]
        for name in ("audit", "train")
    )
    assert audit == train


def test_the_context_holds_what_is_copied_and_nothing_else(profile: str) -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert lines[0] == "*"
    allowed = {line[1:] for line in lines if line.startswith("!")}
    needed: set[str] = set()
    for line in _instructions(profile):
        if line.startswith("COPY ") and "--from" not in line:
            needed |= set(line.replace("${PROFILE}", profile).split()[1:-1])
    assert needed <= allowed
    assert all((ROOT / path).exists() for path in allowed)
    assert {"**/__pycache__", "**/*.egg-info"} <= set(lines)
