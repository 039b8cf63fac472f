"""A real ``kill -9`` in the middle of training: the repeated call publishes the bits of an undisturbed one."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny_training import tiny_manifest, write_tiny_cohort

from flprivacy.cohorts.format import open_cohort
from flprivacy.core.config import TargetConfig
from flprivacy.training.checkpoint import Checkpoints
from flprivacy.training.train import train_target

PATIENCE_SECONDS = 240.0
CONFIGS = {
    "federated": TargetConfig(topology="federated", rounds=10, local_epochs=2, client_fraction=0.67, batch_size=4),
    "siloed": TargetConfig(topology="siloed", epochs=8, batch_size=4),
}
CHILD = """
import sys
from pathlib import Path
from test_kill import train
train(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
"""


def train(topology: str, cohort: Path, folder: Path):
    return train_target(
        "t", CONFIGS[topology], open_cohort(cohort), protocol="standard", work=folder / "work", out=folder / "out"
    )


def kill_after_checkpoints(topology: str, cohort: Path, folder: Path, count: int, delay_seconds: float) -> None:
    """Start training in a process of its own and kill it ``delay_seconds`` after its ``count``-th checkpoint."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(["src", str(Path(__file__).parent)])}
    command = [sys.executable, "-c", CHILD, topology, str(cohort), str(folder)]
    with subprocess.Popen(command, env=environment, cwd=Path(__file__).parents[2]) as child:
        deadline = time.monotonic() + PATIENCE_SECONDS
        seen: set[tuple[str, int]] = set()
        while len(seen) < count and child.poll() is None and time.monotonic() < deadline:
            seen |= {(p.name, p.stat().st_ino) for p in folder.rglob("*.npz") if p.exists()}
            time.sleep(0.002)
        time.sleep(delay_seconds)
        child.send_signal(signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL


@pytest.mark.parametrize(("topology", "count", "delay_seconds"), [("federated", 3, 0.03), ("siloed", 11, 0.0)])
def test_killed_and_repeated(topology: str, count: int, delay_seconds: float, tmp_path: Path) -> None:
    cohort = write_tiny_cohort(tmp_path / "cohort", tiny_manifest().assign(split="train")).folder
    undisturbed = train(topology, cohort, tmp_path / "undisturbed")
    killed = tmp_path / "killed"
    kill_after_checkpoints(topology, cohort, killed, count, delay_seconds)
    assert not (killed / "out").exists()
    paths = sorted(killed.rglob("*.npz"))
    store = Checkpoints(folder=killed / "work", key="")
    assert paths
    assert all(p.parent.parent == store.folder for p in paths)
    resumed = train(topology, cohort, killed)
    assert resumed.digest == undisturbed.digest
    for name in ("history.json", "members.json"):
        assert (killed / "out" / name).read_bytes() == (tmp_path / "undisturbed" / "out" / name).read_bytes()
