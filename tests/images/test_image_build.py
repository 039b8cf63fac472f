"""Building: which Docker client, which words, what is written down; Docker itself is played by a script here."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from images import build, docker, names

_SCRIPT = """#!{python}
import json, os, sys
words = sys.argv[1:]
with open({log!r}, "a") as log:
    log.write(json.dumps(words) + "\\n")
if words[:1] == ["--version"]:
    print("Docker version {version}, build 0")
elif words[:2] == ["buildx", "version"]:
    sys.exit({no_buildx})
elif words[:2] == ["image", "inspect"]:
    if words[2].startswith("missing"):
        sys.exit("No such image")
    print(json.dumps([{{"Id": "sha256:" + 64 * "1", "Size": 2000000, "RootFS": {{"Layers": ["sha256:a"]}},
        "RepoDigests": ["other@sha256:" + 64 * "0", "here/audit@sha256:" + 64 * "2"]}}]))
elif words[:1] == ["pull"]:
    sys.exit("no such host")
"""


def _play(folder: Path, *, version: str = "20.10.24", buildx: bool = False) -> Path:
    """Put a script named docker into a folder; return where it writes its calls."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "calls"
    text = _SCRIPT.format(python=sys.executable, log=str(log), version=version, no_buildx=int(not buildx))
    (folder / "docker").write_text(text)
    (folder / "docker").chmod(0o755)
    return log


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Docker that can do everything, and the files that a build writes in a folder of the test."""
    log = _play(tmp_path / "bin")
    monkeypatch.setenv("DOCKER", str(tmp_path / "bin" / "docker"))
    monkeypatch.setattr(build, "OUT", tmp_path / "out")
    monkeypatch.setattr(build, "REPORT", tmp_path / "out" / "report.json")
    file = tmp_path / "images.yaml"
    file.write_text(names.FILE.read_text())
    monkeypatch.setattr(build, "read_names", lambda: names.read_names(file))
    monkeypatch.setattr(build, "write_names", lambda found: names.write_names(found, file))
    return log


def _said(log: Path) -> list[list[str]]:
    return [json.loads(line) for line in log.read_text().splitlines()]


@pytest.mark.parametrize(
    ("version", "buildx", "good"), [("20.10.24", False, True), ("28.2.2", False, False), ("28.2.2", True, True)]
)
def test_a_client_without_buildkit_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, buildx: bool, good: bool
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    _play(first, version=version, buildx=buildx)
    _play(second)
    monkeypatch.delenv("DOCKER", raising=False)
    monkeypatch.setenv("PATH", f"{first}:{second}")
    assert docker.client() == str((first if good else second) / "docker")


def test_no_client_is_one_line_with_a_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOCKER", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(docker.DockerError, match=r"none on the PATH\); install docker with buildx"):
        docker.client()


def test_a_host_s_authority_and_index_become_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PIP_CONFIG_FILE", "PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    assert docker.secrets() == []
    file = tmp_path / "own.pem"
    file.touch()
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "missing"))
    assert docker.secrets() == ["--secret", f"id=ca,src={file}"]


def test_a_build_is_written_down(calls: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert build.main(["audit", "--base", "some/base:1", "--python", "3.12"]) == 0
    words = next(words for words in _said(calls) if words[0] == "build")
    assert words[words.index("--file") + 1].endswith("images/audit/Dockerfile")
    assert words[words.index("--tag") + 1] == f"flprivacy/audit:{build.version()}"
    arguments = dict(words[n + 1].split("=", 1) for n, word in enumerate(words) if word == "--build-arg")
    assert (arguments["BASE"], arguments["PYTHON"]) == ("some/base:1", "3.12")
    assert arguments["VERSION"] == build.version()
    assert arguments["SOURCE_DATE_EPOCH"].isdecimal()
    assert "--pull" not in words
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert [(one["profile"], one["bytes"], one["digest"]) for one in report] == [("audit", 2000000, "")]
    assert "2 MB" in capsys.readouterr().out


def test_a_push_writes_the_digest_of_its_own_repository(
    calls: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert build.main(["audit", "--repository", "here", "--push"]) == 0
    assert ["push", f"here/audit:{build.version()}"] in _said(calls)
    found = names.read_names(tmp_path / "images.yaml")
    assert found["audit"] == names.Image(image=f"here/audit:{build.version()}", digest="sha256:" + 64 * "2")
    assert found["train"] == names.read_names()["train"]
    assert "run 'make compile'" in capsys.readouterr().out


def test_a_base_that_nobody_has_is_one_line_with_a_remedy(calls: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert build.main(["audit", "--base", "missing:1"]) == 2
    assert "missing:1: not on this machine, and no registry gives it" in capsys.readouterr().err
    assert not [words for words in _said(calls) if words[0] == "build"]


def test_no_daemon_is_one_line_with_a_remedy(tmp_path: Path) -> None:
    _play(tmp_path)
    (tmp_path / "docker").write_text(
        (tmp_path / "docker").read_text() + 'elif words[:1] == ["version"]:\n    sys.exit(1)\n'
    )
    done = subprocess.run(
        [sys.executable, "-m", "images.build", "audit"],
        env={"DOCKER": str(tmp_path / "docker"), "PATH": "/usr/bin:/bin"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("images: Docker's daemon does not answer")
    assert len(done.stderr.splitlines()) == 1


def test_an_unknown_profile_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        build.main(["gpu"])
    assert "gpu: no such profile; choose of audit, train, mlflow" in capsys.readouterr().err
