"""Build frozen dataclasses from plain mappings (YAML, JSON), with errors that name the field; keep them in files."""

import dataclasses
import functools
import json
import types
import typing
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

from flprivacy.core.errors import AuditError, ConfigError, FlprivacyError
from flprivacy.core.publish import write_json

T = typing.TypeVar("T")
_INLINE = "inline"
_SCALARS = (str, float, int, bool)


def inline(**implied: Any) -> Mapping[str, Any]:
    """Return the metadata of a dataclass field whose own fields stand beside those of the record that holds it.

    Args:
        implied: fields of the inner record that are not written because they are the same in every record.
    """
    return {_INLINE: implied}


def from_mapping(cls: type[T], mapping: Any, where: str = "") -> T:
    """Build dataclass ``cls`` from a mapping, recursing into dataclass, tuple and dict fields.

    Args:
        mapping: field name -> value; absent fields take their defaults.

    Raises:
        ConfigError: an unknown or missing field, or a value of the wrong type or range.
    """
    where = where or cls.__name__
    if not isinstance(mapping, Mapping):
        raise ConfigError(f"{where}: expected fields, got {mapping!r}; write 'field: value' lines")
    fields, hints = _fields(typing.cast(Hashable, cls))
    mapping = _gathered(fields, hints, mapping)
    unknown = sorted(map(str, set(mapping) - set(fields)))
    if unknown:
        raise ConfigError(f"{where}: unknown field {unknown[0]!r}; known fields are {', '.join(sorted(fields))}")
    missing = [
        name
        for name, f in fields.items()
        if name not in mapping and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise ConfigError(f"{where}: field {missing[0]!r} is missing; add it")
    values = {name: convert(hints[name], value, f"{where}.{name}") for name, value in mapping.items()}
    try:
        return cls(**values)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error


@functools.cache
def _fields(cls: Any) -> tuple[dict[str, "dataclasses.Field[Any]"], dict[str, Any]]:
    """Return a dataclass' fields and their types, by name."""
    return {f.name: f for f in dataclasses.fields(cls)}, typing.get_type_hints(cls)


def _gathered(
    fields: Mapping[str, "dataclasses.Field[Any]"], hints: Mapping[str, Any], mapping: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Put the fields of inline records below their field's name."""
    for name, field in fields.items():
        if _INLINE in field.metadata:
            inner = {f.name for f in dataclasses.fields(hints[name])}
            outer = {key: value for key, value in mapping.items() if key not in inner}
            mapping = outer | {name: field.metadata[_INLINE] | {k: mapping[k] for k in inner if k in mapping}}
    return mapping


def convert(hint: Any, value: Any, where: str) -> Any:
    """Return a value in the type of a hint: a scalar, tuple, dict, dataclass, or one of them or None.

    Raises:
        ConfigError: the value does not fit.
    """
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in args:
            return None
        return convert(next(a for a in args if a is not type(None)), value, where)
    if dataclasses.is_dataclass(hint):
        return from_mapping(typing.cast(type[Any], hint), value, where)
    if origin is tuple:
        return _convert_tuple(args, value, where)
    if origin is dict:
        if not isinstance(value, Mapping):
            raise ConfigError(f"{where}: expected 'name: value' lines, got {value!r}")
        return {str(k): convert(args[1], v, f"{where}.{k}") for k, v in value.items()}
    return _convert_scalar(hint, value, where)


def _convert_tuple(args: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise ConfigError(f"{where}: expected a list, got {value!r}")
    if len(args) == 2 and args[1] is Ellipsis:
        if args[0] in _SCALARS and all(type(v) is args[0] for v in value):
            return tuple(value)  # long lists of numbers
        return tuple(convert(args[0], v, f"{where}[{i}]") for i, v in enumerate(value))
    if len(value) != len(args):
        raise ConfigError(f"{where}: expected {len(args)} values, got {len(value)}")
    return tuple(convert(a, v, f"{where}[{i}]") for i, (a, v) in enumerate(zip(args, value, strict=True)))


def _convert_scalar(hint: Any, value: Any, where: str) -> Any:
    if hint is Any:
        return value
    if hint is int and isinstance(value, float) and value.is_integer():
        return int(value)  # KFP and JavaScript know one kind of number: a parameter 6 arrives as 6.0
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, bool) is not (hint is bool) or not isinstance(value, hint):
        raise ConfigError(f"{where}: expected {hint.__name__}, got {value!r}")
    return value


def to_mapping(value: Any) -> dict[str, Any]:
    """Return a dataclass as a JSON-able mapping (tuples become lists)."""
    return typing.cast(dict[str, Any], _plain(value))


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        found: dict[str, Any] = {}
        for field in dataclasses.fields(value):
            plain = _plain(getattr(value, field.name))
            if _INLINE in field.metadata:
                found |= {k: v for k, v in plain.items() if k not in field.metadata[_INLINE]}
            else:
                found[field.name] = plain
        return found
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value


class JsonRecord:
    """What the records of an audit share: how they are written and read.

    Subclasses are frozen dataclasses and name in ``_kind`` what they are, and in ``_step`` the step that writes them.
    """

    _kind: ClassVar[str]
    _step: ClassVar[str]
    _error: ClassVar[type[FlprivacyError]] = AuditError

    def write(self, path: Path) -> None:
        """Write the record atomically as JSON.

        Raises:
            StorageError: the folder cannot be created or is not writable.
        """
        write_json(path, to_mapping(self))

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a record written by :meth:`write`.

        Raises:
            AuditError: the file is missing or holds something else; ConfigError where it is a plan.
        """
        try:
            return from_mapping(cls, json.loads(path.read_text()), str(path))
        except (OSError, ValueError, ConfigError) as error:
            raise cls._error(f"{path}: not {cls._kind} ({error}); run the {cls._step} step again") from error
