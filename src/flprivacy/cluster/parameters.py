"""From words on the command line to typed parameters of a pipeline that runs on a cluster."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from flprivacy.cluster.compiled import CompiledPipeline, Parameter
from flprivacy.core.errors import ConfigError
from flprivacy.core.target_source import parse_source
from flprivacy.launch.arguments import overrides, re_audit_arguments, study_arguments
from flprivacy.presets import is_file
from flprivacy.storage.parameters import REFERENCE, store_object
from flprivacy.storage.places import STORE_VARIABLE
from flprivacy.storage.uris import is_remote

MOST_BYTES = 10_000  # of all parameters together; the API server refuses more
_INLINE_BYTES = 8_000
_BY_REFERENCE = {"targets", "overrides"}  # the steps look into the store for these; KFP itself reads the others
_MOUNTED = "file://"
_ELSEWHERE = "no pod can read this machine's disk; copy it to s3:// or gs:// and give that URI"
_KINDS: dict[str, tuple[type | tuple[type, ...], str]] = {
    "STRING": (str, "text"),
    "NUMBER_INTEGER": (int, "a whole number"),
    "NUMBER_DOUBLE": ((int, float), "a number"),
    "BOOLEAN": (bool, "true or false"),
    "LIST": (list, "a list, such as [1, 2]"),
    "STRUCT": (dict, 'a mapping, such as {"a": 1}'),
}


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a person asked to run.

    Attributes:
        preset: name of a preset, or path of a YAML file; empty: the pipeline's own default.
        changes: ``field=value`` to replace in it.
        cohort: URI of the cohort.
        targets: ``name=location``.
        targets_from: where targets are published.
        store: URI of the store; empty: the cluster's.
        fail_on_leak: let the run fail on a leak.
        fail_on_worse: let the run fail on a change for the worse.
        values: ``parameter=value`` of the pipeline's own parameters.
    """

    preset: str = ""
    changes: tuple[str, ...] = ()
    cohort: str = ""
    targets: tuple[str, ...] = ()
    targets_from: tuple[str, ...] = ()
    store: str = ""
    fail_on_leak: bool = False
    fail_on_worse: bool = False
    values: tuple[str, ...] = ()


def run_parameters(pipeline: CompiledPipeline, request: Request) -> dict[str, Any]:
    """Return the parameters of a run: checked, typed, and small.

    A preset of the user's own, which no pod could read here, is kept in the store, and so is whatever would make the
    parameters too large. Nothing is written before everything is checked.

    Raises:
        ConfigError: a wrong word, a path that only this machine has, or something to keep and no store.
        StorageError: the store cannot be written.
    """
    given = _asked(pipeline, request)
    _check_places(request, given.get("targets", {}))
    for word in request.values:
        name, mark, text = word.partition("=")
        if not mark or name not in pipeline.parameters:
            known = ", ".join(pipeline.parameters)
            raise ConfigError(f"--param {word!r}: {pipeline.name} has no such parameter; write NAME=VALUE of {known}")
        given[name] = _typed(pipeline.parameters[name], text)
    for parameter in pipeline.parameters.values():
        if parameter.required and parameter.name not in given:
            raise ConfigError(f"{pipeline.name} needs {parameter.name}; give it with {_option(parameter.name)}")
    if "targets_from" in pipeline.parameters and not {"targets", "targets_from"} & given.keys():
        raise ConfigError(f"{pipeline.name} needs --targets-from LOCATION or --target NAME=LOCATION; give at least one")
    return _small(_with_kept_preset(given, request), request)


def _asked(pipeline: CompiledPipeline, request: Request) -> dict[str, Any]:
    """Return the parameters behind the options; refuse an option that the pipeline has no parameter for."""
    fields, preset = overrides(request.changes), request.preset or "demo"
    found = study_arguments(preset, fields)
    if not (request.preset or request.changes):
        found = {}
    if request.cohort:
        found["cohort"] = request.cohort
    if request.targets or request.targets_from:
        named = re_audit_arguments(preset, fields, request.cohort or "-", request.targets, request.targets_from)
        found |= {name: named[name] for name in ("targets", "targets_from") if named[name]}
    flags = ("store", "fail_on_leak", "fail_on_worse")
    found |= {name: getattr(request, name) for name in flags if getattr(request, name)}
    for name in found:
        if name not in pipeline.parameters and name != "preset_digest":
            raise ConfigError(f"{_option(name)} is not for {pipeline.name}; leave it out")
    return {name: value for name, value in found.items() if name in pipeline.parameters}


def _option(name: str) -> str:
    options = {
        "preset": "--preset",
        "overrides": "--set",
        "cohort": "--cohort",
        "targets": "--target",
        "targets_from": "--targets-from",
        "fail_on_worse": "--fail-on-worse",
        "store": "--store",
        "fail_on_leak": "--fail-on-leak",
    }
    return options.get(name, f"--param {name}=VALUE")


def _check_places(request: Request, targets: Mapping[str, str]) -> None:
    """Refuse what only this machine's disk holds. A ``file://`` URI is taken for a volume that pods mount, too.

    Args:
        request: what was asked.
        targets: name -> location, with what YAML files on this machine say filled in.
    """
    published = [("--targets-from", word) for word in request.targets_from if not parse_source(word).is_mlflow]
    for option, location in [("--cohort", request.cohort), ("--store", request.store), *published]:
        if location and not (is_remote(location) or location.startswith(_MOUNTED)):
            raise ConfigError(f"{option} {location}: {_ELSEWHERE}")
    given = dict(word.split("=", 1) for word in request.targets)
    for name, word in targets.items():
        source = parse_source(word)
        mounted = given[name].startswith(_MOUNTED)
        if not (source.is_mlflow or is_remote(source.location) or mounted):
            raise ConfigError(f"--target {name}={source.location}: {_ELSEWHERE}")


def _typed(parameter: Parameter, text: str) -> Any:
    """Return a word as a value of the parameter's type, as KFP wants it."""
    kinds, rule = _KINDS.get(parameter.kind, (str, "text"))
    if kinds is str:
        return text
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        value = None
    wrong_boolean = isinstance(value, bool) and kinds is not bool
    if wrong_boolean or not isinstance(value, kinds):
        raise ConfigError(f"--param {parameter.name}={text}: {parameter.name} takes {rule}")
    return value


def _with_kept_preset(given: Mapping[str, Any], request: Request) -> dict[str, Any]:
    preset = given.get("preset", "")
    if not preset or not is_file(preset):
        return dict(given)
    path = Path(preset)
    uri, digest = store_object(_store(request, f"preset {path.name}"), path.read_bytes(), path.name)
    if digest != given["preset_digest"]:
        raise ConfigError(f"{path}: changed while it was being read; give the command again")
    return {**given, "preset": uri}


def _small(given: Mapping[str, Any], request: Request) -> dict[str, Any]:
    found = dict(given)
    for name in sorted(_BY_REFERENCE & found.keys(), key=lambda key: -_size(found[key])):
        if _size(found) > _INLINE_BYTES and set(found[name]) != {REFERENCE}:
            data = json.dumps(found[name], sort_keys=True).encode()
            uri, digest = store_object(_store(request, name), data, f"{name}.json")
            found[name] = {REFERENCE: f"{uri}#{digest}"}
    if _size(found) >= MOST_BYTES:
        raise ConfigError(f"the parameters have {_size(found)} bytes, {MOST_BYTES} are too many; shorten --param")
    return found


def _size(value: Any) -> int:
    return len(json.dumps(value).encode())


def _store(request: Request, what: str) -> str:
    """Return where to keep something that pods must read."""
    store = request.store or os.environ.get(STORE_VARIABLE, "")
    if not store or not (is_remote(store) or store.startswith(_MOUNTED)):
        raise ConfigError(
            f"{what} must be kept where pods can read it; give --store s3://bucket/folder or gs://bucket/folder "
            f"(or set {STORE_VARIABLE})"
        )
    return store
