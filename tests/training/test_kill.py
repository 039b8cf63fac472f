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
from flprivacy.core.target import TargetRecord
from flprivacy.targets.folder import read_target
from flprivacy.targets.lineage import private_part, pseudonym
from flprivacy.training.config import TargetConfig
from flprivacy.training.train import train_target

PATIENCE_SECONDS = 240.0
CONFIGS = {
    "federated": TargetConfig(topology="federated", rounds=5, client_fraction=0.67, batch_size=8),
    "siloed": TargetConfig(topology="siloed", epochs=3, batch_size=8),
}
# Every batch waits, so that the kill surely comes before the end, however late this process gets to it.
CHILD = """
import sys, time
from pathlib import Path
from flprivacy.training.pool import Pool
from test_kill import train
view = Pool.view
Pool.view = lambda *arguments: time.sleep(0.15) or view(*arguments)
train(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
"""


def train(topology: str, cohort: Path, folder: Path) -> TargetRecord:
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
            seen |= {(path.name, path.stat().st_mtime_ns) for path in folder.rglob("*.npz")}
            time.sleep(0.01)
        time.sleep(delay_seconds)
        child.send_signal(signal.SIGKILL)
    assert len(seen) == count
    assert child.returncode == -signal.SIGKILL


def members(folder: Path, cohort: Path) -> dict[str, list[str]]:
    """Return model -> scans that the pseudonyms, whose key is drawn anew in every call, are of."""
    part = private_part(folder, read_target(folder))
    opened = open_cohort(cohort)
    scans = {pseudonym(part.lineage.members_key, opened.meta.digest, s): s for s in opened.manifest["scan_id"]}
    return {model: sorted(scans[p] for p in pseudonyms) for model, pseudonyms in part.members().items()}


@pytest.mark.parametrize(("topology", "count", "delay_seconds"), [("federated", 2, 0.1), ("siloed", 4, 0.0)])
def test_killed_and_repeated(topology: str, count: int, delay_seconds: float, tmp_path: Path) -> None:
    cohort = write_tiny_cohort(tmp_path / "cohort", tiny_manifest().assign(split="train")).folder
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    wanted = train(topology, cohort, undisturbed)
    kill_after_checkpoints(topology, cohort, killed, count, delay_seconds)
    assert not (killed / "out").exists()
    assert train(topology, cohort, killed).digest == wanted.digest
    history = [(folder / "out" / "private" / "history.json").read_bytes() for folder in (killed, undisturbed)]
    assert history[0] == history[1]
    assert members(killed / "out", cohort) == members(undisturbed / "out", cohort)
