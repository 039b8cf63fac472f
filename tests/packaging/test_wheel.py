"""The wheel alone, far from the repository: its pipelines and presets travel with it.

That it runs a study is seen in tests/whole_runs, whose finished study it made.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.packaging.wheel import ROOT, unpack_wheel


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with nothing but the installed wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    unpack_wheel(folder / "source", folder / "site")
    return folder / "site"


def test_it_holds_the_compiled_pipelines_as_they_are(site: Path) -> None:
    files = {path.name: path.read_text() for path in (site / "flprivacy" / "pipelines").iterdir()}
    assert files == {path.name: path.read_text() for path in (ROOT / "pipelines" / "compiled").iterdir()}


def test_it_knows_its_presets(site: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "flprivacy", "presets"],
        env=os.environ | {"PYTHONPATH": str(site)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    names = {path.stem for path in (ROOT / "src" / "flprivacy" / "presets").glob("*.yaml")}
    assert names
    assert all(name in done.stdout for name in names)
