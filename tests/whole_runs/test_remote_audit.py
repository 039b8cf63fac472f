"""A cohort imported from DICOM and published on an S3 server, audited from there, and audited again.

The run moves what it reads, and nothing when nothing changed, by the server's own log. And whatever it writes or says,
also where it fails, names no patient: identifiers are planted in every tag, name and table that it started from.
"""

import json
import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pytest
import yaml
from botocore.config import Config
from click.testing import CliRunner
from mlflow import MlflowClient

from flprivacy.cli import main
from flprivacy.cohorts.format import open_cohort
from flprivacy.cohorts.sampling import exposed_rows
from flprivacy.cohorts.volumes import HEAD_BYTES
from flprivacy.core.audit import Audit
from flprivacy.core.change import AuditChange
from flprivacy.core.errors import StorageError
from flprivacy.study.given_cohort import pull_cohort
from flprivacy.study.plan import Plan
from flprivacy.training.config import TargetConfig
from flprivacy.training.train import train_target
from pipelines import COMPILED
from tests.audit_plan import audit_plan
from tests.services.artifact_bucket import ArtifactBucket, traces
from tests.services.ceph import Gateway
from tests.services.fixtures import clear_environment, new_bucket, use_ceph
from tests.whole_runs.commands import TINY, events, flprivacy
from tests.whole_runs.planted_scans import KEY, PLANTED, PSEUDONYM, SECRET, files_below, plant, search

_PRESET = """
targets: {untrained: {topology: untrained, initialisations: 2}}
attack: {fractions: [0.25, 0.3], seeds: [0, 1], accesses: [features], members: false}
audit: {bootstrap: 100}
"""
_MOVED = (".npy", ".h5")
_IMPORT = ("--from", "dicom", "--site-tag", "InstitutionName", "--shape", "8,32,40", "--min-slices", "5")
# The bootstrap over patients needs them; these stay in cohort and store and are never logged.
_MAY_HOLD_PSEUDONYMS = re.compile(r"manifest\.parquet|.*\.scores\.parquet|exposed\.json|cohort\.import\.(json|html)")
_PLAIN = Config(request_checksum_calculation="when_required", response_checksum_validation="when_required")


@dataclass(frozen=True, kw_only=True)
class Study:
    """What was imported, published and audited.

    Attributes:
        gateway: the server.
        bucket: URI of the bucket with ``cohort`` and ``central``.
        folder: everything that was written.
        words: of the audit.
        table: the mapping table.
        said: what the commands printed.
        moved: bytes of volumes and weights that the server sent for the audit.
    """

    gateway: Gateway
    bucket: str
    folder: Path
    words: tuple[str, ...]
    table: Path
    said: list[str] = field(default_factory=list)
    moved: int

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def cohort(self) -> Path:
        return self.folder / "cohort"

    def audit(self, home: Path, cohort: str) -> int:
        """Audit a cohort in a home folder; return the exit code."""
        return _command(self.folder, self.said, home, "run", "privacy_audit", "--cohort", cohort, *self.words)

    def audit_again(self) -> int:
        """Audit what was published since, on the cohort where it was imported; return the exit code."""
        words = ("run", "re_audit", "--cohort", str(self.cohort), "--targets-from", str(self.folder / "published"))
        return _command(self.folder, self.said, self.home, *words, *self.words[-2:])


def _command(folder: Path, said: list[str], home: Path, *words: str) -> int:
    temporary = folder / "tmp"
    temporary.mkdir(exist_ok=True)
    done = flprivacy(home, *words, TMPDIR=str(temporary), FLPRIVACY_PSEUDONYM_KEY=KEY)
    said.append(done.stdout + done.stderr)
    return done.returncode


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Study]:
    given, folder = tmp_path_factory.mktemp("given"), tmp_path_factory.mktemp("written")
    table, said, preset = plant(given / "scans"), [], given / "remote.yaml"
    preset.write_text(_PRESET)
    words = ("cohort", "import", str(given / "scans"), str(folder / "cohort"), "--table", str(table))
    assert _command(folder, said, folder / "home", *words, *_IMPORT) == 0, said[-1]
    cohort = open_cohort(folder / "cohort")
    for seed, out in enumerate((folder / "target", folder / "newer")):
        config = TargetConfig(topology="central", epochs=1, seed=seed)
        train_target("central", config, cohort, protocol="standard", work=folder / "work" / out.name, out=out)
    with pytest.MonkeyPatch.context() as patch:
        clear_environment(patch, given / "no-such-file")
        gateway = use_ceph(patch)
        bucket = new_bucket()
        for words in (("cohort", "push", str(folder / "cohort")), ("target", "push", str(folder / "target"))):
            pushed = CliRunner().invoke(main, [*words, f"{bucket}/{'central' if words[0] == 'target' else 'cohort'}"])
            assert pushed.exit_code == 0, pushed.output
            said.append(pushed.output)
        before = gateway.sent_bytes(*_MOVED)
        words = ("--target", f"mine={bucket}/central", "--preset", str(preset))
        made = {"gateway": gateway, "bucket": bucket, "folder": folder, "words": words, "table": table, "said": said}
        code = Study(**made, moved=0).audit(folder / "home", f"{bucket}/cohort")
        assert code == 0, said[-1]
        yield Study(**made, moved=gateway.sent_bytes(*_MOVED) - before)


@pytest.mark.timeout(900)
def test_from_uris_to_the_report_and_again(study: Study) -> None:
    assert "bytes moved for" in " ".join(study.said[-1].split())
    weights = sum(path.stat().st_size for path in (study.folder / "target").glob("*.h5"))
    cohort = open_cohort(study.cohort)
    exposed = [exposed_rows(cohort, fraction=0.3, seed=seed) for seed in (0, 1)]
    needed = len(np.unique(np.concatenate([*exposed, cohort.rows("test")]))) * int(np.prod(cohort.meta.shape))
    heads = HEAD_BYTES * len(cohort.meta.site_names)
    assert needed < 0.7 * len(cohort.manifest) * int(np.prod(cohort.meta.shape))
    assert weights + needed + heads <= study.moved <= weights + 1.05 * needed + heads  # gaps between volumes
    first = Audit.read(study.home / "reports" / "remote" / "audit.json")
    assert first.cohort_digest == json.loads((study.cohort / "cohort.json").read_text())["digest"]
    assert f"--target mine={study.bucket}/central" in first.provenance["command"]
    baselines = {"untrained-cnn3d_small", "pixels", "majority"}
    assert {t.name: t.role for t in first.targets} == {"mine": "target"} | dict.fromkeys(baselines, "baseline")

    before = study.gateway.sent_bytes(*_MOVED)
    assert study.audit(study.home, f"{study.bucket}/cohort") == 0, study.said[-1]
    assert study.gateway.sent_bytes(*_MOVED) == before, "the second run moved volumes or weights again"
    ran = {e["step"] for e in events(study.home) if e["kind"] == "step"}
    assert ran == {"resolve_inputs", "report_audit", "check_policy", "notify"}  # all else is as it was
    assert Audit.read(study.home / "reports" / "remote" / "audit.json") == first


def test_a_re_audit_passes_over_what_was_audited_and_compares_what_was_published_since(study: Study) -> None:
    published, reports = study.folder / "published" / "mine", study.home / "reports" / "remote"
    shutil.copytree(study.folder / "target", published / "2026-11-10")
    assert study.audit_again() == 0, study.said[-1]  # the audit from URIs was of this target, under this name
    assert {e["step"] for e in events(study.home) if e["kind"] == "step"} == {"find_targets", "notify"}
    assert "since the last audit: no evidence of change" in study.said[-1]

    shutil.copytree(study.folder / "newer", published / "2026-11-17")
    assert study.audit_again() == 0, study.said[-1]
    (change,) = AuditChange.read(reports / "change.json").targets
    assert change.previous is not None
    assert (change.target, change.audited, len(change.attacks)) == ("mine", True, 4)
    assert f"mine: {change.verdict}" in " ".join(study.said[-1].split())
    assert "Since the last audit" in (reports / "report.html").read_text()
    client = MlflowClient(f"sqlite:///{study.home / 'mlflow.db'}")
    experiments = [found.experiment_id for found in client.search_experiments()]
    (run,) = client.search_runs(experiments, "tags.`audit.change.mine` != ''")
    assert run.data.tags["audit.change"] == change.verdict


@pytest.mark.timeout(900)
def test_on_a_backend_scans_go_from_their_store_to_the_steps_that_need_them_and_nowhere_else(
    study: Study, tmp_path: Path
) -> None:
    gateway, overrides = study.gateway, yaml.safe_load(_PRESET)
    overrides["attack"]["attributes"] = ["site"]
    bucket = ArtifactBucket.make(
        tmp_path,
        measured=lambda: gateway.sent_bytes(".npy"),
        MLFLOW_TRACKING_URI=f"sqlite:///{tmp_path / 'mlflow.db'}",
    )
    given = {
        "cohort": f"{study.bucket}/cohort",
        "targets": {"mine": f"{study.bucket}/central"},
        "store": f"{study.bucket}/store",
        "overrides": overrides,
        "train_gpus": "0",
    }
    bucket.run(COMPILED / "re_audit.yaml", given)
    cohort = open_cohort(study.cohort)
    assert bucket.strange() == set()
    assert bucket.holders(traces(cohort)) == set()
    exposed = [exposed_rows(cohort, fraction=0.3, seed=seed) for seed in (0, 1)]
    tested = cohort.rows("test")
    needed = {"attack-target": len(np.unique(np.concatenate([*exposed, tested])))}
    volume, heads = int(np.prod(cohort.meta.shape)), HEAD_BYTES * len(cohort.meta.site_names)
    for step, moved in bucket.grown.items():
        wanted = needed.get(step.rpartition("/")[2], 0) * volume
        assert wanted <= moved <= 1.05 * wanted + (heads if wanted else 0), step
    # Pixels, fresh weights and the target are attacked in one pod, for which every scan comes once.
    assert sum(moved > 0 for moved in bucket.grown.values()) == 1
    again = bucket.run(COMPILED / "re_audit.yaml", given | {"fail_on_worse": True})
    assert again.artifacts == {}


@pytest.mark.timeout(900)
def test_nothing_that_is_written_or_said_names_a_patient(
    study: Study, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    _provoke(study, tmp_path)
    left_out = json.loads((study.folder / "cohort.import.json").read_text())["reasons"]
    assert {"damaged DICOM header", "truncated pixel data", "no position, orientation or pixel spacing"} <= set(
        left_out
    )
    said = [("what was said", "", text.encode()) for text in (*study.said, caplog.text)]
    stored = list(_stored(study.bucket))
    logs = [(path, path.name, path.read_bytes()) for path in study.gateway.folder.glob("client.*.log")]
    assert len(stored) > 10
    assert logs
    assert search([*said, *stored, *logs, *files_below(study.folder)], PLANTED) == {}
    # Of pseudonyms, only what the statistics need; and no secret of the server's.
    holders = search([*stored, *files_below(study.folder)], PSEUDONYM)
    kept = _names_in_the_store(stored)
    named = {Path(str(where)).name for where in holders}
    assert {kept.get(name, name) for name in named if not _MAY_HOLD_PSEUDONYMS.fullmatch(kept.get(name, name))} == set()
    assert not any("mlartifacts" in str(where) for where in holders)
    assert search([("said", "", text) for _, _, text in said[:-1]], PSEUDONYM) == {}
    secrets = re.compile(f"{study.gateway.secret_key}|{study.gateway.access_key}".encode())
    assert search([*said[:-1], *stored, *files_below(study.folder)], secrets) == {}
    # The search looked at what it should have: MLflow's database and artifacts, logs, events, reports, the store.
    names = {path.name for path in study.home.rglob("*")}
    assert {"mlflow.db", "log.txt", "report.html", "audit.json", "manifest.parquet", "mine.scores.parquet"} <= names
    assert any((study.home / "mlartifacts").rglob("*.html"))
    assert len([path for path in study.home.rglob("*.jsonl") if path.stat().st_size]) > 5


def _provoke(study: Study, folder: Path) -> None:
    """Fail in every way that has identifiers at hand: a wrong table, an object that is missing, one that is damaged."""
    wrong = folder / "wrong.csv"
    wrong.write_text(study.table.read_text().replace(",F,", f",{SECRET},"))
    words = ("cohort", "import", str(study.table.parent / "scans"), str(study.folder / "other"), "--table", str(wrong))
    assert _command(study.folder, study.said, study.home, *words, *_IMPORT) == 2
    assert "'sex' of row 1" in study.said[-1]
    _publish_again(study, "missing", keep=lambda name: not name.endswith(".npy"))
    assert study.audit(study.folder / "home2", f"{study.bucket}/missing") == 2
    assert f"{study.bucket}/missing/volumes/site-" in study.said[-1].replace("\n", "")
    assert "the manifest names it, and there is none" in " ".join(study.said[-1].split())
    _publish_again(study, "damaged", damage=True)
    plan = audit_plan(study.folder / "damaged.json", cohort=f"{study.bucket}/damaged")
    with pytest.raises(StorageError) as caught:
        pull_cohort(Plan.read(plan), study.folder / "pulled", store=str(study.folder / "store"))
    assert "is not what its checksum says" in str(caught.value)
    study.said.append(f"{caught.value} {caught.value!r}")


def _publish_again(study: Study, name: str, keep: Any = lambda name: True, *, damage: bool = False) -> None:
    """Publish the cohort once more, without some objects, or with volumes that are not what their hashes say."""
    client = boto3.client("s3", config=_PLAIN)
    for path in (path for path in study.cohort.rglob("*") if path.is_file() and keep(path.name)):
        data = bytearray(path.read_bytes())
        if damage and path.suffix == ".npy":
            data[128:] = bytes(255 - byte for byte in data[128:])
        key = f"{name}/{path.relative_to(study.cohort).as_posix()}"
        client.put_object(Bucket=study.bucket[5:], Key=key, Body=bytes(data))


def _stored(bucket: str) -> Iterator[tuple[object, str, bytes]]:
    """Yield every object of a bucket, and what the server tells of it."""
    client = boto3.client("s3", config=_PLAIN)
    for found in client.list_objects_v2(Bucket=bucket[5:])["Contents"]:
        answer = client.get_object(Bucket=bucket[5:], Key=found["Key"])
        yield f"{bucket}/{found['Key']}", found["Key"].rpartition("/")[2], answer["Body"].read()
        yield f"headers of {found['Key']}", found["Key"], repr(answer["ResponseMetadata"]).encode()


def _names_in_the_store(stored: Iterable[tuple[object, str, bytes]]) -> dict[str, str]:
    """Return the digest of each file of a finished artifact, which is its object's name, with the file's own name."""
    inventories = [json.loads(data)["files"] for _, name, data in stored if name == "artifact.json"]
    return {digest: Path(file).name for files in inventories for file, (digest, _) in files.items()}


def test_a_wrong_key_stops_the_audit_with_one_line(bucket: str, ceph: Gateway, tmp_path: Path) -> None:
    words = ("--cohort", f"{bucket}/cohort", "--target", f"mine={bucket}/central", "--preset", str(TINY))
    result = flprivacy(tmp_path, "run", "privacy_audit", *words, AWS_SECRET_ACCESS_KEY="very-secret-key")
    assert result.returncode == 2
    assert len(result.stderr.strip().splitlines()) == 1
    assert f"{bucket}/cohort/cohort.json: the secret key does not fit the access key" in result.stderr
    assert "very-secret-key" not in result.stdout + result.stderr
