"""URIs: which kind of storage they name, and names within a folder."""

import re
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from flprivacy.core.errors import StorageError

FILE, S3, GS = "file", "s3", "gs"
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


def scheme_of(uri: str) -> str:
    """Return ``file`` (for plain paths too), ``s3`` or ``gs``; StorageError for another scheme, or nothing at all."""
    found = _SCHEME.match(uri)
    scheme = found.group(1).lower() if found else FILE
    if not uri or scheme not in (FILE, S3, GS):
        raise StorageError(f"{uri!r}: not a location; give a path, or a URI that starts with file://, s3:// or gs://")
    return scheme


def is_remote(uri: str) -> bool:
    """Say whether a location is behind a network."""
    return scheme_of(uri) != FILE


def split_bucket(uri: str) -> tuple[str, str]:
    """Return bucket and key of ``s3://bucket/key``, taken as it is, without %-decoding; StorageError if no bucket."""
    bucket, _, key = uri.partition("://")[2].partition("/")
    if not bucket:
        raise StorageError(f"{uri}: names no bucket; write it as {scheme_of(uri)}://bucket/folder")
    return bucket, key


def split_folder(uri: str) -> tuple[str, str]:
    """Return the bucket of ``s3://bucket/folder``, and what the keys of all objects in the folder begin with."""
    bucket, key = split_bucket(uri)
    return bucket, f"{key.rstrip('/')}/" if key.strip("/") else ""


def local_path(uri: str) -> Path:
    """Return the absolute path of a plain path or a ``file://`` URI; StorageError for what is not on this machine."""
    if scheme_of(uri) != FILE:
        raise StorageError(f"{uri}: is not on this machine; give a path or a file:// URI")
    if not _SCHEME.match(uri):
        return Path(uri).absolute()
    parts = urlsplit(uri, allow_fragments=False)
    if parts.netloc not in ("", "localhost"):
        raise StorageError(f"{uri}: is on machine {parts.netloc!r}; write file:///folder with three slashes")
    path = f"{parts.path}?{parts.query}" if parts.query else parts.path
    return Path(unquote(path)).absolute()


def join(folder: str, name: str) -> str:
    """Return the URI of ``name`` within a folder; StorageError if the name leaves it, or the folder's bucket lacks."""
    if is_remote(folder):
        split_bucket(folder)
    return f"{folder.rstrip('/')}/{checked_name(name, folder)}"


def relative_name(uri: str, folder: str) -> str:
    """Return the name of an object within a folder; StorageError if, put below another folder, it would leave that."""
    return checked_name(uri.removeprefix(f"{folder.rstrip('/')}/"), folder)


def checked_name(name: str, folder: str) -> str:
    """Return a name if it stays within any folder: StorageError if empty, absolute, or with a part such as ``..``."""
    parts = name.split("/")
    plain = all(part not in ("", ".", "..") for part in parts) and not set(name) & {"\\", "\0"}
    if not plain or PurePosixPath(name).is_absolute():
        raise StorageError(
            f"{folder}: the name {name!r} leaves its folder; names are plain, such as 'volumes/site.npy'"
        )
    return name
