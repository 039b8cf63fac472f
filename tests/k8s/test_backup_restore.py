"""The backup and the documented restore of MLflow's database, on a real PostgreSQL, with the very files and commands
of the manifests: containers are run as processes, with the environment that their manifest gives them."""

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

import mlflow
import pytest

from tests.k8s.builds import Resource, build, kinds
from tests.services.postgres import libpq_environment, postgres, postgres_programs


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """What a pod of MLflow finds: the mounted files, the Secrets, the settings.

    Attributes:
        resources: the build.
        files: the ConfigMap mlflow-files as a folder.
        secret: the values of the Secret mlflow-database.
        settings: the ConfigMap mlflow-settings; only addresses differ from the build's.
        url: of the database, for MLflow's own clients.
    """

    resources: list[Resource]
    files: Path
    secret: dict[str, str]
    settings: dict[str, str]
    url: str

    def pod(self, kind: str, name: str) -> Resource:
        (found,) = [each for each in kinds(self.resources, kind) if each["metadata"]["name"] == name]
        spec = found["spec"]["jobTemplate"]["spec"] if kind == "CronJob" else found["spec"]
        return spec["template"]["spec"]  # type: ignore[no-any-return]

    def start(self, container: Resource, backup: Path, **given: str) -> "subprocess.Popen[str]":
        """Start a container's command; of its environment nothing comes from the test's but the PATH."""
        path = f"{postgres_programs()}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        environment = {"PATH": path, "LANG": "C.UTF-8", "MLFLOW_DISABLE_TELEMETRY": "true"} | self.settings
        for variable in container["env"]:
            source = variable.get("valueFrom", {})
            if source.get("secretKeyRef", {}).get("name") == "mlflow-database":
                environment[variable["name"]] = self.secret[source["secretKeyRef"]["key"]]
            elif not source:
                environment[variable["name"]] = variable["value"]
            elif variable["name"] in given:
                environment[variable["name"]] = given[variable["name"]]
            else:
                reference = source.get("secretKeyRef") or source["configMapKeyRef"]
                assert reference["optional"], reference
        environment["BACKUP_FOLDER"] = str(backup)
        mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
        assert "/etc/mlflow" in mounts
        command = [word.replace("/etc/mlflow", str(self.files)) for word in container["command"]]
        return subprocess.Popen(
            command, env=environment, cwd=backup, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def run(self, container: Resource, backup: Path, **given: str) -> "subprocess.CompletedProcess[str]":
        """Run a container's command to its end."""
        process = self.start(container, backup, **given)
        output, errors = process.communicate()
        return subprocess.CompletedProcess(process.args, process.returncode, output, errors)

    def job(self, name: str, backup: Path, **given: str) -> str:
        """Run a CronJob's pod: its init container, then its container; return what they print."""
        spec, printed = self.pod("CronJob", name), ""
        for container in (*spec["initContainers"], *spec["containers"]):
            done = self.run(container, backup, **given)
            printed += done.stdout + done.stderr
            if done.returncode:
                raise RuntimeError(printed)
        return printed

    def sql(self, statement: str, database: str = "mlflow") -> str:
        words = [postgres_programs() / "psql", "--no-psqlrc", "--tuples-only", "--no-align", f"--command={statement}"]
        environment = os.environ | libpq_environment(self.url) | {"PGDATABASE": database}
        return subprocess.run(words, env=environment, check=True, capture_output=True, text=True).stdout.strip()

    def content(self, database: str = "mlflow") -> list[str]:
        """Return the whole database as SQL: every table, index, constraint and row."""
        words = [postgres_programs() / "pg_dump", "--no-owner", "--no-privileges"]
        environment = os.environ | libpq_environment(self.url) | {"PGDATABASE": database}
        text = subprocess.run(words, env=environment, check=True, capture_output=True, text=True).stdout
        lines = [line for line in text.splitlines() if "restrict " not in line]  # newer ones carry a random token
        # PostgreSQL prints a constraint that it read back with other casts and parentheses than one that it was given.
        return [
            re.sub(r"::(text|character varying)(\[\])?|[()]", "", line) if "CHECK (" in line else line for line in lines
        ]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    work = tmp_path_factory.mktemp("mlflow")
    resources = build("standalone")
    (files,) = [each for each in kinds(resources, "ConfigMap") if each["metadata"]["name"].startswith("mlflow-files")]
    (work / "files").mkdir()
    for name, text in files["data"].items():
        (work / "files" / name).write_text(text)
    (settings,) = [each for each in kinds(resources, "ConfigMap") if each["metadata"]["name"].startswith("mlflow-set")]
    (work / "store").mkdir()
    with pytest.MonkeyPatch.context() as patch, postgres(work) as url:
        # This process's own MLflow client must not keep connections: a restore would refuse.
        patch.setenv("MLFLOW_SQLALCHEMYSTORE_POOLCLASS", "NullPool")
        libpq = libpq_environment(url)
        yield Cluster(
            resources=resources,
            files=work / "files",
            secret={
                "POSTGRES_USER": libpq["PGUSER"],
                "POSTGRES_PASSWORD": libpq["PGPASSWORD"],
                "POSTGRES_DB": libpq["PGDATABASE"],
            },
            settings={key: value for key, value in settings["data"].items() if not key.startswith("AWS_")}
            | {"PGHOST": libpq["PGHOST"], "PGPORT": libpq["PGPORT"], "BACKUP_DESTINATION": (work / "store").as_uri()},
            url=url,
        )


@pytest.fixture(scope="module")
def filled(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """MLflow's tables, made by two pods that start at the same moment on an empty database; then one run in them."""
    (migrate,) = cluster.pod("Deployment", "mlflow")["initContainers"]
    work = tmp_path_factory.mktemp("migrate")
    pods = [cluster.start(migrate, work) for _ in range(2)]
    ended = [(pod.communicate(), pod.returncode) for pod in pods]
    assert [code for _, code in ended] == [0, 0], ended
    client = mlflow.MlflowClient(tracking_uri=cluster.url)
    run = client.create_run(client.create_experiment("cohort-a", artifact_location="mlflow-artifacts:/1"))
    client.log_param(run.info.run_id, "audit.preset", "demo")
    for step in range(3):
        client.log_metric(run.info.run_id, "site.f1_weighted", 0.25 * step, step=step)
    client.set_terminated(run.info.run_id)
    return cluster


def test_two_pods_at_once_leave_both_sets_of_tables(filled: Cluster) -> None:
    tables = filled.sql("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").split()
    assert {"experiments", "runs", "alembic_version", "users", "alembic_version_auth"} <= set(tables)


def test_backup_and_restore(filled: Cluster, tmp_path: Path) -> None:
    before = filled.content()
    assert "stored mlflow-" in filled.job("mlflow-backup", tmp_path)
    # What a bad day brings: a run is deleted, a number changed, a newer version left a table behind.
    filled.sql("DELETE FROM metrics WHERE step = 2; UPDATE params SET value = 'paper'; CREATE TABLE newer (n int)")
    filled.sql("ALTER TABLE experiments ADD COLUMN later text")
    assert filled.content() != before
    (tmp_path / "restore").mkdir()
    printed = filled.job("mlflow-restore", tmp_path / "restore")
    assert "restore: 2 experiments, 1 runs" in printed
    assert filled.content() == before
    client = mlflow.MlflowClient(tracking_uri=filled.url)
    (run,) = client.search_runs([client.get_experiment_by_name("cohort-a").experiment_id])
    assert run.data.params == {"audit.preset": "demo"}
    assert [each.value for each in client.get_metric_history(run.info.run_id, "site.f1_weighted")] == [0, 0.25, 0.5]


def test_the_same_twice_as_an_ordinary_user_who_owns_the_database(filled: Cluster, tmp_path: Path) -> None:
    """A managed PostgreSQL gives no superuser. The second round restores a dump of what was restored."""
    filled.sql("CREATE ROLE owner LOGIN PASSWORD 'not-a-superuser'")
    filled.sql("CREATE DATABASE managed OWNER owner")
    secret = {"POSTGRES_USER": "owner", "POSTGRES_PASSWORD": "not-a-superuser", "POSTGRES_DB": "managed"}
    managed = replace(filled, secret=secret)
    before = filled.content()
    backup, restore = (filled.pod("CronJob", name) for name in ("mlflow-backup", "mlflow-restore"))
    for source in (filled, managed):
        assert source.run(backup["initContainers"][0], tmp_path).returncode == 0
        done = managed.run(restore["containers"][0], tmp_path)
        assert done.returncode == 0, done.stderr
        assert "restore: 2 experiments, 1 runs" in done.stdout
        assert managed.content("managed") == before


def test_restore_refuses_while_somebody_is_connected(filled: Cluster, tmp_path: Path) -> None:
    backup, restore = (filled.pod("CronJob", name) for name in ("mlflow-backup", "mlflow-restore"))
    assert filled.run(backup["initContainers"][0], tmp_path).returncode == 0
    before = filled.content()
    psql = [str(postgres_programs() / "psql"), "--quiet", "--tuples-only", "--no-align"]
    environment = os.environ | libpq_environment(filled.url)
    with subprocess.Popen(
        psql, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as other:
        assert other.stdin
        assert other.stdout
        other.stdin.write("SELECT 'here';\n")
        assert other.stdout.readline() == "here\n"
        done = filled.run(restore["containers"][0], tmp_path)
        other.stdin.close()
    assert done.returncode == 1
    assert "1 connections to mlflow are open; scale the deployment mlflow to 0 first" in done.stderr
    assert filled.content() == before


def test_a_torn_dump_changes_nothing(filled: Cluster, tmp_path: Path) -> None:
    backup, restore = (filled.pod("CronJob", name) for name in ("mlflow-backup", "mlflow-restore"))
    assert filled.run(backup["initContainers"][0], tmp_path).returncode == 0
    before = filled.content()
    dump = tmp_path / "mlflow.dump"
    dump.write_bytes(dump.read_bytes()[:-1000])
    assert filled.run(restore["containers"][0], tmp_path).returncode != 0
    assert filled.content() == before


def test_a_database_without_experiments_is_no_backup(filled: Cluster, tmp_path: Path) -> None:
    filled.sql("CREATE DATABASE other")
    other = replace(filled, secret=filled.secret | {"POSTGRES_DB": "other"})
    done = other.run(other.pod("CronJob", "mlflow-backup")["initContainers"][0], tmp_path)
    assert done.returncode == 1
    assert "has no table of experiments" in done.stderr
    assert not (tmp_path / "mlflow.dump").exists()


@pytest.fixture
def transfer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The file transfer.py, with a store and a folder of its own."""
    (files,) = [
        each for each in kinds(build("gke"), "ConfigMap") if each["metadata"]["name"].startswith("mlflow-files")
    ]
    script = tmp_path / "transfer.py"
    script.write_text(files["data"]["transfer.py"])
    specification = importlib.util.spec_from_file_location("transfer", script)
    assert specification
    assert specification.loader
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    for name in ("store", "folder"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("BACKUP_DESTINATION", (tmp_path / "store").as_uri())
    monkeypatch.setenv("BACKUP_FOLDER", str(tmp_path / "folder"))
    return module


def _call(transfer: ModuleType, monkeypatch: pytest.MonkeyPatch, action: str) -> None:
    monkeypatch.setattr(sys, "argv", ["transfer.py", action])
    transfer.main()


def test_a_damaged_backup_is_not_fetched(transfer: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dump = tmp_path / "folder" / "mlflow.dump"
    dump.write_bytes(b"yesterday")
    _call(transfer, monkeypatch, "put")
    (stored,) = (tmp_path / "store").glob("*.dump")
    stored.write_bytes(b"yesterdax")
    dump.write_bytes(b"untouched")
    with pytest.raises(SystemExit, match=r"its \.sha256 says .*take another one"):
        _call(transfer, monkeypatch, "get")
    assert dump.read_bytes() == b"untouched"
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["mlflow.dump"]


def test_the_newest_finished_backup_or_the_one_asked_for(
    transfer: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    dump, store = tmp_path / "folder" / "mlflow.dump", tmp_path / "store"
    dump.write_bytes(b"new")
    _call(transfer, monkeypatch, "put")
    (stored,) = store.glob("*.dump")
    for name, content in (("mlflow-20200101T000000Z.dump", b"old"), ("mlflow-29990101T000000Z.dump", b"unfinished")):
        (store / name).write_bytes(content)
    (store / "mlflow-20200101T000000Z.dump.sha256").write_text(transfer.sha256(store / "mlflow-20200101T000000Z.dump"))
    capsys.readouterr()
    _call(transfer, monkeypatch, "list")
    assert capsys.readouterr().out.split() == ["mlflow-20200101T000000Z.dump", stored.name]
    dump.unlink()
    _call(transfer, monkeypatch, "get")
    assert dump.read_bytes() == b"new"
    monkeypatch.setenv("BACKUP_NAME", "mlflow-20200101T000000Z.dump")
    _call(transfer, monkeypatch, "get")
    assert dump.read_bytes() == b"old"
    monkeypatch.setenv("BACKUP_NAME", "mlflow-29990101T000000Z.dump")
    with pytest.raises(SystemExit, match=r"no backup 'mlflow-29990101T000000Z\.dump'.*the newest: mlflow-2020"):
        _call(transfer, monkeypatch, "get")
