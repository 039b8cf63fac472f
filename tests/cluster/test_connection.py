"""Who may ask, and what is said where the server is not there or is not Kubeflow Pipelines."""

import socket
from pathlib import Path

import pytest
from click.testing import CliRunner

from flprivacy.cli import main
from tests.cluster.command import Command
from tests.services.kfp_state import Fault, KfpState

LIST = ("schedule", "list")


def _without_host(*words: str) -> str:
    result = CliRunner().invoke(main, [*LIST, *words], catch_exceptions=False)
    assert result.exit_code == 2, result.output
    (line,) = result.output.strip().splitlines()
    return line


def test_a_token_comes_from_the_environment(kfp: KfpState, flprivacy: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    kfp.token = "s3cret"
    assert "not signed in (401); set KFP_TOKEN" in flprivacy(*LIST, code=2).output
    monkeypatch.setenv("KFP_TOKEN", "wrong")
    refused = flprivacy(*LIST, code=2).output
    assert "(401)" in refused
    assert "wrong" not in refused
    monkeypatch.setenv("KFP_TOKEN", "s3cret")
    flprivacy(*LIST)


def test_a_token_comes_from_a_pod_s_file_and_is_read_again_for_each_request(
    kfp: KfpState, flprivacy: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    kfp.token = "projected"
    file = tmp_path / "token"
    monkeypatch.setenv("KF_PIPELINES_SA_TOKEN_PATH", str(file))
    assert "there is no such file" in flprivacy(*LIST, code=2).output
    file.write_text("projected")
    flprivacy(*LIST)
    kfp.token = "rotated"
    assert "(401)" in flprivacy(*LIST, code=2).output
    file.write_text("rotated")
    flprivacy(*LIST)


def test_several_users_need_a_namespace(kfp: KfpState, flprivacy: Command) -> None:
    kfp.multi_user = True
    assert "give your profile's namespace with --namespace" in flprivacy(*LIST, code=2).output
    flprivacy("submit", "study", "--no-wait", "--namespace", "team-a")
    flprivacy(*LIST, "--namespace", "team-a")
    assert {p["namespace"] for p in (*kfp.pipelines.values(), *kfp.experiments.values())} == {"team-a"}


def test_an_unreachable_host_is_named(kfp: KfpState) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: refuses every connection
        host = f"http://127.0.0.1:{taken.getsockname()[1]}"
        line = _without_host("--host", host)
    assert line.startswith(f"flprivacy: {host}: cannot connect: Kubeflow Pipelines cannot be reached (")
    assert "3 attempts); check --host (KFP_ENDPOINT)" in line


@pytest.mark.parametrize(
    ("host", "message"),
    [
        ("", "--host is missing"),
        ("kubeflow.example.org", "write it as a URL"),
        ("ftp://kubeflow.example.org", "write it as a URL"),
        ("https://me:hunter2@kubeflow.example.org", "a token is read from KFP_TOKEN"),
        ("https://kubeflow.example.org?token=hunter2", "a token is read from KFP_TOKEN"),
    ],
)
def test_a_wrong_address_is_named_without_what_is_secret(kfp: KfpState, host: str, message: str) -> None:
    line = _without_host("--host", host)
    assert message in line
    assert "hunter2" not in line


def test_a_page_to_sign_in_is_not_taken_for_the_api(kfp: KfpState, flprivacy: Command) -> None:
    kfp.faults = [Fault("HealthzService_GetHealthz", 200, body=b"<html>sign in</html>", kind="text/html")]
    assert "answers with a web page, not with the API" in flprivacy(*LIST, code=2).output


def test_a_ca_that_is_not_there_is_named(kfp: KfpState, flprivacy: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KFP_CA_CERT", "/nowhere/ca.pem")
    assert "KFP_CA_CERT is '/nowhere/ca.pem': there is no such file" in flprivacy(*LIST, code=2).output
