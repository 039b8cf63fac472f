"""Publish a target of this machine where others can pull it."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from flprivacy.core.errors import ConfigError, TargetError
from flprivacy.core.target import TARGET_FILE
from flprivacy.storage.upload import upload_files
from flprivacy.storage.uris import is_remote, local_path
from flprivacy.targets.folder import deliver_target, read_target
from flprivacy.targets.lineage import LINEAGE_FILE, private_part, released_training


@dataclass(frozen=True, kw_only=True)
class Pushed:
    """What a push of a target did: the bytes that it sent, and the private files that stay in the folder."""

    bytes_sent: int
    kept: tuple[str, ...]


def push_target(*, folder: Path, uri: str, members_uri: str = "") -> Pushed:
    """Publish a target below a URI, whole or not at all.

    Weights and record are all that goes there. Who the members were, seeds, losses and canaries stay at home, or go to
    a private location.

    Args:
        folder: the target's folder.
        uri: where holders of the model find it.
        members_uri: where auditors find its private part; empty: it stays at home.

    Raises:
        TargetError: the folder is no valid target, or there is no private part to send.
        ConfigError: the private location is the public one, or either lies within the other.
        StorageError: another target is published there; or it may not be written.
    """
    if members_uri:
        _check_apart(uri, members_uri)
    record = read_target(folder)
    if released_training(record.training) != record.training:
        raise TargetError(
            f"{folder / TARGET_FILE}: its training states seeds, which draw private things; train it again"
        )
    part, sent = private_part(folder, record), 0
    if members_uri:
        if part is None:
            raise TargetError(
                f"{folder}: holds no list of members; leave --with-members out, or give the trained folder"
            )
        kept = {name: part.folder / name for name in (LINEAGE_FILE, *part.lineage.files)}
        sent += upload_files(kept, members_uri, last=LINEAGE_FILE)
    with tempfile.TemporaryDirectory() as staged:
        public = Path(staged) / "target"
        deliver_target(folder, record, public)
        names = [TARGET_FILE, *(model.weights for model in record.models)]
        sent += upload_files({name: public / name for name in names}, uri, last=TARGET_FILE)
    return Pushed(bytes_sent=sent, kept=part.lineage.files if part is not None and not members_uri else ())


def _check_apart(uri: str, members_uri: str) -> None:
    """Refuse a private location that readers of the public one can list, or the other way about."""
    public, private = (f"{local_path(u).resolve() if not is_remote(u) else u.rstrip('/')}/" for u in (uri, members_uri))
    if public.startswith(private) or private.startswith(public):
        raise ConfigError(
            f"--with-members {members_uri}: is the public location {uri}, or above or below it; give a location of "
            "its own that only auditors can read"
        )
