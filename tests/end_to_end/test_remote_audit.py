"""An audit whose cohort and target lie on an S3 server: it moves what it reads, and nothing when nothing changed."""

import json
import re
from pathlib import Path

import pytest

from flprivacy.cohorts.phantom import phantom_cohort
from flprivacy.core.audit import Audit
from flprivacy.core.config import PhantomConfig, TargetConfig
from flprivacy.steps.publish import push_cohort, push_target
from flprivacy.training.train import train_target
from tests.end_to_end.commands import TINY, events, flprivacy
from tests.services.ceph import Gateway

_PRESET = """
targets: {untrained: {topology: untrained, initialisations: 2}}
attack: {fractions: [0.1, 0.2], seeds: [0, 1], accesses: [features], epochs: 2, views: 1, batch_size: 32}
audit: {bootstrap: 100}
"""
_ACCESS = re.compile(r'"GET (\S+\.(?:npy|h5))\S* HTTP/1\.1" 206 (\d+)')


def _volume_and_weight_bytes(gateway: Gateway) -> int:
    """Return the bytes of volumes and weights that the server has sent so far, by its own log."""
    log = (gateway.folder / "client.rgw.log").read_text(errors="replace")
    return sum(int(size) for _, size in _ACCESS.findall(log))


@pytest.mark.timeout(900)
def test_from_uris_to_the_report_and_again(bucket: str, ceph: Gateway, tmp_path: Path) -> None:
    preset = tmp_path / "remote.yaml"
    preset.write_text(_PRESET)
    cohort, target = tmp_path / "cohort", tmp_path / "target"
    made = phantom_cohort(PhantomConfig(name="remote", scans=90, sites=3, shape=(8, 32, 40), seed=7), cohort)
    config = TargetConfig(topology="central", epochs=1)
    train_target("central", config, made, protocol="standard", work=tmp_path / "work", out=target)
    push_cohort(folder=cohort, uri=f"{bucket}/cohort")
    push_target(folder=target, uri=f"{bucket}/central")
    words = ("--cohort", f"{bucket}/cohort", "--target", f"mine={bucket}/central", "--preset", str(preset))
    home = tmp_path / "elsewhere"
    before = _volume_and_weight_bytes(ceph)

    result = flprivacy(home, "run", "privacy_audit", *words)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "bytes moved for" in result.stdout.replace("\n", " ")
    moved = _volume_and_weight_bytes(ceph) - before
    volumes = sum(path.stat().st_size for path in (cohort / "volumes").iterdir())
    weights = sum(path.stat().st_size for path in target.glob("*.h5"))
    assert weights < moved < weights + 0.6 * volumes  # two seeds, and the held-out quarter
    first = Audit.read(home / "reports" / "remote" / "audit.json")
    assert first.cohort_digest == json.loads((cohort / "cohort.json").read_text())["digest"]
    assert f"--target mine={bucket}/central" in first.provenance["command"]

    result = flprivacy(home, "run", "privacy_audit", *words)
    assert result.returncode == 0, result.stdout + result.stderr
    assert _volume_and_weight_bytes(ceph) - before == moved, "the second run moved volumes or weights again"
    assert "pull_cohort" not in {e["step"] for e in events(home) if e["kind"] == "step"}
    assert Audit.read(home / "reports" / "remote" / "audit.json") == first
    for secret in (ceph.secret_key, ceph.access_key):
        for path in home.rglob("*"):
            assert not path.is_file() or secret.encode() not in path.read_bytes(), path


def test_a_wrong_key_stops_the_audit_with_one_line(bucket: str, ceph: Gateway, tmp_path: Path) -> None:
    words = ("--cohort", f"{bucket}/cohort", "--target", f"mine={bucket}/central", "--preset", str(TINY))
    result = flprivacy(tmp_path, "run", "privacy_audit", *words, AWS_SECRET_ACCESS_KEY="very-secret-key")
    assert result.returncode == 2
    assert len(result.stderr.strip().splitlines()) == 1
    assert f"{bucket}/central/target.json: the secret key does not fit the access key" in result.stderr
    assert "very-secret-key" not in result.stdout + result.stderr
