"""Memory of a pull: bounded by threads and chunks, not by the cohort."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.audit_plan import audit_plan
from tests.cohort_builder import build_cohort, cohort_meta, scan_table
from tests.services.scripted_s3 import ScriptedS3
from tests.steps.source_examples import URI, serve

_SHAPE, _SCANS = (24, 256, 256), 80  # 126 MB
_MOST_MIB = 100

_PULL = """
import sys
from pathlib import Path
from flprivacy.study.given_cohort import pull_cohort
from flprivacy.study.plan import Plan
import boto3
def peak():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
boto3.session.Session().client("s3", region_name="us-east-1")
before = peak()
pull_cohort(Plan.read(Path(sys.argv[1])), Path(sys.argv[2]), store=sys.argv[3])
print((peak() - before) / 1024)
"""


def test_it_is_bounded(scripted: ScriptedS3, tmp_path: Path) -> None:
    number = np.arange(_SCANS)
    table = scan_table(_SCANS, site_id=number % 2, split=np.where(number % 4 == 3, "test", "train"))
    volume = np.random.default_rng(0).integers(0, 256, _SHAPE, dtype=np.uint8)
    build_cohort(tmp_path / "source", table, cohort_meta(_SHAPE, "AB"), (volume + np.uint8(i) for i in number))
    serve(scripted, tmp_path / "source")
    plan = audit_plan(tmp_path / "plan.json", cohort=URI)
    words = [sys.executable, "-c", _PULL, str(plan), str(tmp_path / "out"), str(tmp_path / "store")]
    done = subprocess.run(words, env=os.environ, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert 0.0 < float(done.stdout) < _MOST_MIB
    assert sum(path.stat().st_size for path in (tmp_path / "out" / "volumes").iterdir()) > _SCANS * np.prod(_SHAPE)


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLPRIVACY_HOME", str(tmp_path / "home"))
