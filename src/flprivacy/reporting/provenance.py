"""Where the numbers come from: the audit's provenance and configuration, laid out whatever they hold."""

import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One titled piece of provenance: rows of a table, or lines to be copied as they are."""

    title: str
    rows: tuple[tuple[str, str], ...] = ()
    code: str = ""


def entries(provenance: Mapping[str, Any]) -> tuple[Entry, ...]:
    """Return provenance as entries: single facts together, then commands, then each group of facts."""
    facts = tuple((_words(k), _scalar(v)) for k, v in provenance.items() if not _is_group(k, v))
    found = [Entry(title="Run", rows=facts)] if facts else []
    groups = [(k, v) for k, v in provenance.items() if _is_group(k, v)]
    for key, value in sorted(groups, key=lambda item: not _is_command(item[0])):
        if _is_command(key):
            found.append(Entry(title=_words(key).capitalize(), code=_commands(value)))
        elif value not in ({}, []):
            found.append(Entry(title=_words(key).capitalize(), rows=tuple(_flat(value))))
    return tuple(found)


def as_yaml(config: Mapping[str, Any]) -> str:
    """Return a configuration as YAML, in its own order."""
    return yaml.safe_dump(json.loads(json.dumps(config, default=str)), sort_keys=False, allow_unicode=True, width=100)


def flat(mapping: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return nested facts as (dotted name, value) rows."""
    return tuple(_flat(mapping))


def _is_command(key: str) -> bool:
    return "command" in key.lower()


def _is_group(key: str, value: Any) -> bool:
    return _is_command(key) or isinstance(value, (Mapping, list, tuple))


def _commands(value: Any) -> str:
    """Return commands line by line; a list without blanks in any item is the words of a single command."""
    if isinstance(value, Mapping):
        return "\n".join(f"# {name}\n{_commands(command)}" for name, command in value.items())
    if isinstance(value, (list, tuple)):
        words = [str(item) for item in value]
        return "\n".join(words) if any(" " in word for word in words) else shlex.join(words)
    return str(value)


def _flat(value: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _flat(item, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(value, (list, tuple)) and any(isinstance(item, (Mapping, list, tuple)) for item in value):
        for i, item in enumerate(value):
            yield from _flat(item, f"{prefix}[{i}]")
    else:
        yield _words(prefix), _scalar(value)


def _scalar(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_scalar, value))
    return (
        {True: "yes", False: "no"}[value] if isinstance(value, bool) else "not known" if value is None else str(value)
    )


def _words(key: str) -> str:
    return key.replace("_", " ")
