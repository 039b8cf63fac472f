"""The wheel alone, far from the repository, can run a study: its pipelines travel with it."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_TINY = [
    "cohort={name: tiny, scans: 60, sites: 2, shape: [8, 32, 40], seed: 7}",
    "targets={siloed: null, federated: null, central-dp: null, federated-dp: null}",
    "targets.central.epochs=1",
    "targets.untrained.initialisations=2",
    "attack={attributes: [sex], accesses: [features], fractions: [0.5], seeds: [0, 1], epochs: 2}",
    "audit.bootstrap=100",
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with nothing but the installed wheel, built from a copy of its sources."""
    source, site = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("site")
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(
        ROOT / "src", source / "src", symlinks=True, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
    )
    shutil.copytree(ROOT / "pipelines" / "compiled", source / "pipelines" / "compiled")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run(
        [*pip, "wheel", "--no-build-isolation", "--no-deps", "--wheel-dir", source / "dist", source], check=True
    )
    (wheel,) = (source / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    return site


def test_it_holds_the_compiled_pipelines_as_they_are(site: Path) -> None:
    files = {path.name: path.read_text() for path in (site / "flprivacy" / "pipelines").iterdir()}
    assert files == {path.name: path.read_text() for path in (ROOT / "pipelines" / "compiled").iterdir()}


def test_it_runs_a_study_in_an_empty_folder(site: Path, tmp_path: Path) -> None:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "FLPRIVACY_"))}
    changes = [word for change in _TINY for word in ("--set", change)]
    done = subprocess.run(
        [sys.executable, "-m", "flprivacy.cli", "run", "study", "--preset", "demo", *changes],
        env=kept | {"PYTHONPATH": str(site), "COLUMNS": "140"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    (report,) = (tmp_path / ".flprivacy" / "runs").glob("*/artifacts/*/write-report/page")
    assert "<html" in report.read_text()[:200]
