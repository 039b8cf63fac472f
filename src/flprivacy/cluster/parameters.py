"""The parameters of a run on a cluster: only what pods can read, and small."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flprivacy.core.errors import ConfigError
from flprivacy.core.target_source import MLFLOW_PREFIXES, parse_source
from flprivacy.launch.compiled import CompiledPipeline
from flprivacy.launch.parameters import RunOptions, parameters_of
from flprivacy.presets import is_file
from flprivacy.storage.parameters import REFERENCE, store_object
from flprivacy.storage.places import STORE_VARIABLE
from flprivacy.study.plan import check_number

MOST_BYTES = 10_000  # of all parameters together; the API server refuses more
_INLINE_BYTES = 8_000
_READABLE = ("s3://", "gs://", "file://", *MLFLOW_PREFIXES)
_BY_REFERENCE = {"targets", "overrides"}  # the steps resolve references in these; KFP itself reads the others


def run_parameters(pipeline: CompiledPipeline, options: RunOptions) -> dict[str, Any]:
    """Return the parameters of a run: checked, typed, and small.

    A preset file of the user's, which no pod could read here, is kept in the store, and so is whatever would make the
    parameters too large. Nothing is written before everything is checked. ConfigError for a wrong option, a path that
    only this machine has, or something to keep and no store.
    """
    given = parameters_of(pipeline, options)
    check_number(len(given.get("targets", {})))
    _check_readable_by_pods(given)
    store = options.store or os.environ.get(STORE_VARIABLE, "")
    return _small(_with_kept_preset(given, store), store)


def _check_readable_by_pods(given: Mapping[str, Any]) -> None:
    """Refuse paths, which only this machine has. A ``file://`` URI is taken to be a volume that pods mount, too."""
    places = [("--cohort ", given.get("cohort", "")), ("--store ", given.get("store", ""))]
    places += [("--targets-from ", word) for word in given.get("targets_from", ())]
    for name, word in given.get("targets", {}).items():
        source = parse_source(word)
        places.append((f"--target {name}=", source.location))
        places += [(f"--target {name}=...,{one}=", getattr(source, one)) for one in ("members", "own_answers")]
    for option, location in places:
        if location and not location.startswith(_READABLE):
            raise ConfigError(
                f"{option}{location}: pods cannot read this machine's disk; copy it to s3:// or gs:// and give that URI"
            )


def _with_kept_preset(given: Mapping[str, Any], store: str) -> dict[str, Any]:
    preset = given.get("preset", "")
    if not preset or not is_file(preset):
        return dict(given)
    path = Path(preset)
    uri, _ = store_object(_checked(store, f"preset {path.name}"), path.read_bytes(), path.name)
    return {**given, "preset": uri}


def _small(given: Mapping[str, Any], store: str) -> dict[str, Any]:
    found = dict(given)
    for name in sorted(_BY_REFERENCE & found.keys(), key=lambda key: -_size(found[key])):
        if _size(found) > _INLINE_BYTES and set(found[name]) != {REFERENCE}:
            data = json.dumps(found[name], sort_keys=True).encode()
            uri, digest = store_object(_checked(store, name), data, f"{name}.json")
            found[name] = {REFERENCE: f"{uri}#{digest}"}
    if _size(found) >= MOST_BYTES:
        raise ConfigError(
            f"the parameters have {_size(found)} bytes, the limit is {MOST_BYTES}; shorten the values of --param"
        )
    return found


def _size(value: Any) -> int:
    return len(json.dumps(value).encode())


def _checked(store: str, what: str) -> str:
    """Return the store, if pods can read it."""
    if not store.startswith(_READABLE):
        raise ConfigError(
            f"{what} must be kept where pods can read it; give --store s3://bucket/folder or gs://bucket/folder "
            f"(or set {STORE_VARIABLE})"
        )
    return store
