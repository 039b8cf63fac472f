"""Filed exactly once: when the server dies half-way, when a logger dies, when several log at once."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from flprivacy.core.retry import PATIENCE_VARIABLE
from flprivacy.steps.log_mlflow import log_mlflow
from flprivacy.tracking import attempts, audits, spool
from flprivacy.tracking.results import sync_spool
from tests.reporting.example_audit import example_audit
from tests.services.outage import way_to
from tests.tracking.mlflow_server import Server

AUDIT = example_audit(n_sites=3, keep=("central", "untrained", "pixels"), attributes=("site", "sex"))
N_CHILDREN = len(AUDIT.verdicts)


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for answers however busy the machine is; a server that is dead refuses at once all the same."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "300")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    found = Server(tmp_path_factory.mktemp("server"))
    found.start()
    yield found
    found.kill()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    AUDIT.write(tmp_path / "result" / "audit.json")
    (tmp_path / "result" / "report.html").write_text("<html></html>")
    return tmp_path / "result"


def _runs(uri: str, kind: str) -> list[Run]:
    client = MlflowClient(uri)
    experiments = [e.experiment_id for e in client.search_experiments()]
    return list(client.search_runs(experiments, f"tags.`audit.kind` = '{kind}'"))


def _check_filed_once(uri: str) -> str:
    (parent,) = _runs(uri, "audit")
    children = _runs(uri, "attack")
    assert {run.info.status for run in (parent, *children)} == {"FINISHED"}
    assert len(children) == N_CHILDREN
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent.info.run_id}
    return str(parent.info.run_id)


def test_a_server_that_dies_half_way_costs_nothing_and_leaves_nothing_twice(
    server: Server, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server is killed while a child is logged, the step ends well all the same, and a later sync files it once."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    store, seen, log_child = str(tmp_path / "store"), [], audits._log_child

    def dying(*arguments: object) -> None:
        if len(seen) == 2:
            server.kill()
        seen.append(arguments)
        log_child(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as during:
        during.setattr(audits, "_log_child", dying)
        _forget(server)
        assert log_mlflow(audit=folder, report=folder, store=store) == ""
    assert len(spool.waiting(store)) == 1
    server.start()
    unfinished = _runs(server.uri, "audit")
    assert [run.info.status for run in unfinished] == ["RUNNING"], "what the dead server had been told"
    (logged,) = _as_another_process(server, store)
    assert _check_filed_once(server.uri) == logged
    assert spool.waiting(store) == []
    assert log_mlflow(audit=folder, report=folder, store=store) == logged


def _forget(server: Server) -> None:
    """Delete what an earlier test filed."""
    client = MlflowClient(server.uri)
    for run in (*_runs(server.uri, "audit"), *_runs(server.uri, "attack")):
        client.delete_run(run.info.run_id)


def _as_another_process(server: Server, store: str) -> list[str]:
    """Log the spool from a process that outlives the first, as ``flprivacy mlflow sync`` does."""
    script = (
        "from flprivacy.tracking import attempts\n"
        f"attempts.owner_lives = lambda named: named.rpartition(':')[2] != '{os.getpid()}'\n"  # as if it had ended
        "from flprivacy.tracking.results import sync_spool\n"
        f"print(*[one.run_id for one in sync_spool({store!r})])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"MLFLOW_TRACKING_URI": server.uri},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


def test_several_syncs_at_once_leave_one(
    server: Server, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri, store = server.uri, str(tmp_path / "store")
    _forget(server)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert log_mlflow(audit=folder, report=folder, store=store) == ""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    go = tmp_path / "go"
    script = (
        "import time, sys, pathlib\n"
        "from flprivacy.tracking.results import sync_spool\n"
        "from flprivacy.tracking import spool\n"
        "from flprivacy.tracking import attempts\n"
        f"store, go, me = {store!r}, pathlib.Path({str(go)!r}), pathlib.Path(sys.argv[1])\n"
        "settle, calls = attempts.settle, []\n"
        "def slow(client, digest, **more):\n"
        "    found = settle(client, digest, **more)\n"
        "    if not calls:\n"  # both have seen that nothing is filed before either goes on
        "        calls.append(found); me.touch()\n"
        "        while not go.exists(): time.sleep(0.01)\n"
        "    return found\n"
        "attempts.settle = slow\n"
        "print(*[one.run_id for one in sync_spool(store)])\n"
    )
    ready = [tmp_path / f"ready-{i}" for i in range(2)]
    processes = [subprocess.Popen([sys.executable, "-c", script, str(me)], stdout=subprocess.PIPE) for me in ready]
    while not all(me.exists() for me in ready):
        assert all(process.poll() is None for process in processes)
        time.sleep(0.05)
    go.touch()
    told = {process.communicate()[0].decode().strip() for process in processes}
    assert {process.returncode for process in processes} == {0}
    assert told == {_check_filed_once(uri)}, "both name the run that was kept"
    assert list(sync_spool(store)) == []


def test_a_logger_that_is_killed_leaves_its_attempt_and_the_next_replaces_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri, store = f"sqlite:///{tmp_path / 'm.db'}", str(tmp_path / "store")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    spool.put(audit=folder, report=folder, filing=audits.Filing(), store=store)
    script = (
        "import os, signal\n"
        "from flprivacy.tracking.results import sync_spool\n"
        "from flprivacy.tracking import audits\n"
        "log_child = audits._log_child\n"
        "def dying(*arguments):\n"
        "    log_child(*arguments)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "audits._log_child = dying\n"
        f"list(sync_spool({store!r}))\n"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -signal.SIGKILL
    assert [run.info.status for run in _runs(uri, "audit")] == ["RUNNING"]
    (logged,) = sync_spool(store)
    assert _check_filed_once(uri) == logged.run_id


def test_of_two_finished_attempts_the_one_finished_first_is_kept(tmp_path: Path) -> None:
    client = MlflowClient(f"sqlite:///{tmp_path / 'm.db'}")
    experiment = client.create_experiment("c")
    runs = [client.create_run(experiment, tags={attempts.DIGEST_TAG: "d"}).info.run_id for _ in range(3)]
    for end, run in enumerate(runs[::-1]):
        client.set_terminated(run, end_time=1000 + end)
    child = client.create_run(experiment, tags={"mlflow.parentRunId": runs[0]}).info.run_id
    assert attempts.settle(client, "d") == runs[2]
    assert [run.info.run_id for run in client.search_runs([experiment])] == [runs[2]]
    assert client.get_run(child).info.lifecycle_stage == "deleted"
    assert attempts.settle(client, "other") is None


def test_runs_made_twice_because_an_answer_was_lost_are_removed(tmp_path: Path) -> None:
    client = MlflowClient(f"sqlite:///{tmp_path / 'm.db'}")
    experiment = client.create_experiment("c")
    mine = {attempts.OWNER_TAG: attempts.owner()}

    def fill(run: str) -> None:
        for _ in range(2):  # the parent's twin, and a child and its twin
            client.create_run(experiment, tags={**mine, attempts.DIGEST_TAG: "d"})
            child = client.create_run(experiment, tags={**mine, "mlflow.parentRunId": run}).info.run_id
        client.set_terminated(child)

    options = {"name": "n", "digest": "d", "tags": {}, "parent": None, "fill": fill}
    run, found = attempts.file_once(client, experiment, **options)  # type: ignore[arg-type]
    assert not found
    left = client.search_runs([experiment])
    assert {one.info.status for one in left} == {"FINISHED"}
    assert len(left) == 2
    assert attempts.file_once(client, experiment, **options) == (run, True)  # type: ignore[arg-type]


def test_a_step_in_a_pod_waits_for_a_server_that_is_away_and_files_once(
    server: Server, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Away before the first request, and again in the middle."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv(PATIENCE_VARIABLE, "60")
    store, filed = str(tmp_path / "store"), audits._log_child
    _forget(server)
    with way_to(urlsplit(server.uri).port or 0) as way:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{way.port}")
        cuts = iter([1.0])

        def cut_once(*args: object) -> None:
            if (seconds := next(cuts, 0.0)) > 0.0:
                way.cut_for(seconds)
            filed(*args)  # type: ignore[arg-type]

        monkeypatch.setattr(audits, "_log_child", cut_once)
        back = way.cut_for(1.0)
        run = log_mlflow(audit=folder, report=folder, store=store)
        back.join()
    assert run == _check_filed_once(server.uri)
    assert spool.waiting(store) == []
