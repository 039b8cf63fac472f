"""What must hold after a run: outputs are looked at, never a status alone. Each check says in lines what held."""

import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Run

from components.pattern import AUDIT_IMAGE
from flprivacy.core.audit import Audit
from tests.images.step_imports import IMAGES, import_steps_script
from tests.in_images.backend import Backend
from tests.in_images.data import COHORT, Published
from tests.in_images.mlflow_server import Server
from tests.in_images.objects import Objects
from tests.in_images.pod import Pod
from tests.services.artifact_bucket import PUBLIC

# What KFP mounts into a step's pod, and /tmp.
_MOUNTS = ("/tmp", "/gcs", "/s3", "/minio", "/.local", "/.cache", "/.config")
_EVERYWHERE = """
import os, pathlib, shutil, sys
assert (os.getuid(), os.getgid()) == (10001, 10001)
assert pathlib.Path('/proc/self/status').read_text().split('CapEff:')[1].split()[0].strip('0') == ''
found = [name for name in ('pip', 'pip3', 'gcc', 'cc', 'g++', 'make', 'git', 'curl') if shutil.which(name)]
assert not found, found
for module in ('pip', 'setuptools', 'wheel'):
    assert module not in sys.modules and not __import__('importlib.util').util.find_spec(module), module
for path in ('/', '/opt/flprivacy', '/usr', '/etc', '/var/tmp'):
    try:
        pathlib.Path(path, 'probe').touch()
    except OSError:
        continue
    raise AssertionError(path)
for path in {mounts!r}:
    pathlib.Path(path, 'probe').touch()
for root in ('/root', '/opt', '/home', '/var/cache'):
    found = [str(p) for p in pathlib.Path(root).rglob('*') if p.name in ('pip', '.cache') and p.is_dir()]
    assert not found, found
"""
_OF_PROFILE = {
    "audit": import_steps_script(AUDIT_IMAGE) + "import tensorflow",
    "train": import_steps_script(None)
    + """
import ctypes, pathlib, sysconfig
import tensorflow as tf
assert tf.test.is_built_with_cuda()
libraries = pathlib.Path(sysconfig.get_path('purelib'), 'nvidia')
for name in ('cuda_runtime/lib/libcudart.so.12', 'cudnn/lib/libcudnn.so.9', 'cublas/lib/libcublas.so.12'):
    ctypes.CDLL(str(libraries / name))
""",
    "mlflow": "import boto3, flask_wtf, google.cloud.storage, mlflow.server, mlflow.server.auth, psycopg2",
}


def container_checks(profile: str, image: str, work: Path) -> Iterator[str]:
    """Run an image as a step's pod would: it can do its work, and nothing else."""
    script = _EVERYWHERE.replace("{mounts!r}", repr(_MOUNTS)) + _OF_PROFILE[profile]
    folders = {path: work / profile / path.strip("/.") for path in _MOUNTS}
    log = work / f"{profile}-check.txt"
    code, seconds = Pod(image=image, command=["python3", "-c", script], folders=folders).run(f"check-{profile}", log)
    assert code == 0, f"{image}: {log.read_text(errors='replace')[-1500:]}"
    yield f"{image}: read-only, user 10001, no capabilities; no pip or compiler; imports work ({seconds:.1f} s)"
    if profile != "mlflow":
        log = work / f"{profile}-version.txt"
        code, _ = Pod(image=image, command=["flprivacy", "--version"], folders=folders).run(f"version-{profile}", log)
        assert code == 0, log.read_text(errors="replace")
        yield f"{image}: {log.read_text().strip()}; {len(IMAGES)} steps in all"


def audit_checks(audits: Sequence[tuple[Backend, Audit, str]], published: Published) -> Iterator[str]:
    """The audits are whole, about this cohort, and agree where they must; the reports speak of the same targets."""
    for _, audit, page in audits:
        assert audit.cohort_digest == published.digest
        assert not audit.failures, audit.failures
        names = {target.name for target in audit.targets if target.role == "target"}
        assert "central" in names
        attacks = {(v.attack.attribute, v.attack.access, v.question) for v in audit.verdicts}
        assert len(audit.verdicts) == len(names) * len(attacks) >= 2 * 4
        assert "<html" in page[:200]
        assert all(name in page for name in names)
        assert 'src="http' not in page
        assert 'href="http' not in page.replace('href="https://', "")
        yield f"audit of {', '.join(sorted(names))}: {len(audit.verdicts)} verdicts; report of {len(page) / 1e6:.1f} MB"
    first, second = (audit for _, audit, _ in audits)
    central = [v for v in first.verdicts if v.attack.target == "central"]
    copy = [v for v in first.verdicts if v.attack.target == "old"]
    assert [(v.attack.attribute, v.attack.access, v.value) for v in central] == [
        (v.attack.attribute, v.attack.access, v.value) for v in copy
    ]
    yield "the foreign copy of central's weights measures exactly as central does"
    again = [v for v in second.verdicts if v.attack.target == "central"]
    assert [v.value for v in again] == [v.value for v in central]
    yield "central measures the same in the second audit"


def step_checks(backends: Sequence[Backend], values: Sequence[str]) -> Iterator[str]:
    """Every step ended well at its first try, got no secret it does not need, and no secret is in any log or object."""
    for backend in backends:
        for step in backend.steps:
            assert set(step.exit_codes) == {0}, step
            secret = {name for name in step.variables if "SECRET" in name or "PASSWORD" in name}
            last = step.name.rpartition("/")[2]
            if last == "check-policy":
                assert not secret, step
            if last == "report-audit":
                assert "MLFLOW_TRACKING_PASSWORD" in secret
            text = step.log.read_text(errors="replace")
            assert not [v for v in values if v in text], f"{step.name}: a secret is in its log"
        objects = backend.objects.keys(f"{backend.root}/{backend.run}/")
        assert len(objects) > 10
        names = {key.rpartition("/")[2] for key in objects}
        assert not {name for name in names - PUBLIC if not name.endswith(".png")}, "a patient's in the artifact store"
        for key in objects:
            text = backend.objects.read(f"s3://flprivacy/{key}").decode("latin-1")
            assert not [v for v in values if v in text], f"{key}: a secret is in it"
        yield f"run {backend.run}: {len(backend.steps)} steps, {len(objects)} objects, no secret in a log or an object"
    stored = backends[-1].objects.keys("s3://flprivacy/store/")
    assert stored
    yield f"the store on S3 holds {len(stored)} objects, {sum(stored.values()) / 1e6:.1f} MB"


def mlflow_checks(
    client: MlflowClient,
    server: Server,
    parents: Sequence[Run],
    audits: Sequence[tuple[Backend, Audit, str]],
    objects: Objects,
) -> Iterator[str]:
    """MLflow has each audit once, with its numbers, and its artifacts lie on S3; who does not log in sees nothing."""
    assert len(parents) == len(audits)
    for run, (_, audit, page) in zip(parents, audits, strict=True):
        assert run.info.status == "FINISHED"
        for v in audit.verdicts:
            access = f"{v.attack.access}{'.members' if v.question == 'memorised' else ''}"
            assert run.data.metrics[f"{v.attack.target}.{v.attack.attribute}.{access}.{v.metric}"] == v.value
        nested = client.search_runs([run.info.experiment_id], f"tags.mlflow.parentRunId = '{run.info.run_id}'")
        assert len(nested) == len(audit.verdicts)
        assert run.info.artifact_uri.startswith("mlflow-artifacts:/"), run.info.artifact_uri
        place = f"s3://mlflow/artifacts/{run.info.artifact_uri.removeprefix('mlflow-artifacts:/')}"
        listed = {one.path for one in client.list_artifacts(run.info.run_id)}
        assert {"audit.json", "report.html"} <= listed, listed
        assert json.loads(objects.read(f"{place}/audit.json"))["cohort_digest"] == audit.cohort_digest
        assert objects.read(f"{place}/report.html").decode() == page
        stored = objects.keys(f"{place}/")
        numbers = f"{len(nested)} nested runs, {len(run.data.metrics)} metrics, {len(stored)} artifacts on S3"
        yield f"MLflow run {run.info.run_name}: {numbers}"
    assert _status(f"{server.uri}/api/2.0/mlflow/experiments/get-by-name?experiment_name={COHORT}") == 401
    yield "MLflow answers 401 without a user"


def _status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def database_checks(database: dict[str, str], client: MlflowClient, parents: Sequence[Run]) -> Iterator[str]:
    """What MLflow shows is in PostgreSQL."""
    query = "select (select count(*) from runs), (select count(*) from metrics), (select version())"
    words = ["psql", "--no-align", "--tuples-only", "--command", query]
    done = subprocess.run(words, env={"PATH": "/usr/bin:/bin", **database}, capture_output=True, text=True, check=True)
    runs, metrics, version = done.stdout.strip().split("|")
    shown = client.search_runs([parents[0].info.experiment_id], max_results=1000)
    assert int(runs) == len(shown)
    assert int(metrics) >= sum(len(run.data.metrics) for run in shown)
    yield f"PostgreSQL holds {runs} runs and {metrics} metrics: {version.split(' (')[0]}"
