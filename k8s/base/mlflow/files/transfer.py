"""Move a backup of MLflow's database between $BACKUP_FOLDER and the object store ($BACKUP_DESTINATION).

    transfer.py put     mlflow.dump -> <destination>/mlflow-<time>.dump and .sha256, read back and compared
    transfer.py list    the names in the store, oldest first
    transfer.py get     $BACKUP_NAME (empty or unset: the newest) -> mlflow.dump, checked against its .sha256

MLflow's own artifact repositories do the transfer: the destination is any URI that they know (s3://, gs://, file://).
"""

import datetime
import hashlib
import os
import shutil
import sys
import tempfile
from pathlib import Path

from mlflow.store.artifact.artifact_repo import ArtifactRepository
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository


def sha256(path: Path) -> str:
    """Digest of a file of any size."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def names(store: ArtifactRepository) -> list[str]:
    """Backups in the store, oldest first; one without its digest was not finished and does not count."""
    found = {entry.path for entry in store.list_artifacts()}
    return sorted(name for name in found if name.endswith(".dump") and f"{name}.sha256" in found)


def fetch(store: ArtifactRepository, name: str, folder: Path) -> Path:
    """Download a backup into ``folder`` and compare it with its digest."""
    dump = Path(store.download_artifacts(name, str(folder)))
    expected = Path(store.download_artifacts(f"{name}.sha256", str(folder))).read_text(encoding="ascii").strip()
    if (actual := sha256(dump)) != expected:
        raise SystemExit(f"backup {name}: sha256 is {actual}, its .sha256 says {expected}; take another one")
    return dump


def put(store: ArtifactRepository, folder: Path) -> str:
    """Upload the dump under the present time's name; the digest last, after the upload was read back."""
    dump = folder / "mlflow.dump"
    digest = sha256(dump)
    name = f"mlflow-{datetime.datetime.now(datetime.UTC):%Y%m%dT%H%M%SZ}.dump"
    with tempfile.TemporaryDirectory(dir=folder) as work:
        named = Path(work) / name
        os.link(dump, named)
        store.log_artifact(str(named))
        (Path(work) / f"{name}.sha256").write_text(digest + "\n", encoding="ascii")
        back = Path(store.download_artifacts(name, tempfile.mkdtemp(dir=work)))
        if sha256(back) != digest:
            raise SystemExit(f"backup {name}: what the store gave back differs from what was sent")
        store.log_artifact(str(Path(work) / f"{name}.sha256"))
    return name


def get(store: ArtifactRepository, folder: Path, name: str) -> str:
    """Fetch one backup (the newest if ``name`` is empty) to mlflow.dump."""
    there = names(store)
    chosen = name or (there[-1] if there else "")
    if chosen not in there:
        newest = ", ".join(there[-5:]) or "none"
        raise SystemExit(f"no backup {chosen!r} in {os.environ['BACKUP_DESTINATION']}; the newest: {newest}")
    with tempfile.TemporaryDirectory(dir=folder) as work:
        shutil.move(fetch(store, chosen, Path(work)), folder / "mlflow.dump")
    return chosen


def main() -> None:
    """Do what the one argument says."""
    action = sys.argv[1] if len(sys.argv) == 2 else ""
    store = get_artifact_repository(os.environ["BACKUP_DESTINATION"])
    folder = Path(os.environ.get("BACKUP_FOLDER", "."))
    if action == "put":
        print("stored", put(store, folder))  # noqa: T201
    elif action == "get":
        print("fetched", get(store, folder, os.environ.get("BACKUP_NAME", "")))  # noqa: T201
    elif action == "list":
        print("\n".join(names(store)))  # noqa: T201
    else:
        raise SystemExit("usage: transfer.py put|get|list")


if __name__ == "__main__":
    main()
