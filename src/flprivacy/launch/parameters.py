"""From the options of a command to a pipeline's parameters: checked against the pipeline, before anything starts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from flprivacy.core.errors import ConfigError
from flprivacy.core.parts import check_target_name
from flprivacy.core.target_source import MLFLOW_PREFIXES, YAML_SUFFIXES, TargetSource, parse_source, parse_source_file
from flprivacy.execution.resources import RESOURCES, check_resources
from flprivacy.launch.compiled import CompiledPipeline
from flprivacy.presets import is_file, load_preset
from flprivacy.storage.uris import is_remote, local_path
from flprivacy.study.plan import GENERATOR_PIPELINE, check_can_work, check_trains_generator

DEFAULT_PRESET = "demo"
_MOST_YAML_BYTES = 1 << 16
_OPTIONS = {
    "preset": "--preset",
    "overrides": "--set",
    "cohort": "--cohort",
    "targets": "--target",
    "targets_from": "--targets-from",
    "store": "--store",
    "fail_on_leak": "--fail-on-leak",
    "fail_on_worse": "--fail-on-worse",
}
_KINDS: dict[str, tuple[type | tuple[type, ...], str]] = {
    "STRING": (str, "text"),
    "NUMBER_INTEGER": (int, "a whole number"),
    "NUMBER_DOUBLE": ((int, float), "a number"),
    "BOOLEAN": (bool, "true or false"),
    "LIST": (list, "a list, such as [1, 2]"),
    "STRUCT": (dict, 'a mapping, such as {"a": 1}'),
}


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """What a person asked to run, as the options of a command say it."""

    preset: str = ""  # name of a preset, or path or URI of a YAML file; empty: the pipeline's default
    changes: tuple[str, ...] = ()  # ``field=value`` to replace in it
    cohort: str = ""  # path or URI of the cohort
    targets: tuple[str, ...] = ()  # ``name=location``
    targets_from: tuple[str, ...] = ()  # where targets are published
    store: str = ""  # path or URI of the store; empty: the default one
    fail_on_leak: bool = False  # let the run fail on a leak
    fail_on_worse: bool = False  # let the run fail on a change for the worse
    values: tuple[str, ...] = ()  # ``parameter=value`` of the pipeline's own parameters


def parameters_of(pipeline: CompiledPipeline, options: RunOptions) -> dict[str, Any]:
    """Return the parameters that were given, typed; paths are absolute, URIs as they are.

    ConfigError for a wrong option or value, one that the pipeline has no parameter for, or one that is missing;
    StorageError for a URI of a kind that is not supported.
    """
    asked = {
        "cohort": _location(options.cohort) if options.cohort else "",
        "targets": _targets(options.targets),
        "targets_from": [_location(word) for word in options.targets_from],
        "store": options.store,
        "fail_on_leak": options.fail_on_leak,
        "fail_on_worse": options.fail_on_worse,
    }
    given = _configuration(pipeline.name, options) | {name: value for name, value in asked.items() if value}
    for name in given:
        if name not in pipeline.parameters:
            raise ConfigError(f"{_OPTIONS[name]} is not for {pipeline.name}; leave it out")
    given |= dict(_typed(pipeline, word) for word in options.values)
    check_resources(**{name: str(given[name]) for name in RESOURCES if name in given})
    for parameter in pipeline.parameters.values():
        if parameter.required and parameter.name not in given:
            option = _OPTIONS.get(parameter.name, f"--param {parameter.name}=VALUE")
            raise ConfigError(f"{pipeline.name} needs {parameter.name}; give it with {option}")
    if "targets_from" in pipeline.parameters and not {"targets", "targets_from"} & given.keys():
        raise ConfigError(f"{pipeline.name} needs --targets-from LOCATION or --target NAME=LOCATION; give at least one")
    return given


def overrides(changes: Sequence[str]) -> dict[str, Any]:
    """Return ``("cohort.scans=400",)`` as ``{"cohort": {"scans": 400}}``; values are YAML, else ConfigError."""
    fields: dict[str, Any] = {}
    for change in changes:
        path, mark, text = change.partition("=")
        if not mark or not all(path.split(".")):
            raise ConfigError(f"--set {change!r}: write it as field=value, such as cohort.scans=400")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ConfigError(f"--set {change!r}: {text!r} is not a YAML value; quote it") from error
        *parents, leaf = path.split(".")
        inner = fields
        for name in parents:
            inner = inner.setdefault(name, {})
        inner[leaf] = value
    return fields


def target_source(word: str) -> TargetSource:
    """Read ``LOCATION[,field=value...]``, or a YAML file that says the same; paths become absolute.

    A path within a YAML file is relative to the file's folder. ConfigError for an unknown field, a wrong value, or no
    such YAML file; StorageError for a URI of a kind that is not supported.
    """
    source, folder = parse_source(word), Path()
    if not source.is_mlflow and not is_remote(source.location) and source.location.endswith(YAML_SUFFIXES):
        folder = local_path(source.location).parent
        source = _read_source(source)
    members, own_answers = (place and _location(place, folder) for place in (source.members, source.own_answers))
    return replace(source, location=_location(source.location, folder), members=members, own_answers=own_answers)


def _configuration(pipeline: str, options: RunOptions) -> dict[str, Any]:
    """Return the parameters that hold the configuration: none where neither a preset nor a change was given."""
    if not (options.preset or options.changes):
        return {}
    preset, fields = options.preset or DEFAULT_PRESET, overrides(options.changes)
    study = load_preset(preset, fields).study
    if pipeline == GENERATOR_PIPELINE:
        check_trains_generator(study, preset=preset)
    elif pipeline != "dp_check":
        check_can_work(study, preset=preset, trains=pipeline == "study")
    if is_file(preset):
        preset = str(Path(preset).absolute())
    return {"preset": preset, "overrides": _without_nulls(fields)}


def _without_nulls(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Write a null as the text "null": kfp refuses a null inside a parameter, and presets read both alike."""
    return {
        name: _without_nulls(value) if isinstance(value, Mapping) else "null" if value is None else value
        for name, value in fields.items()
    }


def _targets(words: Sequence[str]) -> dict[str, str]:
    named: dict[str, str] = {}
    for word in words:
        name, mark, location = word.partition("=")
        if not mark or not name or not location:
            raise ConfigError(f"--target {word!r}: write it as name=folder, name=file or name=URI")
        check_target_name(name)
        if name in named:
            raise ConfigError(f"--target {name!r} is given twice; give every target its own name")
        named[name] = str(target_source(location))
    return named


def _read_source(named: TargetSource) -> TargetSource:
    path = local_path(named.location)
    if named.facts():
        raise ConfigError(f"{path}: write {', '.join(named.facts())} into this file, not after its name")
    try:
        if path.stat().st_size > _MOST_YAML_BYTES:
            raise ConfigError(f"{path}: too large for the YAML of a target; check the path")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not a text file; give the YAML of a target") from error
    return parse_source_file(text, str(path))


def _location(word: str, folder: Path | None = None) -> str:
    """Return a URI as it is, and a path, which is relative to a folder, as one that means the same from any folder."""
    if word.startswith(MLFLOW_PREFIXES) or is_remote(word):
        return word
    if "://" in word:
        local_path(word)  # refuses another machine's
        return word
    return str(Path(folder or "", word).absolute())


def _typed(pipeline: CompiledPipeline, word: str) -> tuple[str, Any]:
    """Return the name and value of ``NAME=VALUE``, the value of the parameter's type, as KFP wants it."""
    name, mark, text = word.partition("=")
    if not mark or name not in pipeline.parameters:
        known = ", ".join(pipeline.parameters)
        raise ConfigError(
            f"--param {word!r}: {pipeline.name} has no such parameter; write NAME=VALUE, NAME one of {known}"
        )
    kinds, rule = _KINDS.get(pipeline.parameters[name].kind, (str, "text"))
    if kinds is str:
        return name, text
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        value = None
    wrong_boolean = isinstance(value, bool) and kinds is not bool
    if wrong_boolean or not isinstance(value, kinds):
        raise ConfigError(f"--param {name}={text}: {name} takes {rule}")
    return name, value
