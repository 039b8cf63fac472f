"""From nothing to an audit in MLflow, with every part real but the cluster: ``make e2e``; see docs/e2e.md.

Usage, as root on Debian 12: ``python -m tests.in_images.run [--base IMAGE] [--keep]``. What it finds goes to
``build/e2e``.
"""

import argparse
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run

from flprivacy.core.audit import Audit
from images import build as images
from images.base import make_stand_in
from images.docker import DockerError, docker, has_image
from images.names import read_names
from pipelines import COMPILED
from tests.in_images import checks
from tests.in_images.backend import Backend, Namespace
from tests.in_images.browser import browser
from tests.in_images.data import COHORT, OVERRIDES, Published, publish
from tests.in_images.mlflow_server import Server, mlflow_server
from tests.in_images.objects import Objects
from tests.services.ceph import ceph_gateway
from tests.services.compiled_pipelines import Values
from tests.services.debian_packages import need_programs
from tests.services.docker_daemon import docker_daemon
from tests.services.postgres import libpq_environment, postgres

OUT = Path(__file__).parents[2] / "build" / "e2e"
_BASE = "python:3.11-slim-bookworm"
# Ceph's gateway of Debian 12 knows none of the checksums that boto3 has sent by itself since 1.36.
_OLD_SERVER = {"AWS_REQUEST_CHECKSUM_CALCULATION": "when_required", "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required"}


class Log:
    """Says what happens, on the terminal and in ``build/e2e/log.txt``."""

    def __init__(self, file: Path) -> None:
        self._file = file.open("w", buffering=1)
        self._started = time.monotonic()

    def __call__(self, line: str) -> None:
        """Say a line."""
        text = f"{time.monotonic() - self._started:7.1f}  {line}"
        print(text, flush=True)
        self._file.write(f"{text}\n")

    @contextmanager
    def part(self, title: str) -> Iterator[None]:
        """Say what begins, and how long it took."""
        self(f"== {title}")
        started = time.monotonic()
        yield
        self(f"   {title}: {time.monotonic() - started:.1f} s")


def _build_images(say: Log, base: str) -> None:
    """Build the three images."""
    if not base:
        base = _BASE
        if not has_image(base):
            try:
                docker("pull", base)
            except DockerError as error:
                say(f"no registry gives {base} ({error}); made with debootstrap instead")
                need_programs(("debootstrap",), ("debootstrap",))
                base = make_stand_in()
    code = images.main(["--base", base])
    assert code == 0, f"the images were not built: exit code {code}"


def _image_names(say: Log) -> dict[str, str]:
    """Return the images' names by profile, and say what they are."""
    names = {profile: image.reference for profile, image in read_names().items()}
    for name in names.values():
        found = json.loads(docker("image", "inspect", name))[0]
        say(f"{name:24}{found['Size'] / 1e6:8,.0f} MB  {found['Id'][7:19]}")
    return names


def _run(
    file: str, arguments: Mapping[str, Any], *, namespace: Namespace, objects: Objects, root: str, work: Path, say: Log
) -> tuple[Backend, Values]:
    run = uuid.uuid4().hex[:8]
    backend = Backend(
        file=COMPILED / file, run=run, root=root, namespace=namespace, objects=objects, work=work / run, say=say
    )
    return backend, backend.run_pipeline(arguments)


def _audits(
    say: Log, published: Published, namespace: Namespace, objects: Objects, bucket: str, work: Path
) -> list[tuple[Backend, Audit, str]]:
    """Run the pipeline twice: on ``central`` and its foreign copy, then on ``central`` and what came after it."""
    found = []
    for names in (("central", "old"), ("central", "retrained")):
        with say.part(f"pipeline privacy_audit of {' and '.join(names)}"):
            arguments = {
                "cohort": published.cohort,
                "targets": {name: published.targets[name] for name in names},
                "overrides": OVERRIDES,
                "train_gpus": "0",
            }
            backend, outputs = _run(
                "privacy_audit.yaml",
                arguments,
                namespace=namespace,
                objects=objects,
                root=f"{bucket}/pipelines",
                work=work,
                say=say,
            )
            audit, report = (outputs.artifacts[name][0]["uri"] for name in ("audit", "report"))
            file = work / f"{backend.run}-audit.json"
            file.write_bytes(objects.read(f"{audit}/audit.json"))
            page = objects.read(f"{report}/report.html").decode()
            (OUT / f"report-{len(found) + 1}.html").write_text(page)
            found.append((backend, Audit.read(file), page))
    return found


def _parents(client: MlflowClient, say: Log) -> list[Run]:
    experiment = client.get_experiment_by_name(COHORT)
    assert experiment is not None, f"MLflow has no experiment {COHORT}"
    runs = client.search_runs([experiment.experiment_id], max_results=1000, order_by=["attributes.start_time ASC"])
    parents = [run for run in runs if run.data.tags.get("audit.kind") == "audit"]
    say(f"MLflow: experiment {COHORT!r} has {len(runs)} runs, {len(parents)} of them audits")
    return parents


def _pictures(server: Server, parents: list[Run], audits: list[tuple[Backend, Audit, str]], say: Log) -> None:
    """Open MLflow's pages and the report as a user would; each must show what was measured."""
    experiment = f"experiments/{parents[0].info.experiment_id}/runs"
    runs = json.dumps([run.info.run_id for run in parents])
    names = [run.info.run_name for run in parents]
    last = f"{experiment}/{parents[-1].info.run_id}"
    child = "retrained x site (features)"
    pages = {
        "experiment": (experiment, names, (1400, 700)),
        "run": (last, [names[-1], "Finished", child, "audit.kind"], (1400, 1600)),
        "metrics": (f"{last}/model-metrics", ["central.age_band.features.excess_f1"], (1400, 1000)),
        "artifacts": (f"{last}/artifacts", ["audit.json", "report.html"], (1400, 900)),
        "compare": (
            f'compare-runs?runs={runs}&experiments=["{parents[0].info.experiment_id}"]',
            ["Comparing 2 Runs", *names, "central.site.features.excess_f1"],
            (1400, 2900),
        ),
    }
    with browser(log_in=(server.username, server.password)) as page:
        page.remember(
            {"mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": "true", "mlflow.assistant.panelOpen_v1": "false"}
        )
        for name, (path, shows, size) in pages.items():
            file = OUT / f"mlflow-{name}.png"
            page.picture(f"{server.uri}/#/{path}", file, shows=shows, size=size)
            say(f"{file.relative_to(OUT.parents[1])} ({file.stat().st_size / 1000:.0f} kB) shows {', '.join(shows)}")
        targets = [target.name for target in audits[-1][1].targets if target.role == "target"]
        page.picture((OUT / "report-2.html").as_uri(), OUT / "report.png", shows=targets, size=(1200, 1600))


def main(words: list[str] | None = None) -> int:
    """Run everything; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.in_images.run", description=__doc__)
    parser.add_argument("--base", default="", help=f"base image ({_BASE}, or a stand-in where no registry has it)")
    parser.add_argument("--no-build", action="store_true", help="take the images that are on this machine")
    parser.add_argument("--keep", action="store_true", help="serve MLflow on until Enter is pressed")
    asked = parser.parse_args(words)
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    for name in [name for name in os.environ if name.startswith(("AWS_", "MLFLOW_", "FLPRIVACY_", "GOOGLE_"))]:
        del os.environ[name]  # only what this test sets may reach a step
    say = Log(OUT / "log.txt")
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="flprivacy-e2e-")))
        work.chmod(0o755)  # the containers' users pass through
        with say.part("Docker"):
            say(f"daemon {stack.enter_context(docker_daemon())}")
        with say.part("images"):
            if not asked.no_build:
                _build_images(say, asked.base)
            names = _image_names(say)
        with say.part("locked-down containers"):
            for line in itertools.chain(*(checks.container_checks(p, names[p], work) for p in names)):
                say(line)
        with say.part("Ceph's gateway, PostgreSQL, MLflow"):
            gateway = stack.enter_context(ceph_gateway())
            keys = {"AWS_ACCESS_KEY_ID": gateway.access_key, "AWS_SECRET_ACCESS_KEY": gateway.secret_key}
            objects = Objects(gateway.environment())
            objects.make_bucket("flprivacy")
            objects.make_bucket("mlflow")
            where = {"AWS_ENDPOINT_URL": gateway.endpoint, "AWS_REGION": "us-east-1"}
            database = libpq_environment(stack.enter_context(postgres(OUT)))
            settings = {**where, **_OLD_SERVER, "MLFLOW_ARTIFACTS_DESTINATION": "s3://mlflow/artifacts"}
            server = stack.enter_context(
                mlflow_server(
                    image=names["mlflow"], database=database, settings=settings, objects=keys, work=work / "mlflow"
                )
            )
        with say.part("cohort and targets to the object store"):
            published = publish("s3://flprivacy", objects, gateway.environment(), work / "data")
        namespace = Namespace(
            config_maps={
                "flprivacy-settings": {
                    **where,
                    "MLFLOW_TRACKING_URI": server.uri,
                    "FLPRIVACY_STORE": "s3://flprivacy/store",
                }
            },
            secrets={"flprivacy-object-store": keys, "flprivacy-mlflow": server.steps_secret()},
        )
        audits = _audits(say, published, namespace, objects, "s3://flprivacy", work)
        with say.part("what came out"):
            os.environ |= server.steps_secret()
            client = MlflowClient(tracking_uri=server.uri)
            parents = _parents(client, say)
            values = [*keys.values(), server.password, database["PGPASSWORD"]]
            for line in (
                *checks.audit_checks(audits, published),
                *checks.step_checks([backend for backend, _, _ in audits], values),
                *checks.mlflow_checks(client, server, parents, audits, objects),
                *checks.database_checks(database, client, parents),
            ):
                say(line)
        with say.part("pictures"):
            _pictures(server, parents, audits, say)
        if asked.keep:
            say(f"MLflow at {server.uri}, user {server.username}, password {server.password}; Enter ends")
            sys.stdin.readline()
    say("everything holds")
    return 0


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except subprocess.CalledProcessError as problem:
        sys.stderr.write(f"{problem}\n{problem.stderr or ''}\n")
        raise SystemExit(1) from None
