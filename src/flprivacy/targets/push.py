"""Publish a target of this machine where others can pull it."""

import secrets
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from flprivacy.core.errors import ConfigError, TargetError
from flprivacy.core.parsing import to_mapping
from flprivacy.core.publish import link_or_copy, publish_folder, write_json
from flprivacy.core.target import TARGET_FILE
from flprivacy.storage.places import open_store
from flprivacy.storage.transfer import upload_files
from flprivacy.storage.uris import is_remote, join, local_path
from flprivacy.targets.folder import deliver_target, read_target
from flprivacy.targets.lineage import (
    LINEAGE_FILE,
    PRIVATE_FOLDER,
    PrivatePart,
    keyed,
    private_part,
    released_record,
    withheld,
)


def folder_of_target(place: str) -> Path:
    """Return the folder of a target on this machine, brought here if it is one that the store in use keeps elsewhere.

    Args:
        place: a path, or the URI that :func:`~flprivacy.targets.listing.find_target_folders` found in the store.

    Raises:
        ConfigError: any other URI.
        TargetError: the store has no such target any more.
        StorageError: it cannot be read.
    """
    if not is_remote(place):
        return local_path(place)
    store = open_store()
    kept, _, key = place.rstrip("/").rpartition("/")
    if not store.remote or kept != join(store.remote, "target"):
        raise ConfigError(f"{place}: is not in the store in use; give a folder here, or one of 'flprivacy target list'")
    folder = store.bring("target", key)
    if folder is None:
        raise TargetError(f"{place}: no finished target; 'flprivacy target list' shows those that there are")
    return folder


@dataclass(frozen=True, kw_only=True)
class Pushed:
    """What a push of a target did.

    Attributes:
        bytes_sent: to all locations.
        kept: private files that stay in the folder.
        withheld: what an older version's ``target.json`` would have given away, in words.
    """

    bytes_sent: int
    kept: tuple[str, ...]
    withheld: tuple[str, ...] = ()


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
    part, released = private_part(folder, record), released_record(folder, record)
    sent = push_private_part(folder=folder, uri=members_uri) if members_uri else 0
    with tempfile.TemporaryDirectory() as staged:
        public = Path(staged) / "target"
        deliver_target(folder, released, public)
        names = [TARGET_FILE, *(model.weights for model in released.models)]
        sent += upload_files({name: public / name for name in names}, uri, last=TARGET_FILE)
    kept = part.lineage.files if part is not None and not members_uri else ()
    return Pushed(bytes_sent=sent, kept=kept, withheld=withheld(record))


def push_private_part(*, folder: Path, uri: str) -> int:
    """Send a target's private part alone to where only auditors find it; return the bytes sent.

    Raises:
        TargetError: the folder is no valid target, or there is no private part in it.
        StorageError: another one is there; or it may not be written.
    """
    record = read_target(folder)
    part = private_part(folder, record)
    if part is None:
        raise TargetError(f"{folder}: holds no private part, such as a list of members; give the trained folder")
    with tempfile.TemporaryDirectory() as staged:
        _write_private_part(part, released_record(folder, record).digest, Path(staged))
        kept = {name: Path(staged) / name for name in (LINEAGE_FILE, *part.lineage.files)}
        return upload_files(kept, uri, last=LINEAGE_FILE)


def convert_target(*, folder: Path, out: Path) -> tuple[str, ...]:
    """Write a target of an older version as this one would have: its private part apart, and no more in the record.

    Returns:
        What the older record gave away, in words.

    Raises:
        TargetError: the folder is no valid target.
        StorageError: ``out`` cannot be written.
    """
    record = read_target(folder)
    part, released = private_part(folder, record), released_record(folder, record)
    deliver_target(folder, released, out)
    if part is not None:
        with publish_folder(out / PRIVATE_FOLDER) as private:
            _write_private_part(part, released.digest, private)
        (out / PRIVATE_FOLDER).chmod(0o700)
    return withheld(record)


def _write_private_part(part: PrivatePart, target_digest: str, folder: Path) -> None:
    lineage = replace(part.lineage, target_digest=target_digest)
    files = set(lineage.files)
    if lineage.members and not lineage.members_key:  # plain hashes, which whoever guesses ids can try
        lineage = replace(lineage, members_key=secrets.token_hex(32))
        members = {m: sorted(keyed(lineage.members_key, h) for h in hashes) for m, hashes in part.members().items()}
        write_json(folder / lineage.members, members)
        files.remove(lineage.members)
    write_json(folder / LINEAGE_FILE, to_mapping(lineage))
    for name in sorted(files):
        link_or_copy(part.folder / name, folder / name)


def _check_apart(uri: str, members_uri: str) -> None:
    """Refuse a private location that readers of the public one can list, or the other way about."""
    public, private = (f"{local_path(u).resolve() if not is_remote(u) else u.rstrip('/')}/" for u in (uri, members_uri))
    if public.startswith(private) or private.startswith(public):
        raise ConfigError(
            f"--with-members {members_uri}: is the public location {uri}, or above or below it; give a location of "
            "its own that only auditors can read"
        )
