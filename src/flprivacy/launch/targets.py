"""From a target on the command line to the word that pipelines pass on."""

from dataclasses import replace
from pathlib import Path

from flprivacy.core.errors import ConfigError
from flprivacy.core.target_source import YAML_SUFFIXES, TargetSource, parse_source, parse_source_file
from flprivacy.storage.uris import is_remote, local_path

_MOST_YAML_BYTES = 1 << 16


def target_source(word: str) -> TargetSource:
    """Read ``LOCATION[,field=value...]``, or a YAML file that says as much; paths become absolute.

    A path within a YAML file counts from the file's folder.

    Raises:
        ConfigError: an unknown field, a wrong value, or no such YAML file.
        StorageError: a URI of a kind that is not supported.
    """
    source = parse_source(word)
    if not source.is_mlflow and not is_remote(source.location) and source.location.endswith(YAML_SUFFIXES):
        return _from_yaml(source)
    return _anchored(source, Path())


def _from_yaml(named: TargetSource) -> TargetSource:
    path = local_path(named.location)
    if named.facts():
        raise ConfigError(f"{path}: write {', '.join(named.facts())} into this file, not behind its name")
    try:
        if path.stat().st_size > _MOST_YAML_BYTES:
            raise ConfigError(f"{path}: larger than a target's YAML is; check the path")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not a text file; give the YAML of a target") from error
    source = parse_source_file(text, str(path))
    return _anchored(source, path.parent)


def _anchored(source: TargetSource, folder: Path) -> TargetSource:
    """Return the source with paths that mean the same from any folder."""
    location = source.location if source.is_mlflow else _absolute(source.location, folder)
    return replace(source, location=location, members=source.members and _absolute(source.members, folder))


def _absolute(location: str, folder: Path) -> str:
    if is_remote(location):
        return location
    return str(local_path(location) if "://" in location else (folder / location).absolute())
