"""The targets of a run, by name, as a pipeline's parameter holds them."""

from collections.abc import Mapping

from flprivacy.core.errors import ConfigError
from flprivacy.storage.parameters import resolve_mapping


def resolve_targets(targets: Mapping[str, str]) -> dict[str, str]:
    """Return the targets by name, read from the store if the parameter refers to them there.

    Args:
        targets: name -> location; or ``{"@": "<URI>#<SHA-256>"}``, the JSON object with as much.

    Raises:
        ConfigError: the reference or what it refers to is wrong, or changed since it was written.
        StorageError: it cannot be read.
    """
    found = resolve_mapping(targets, "targets")
    for name, word in found.items():
        if not isinstance(word, str):
            raise ConfigError(f"targets: {name!r} is {type(word).__name__}, not a location; give name and location")
    return found
