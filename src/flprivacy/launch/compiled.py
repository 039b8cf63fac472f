"""The compiled pipelines: their files, parameters and types, steps, and the digest of their content."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

import flprivacy
from flprivacy.core.digests import digest_json
from flprivacy.core.errors import ConfigError

PIPELINES_VARIABLE = "FLPRIVACY_PIPELINES"
_DIGEST_LETTERS = 12
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


@dataclass(frozen=True)
class Parameter:
    """A parameter of a pipeline."""

    name: str  # of the parameter
    kind: str  # KFP's type, such as ``STRING``, ``NUMBER_INTEGER``, ``BOOLEAN``, ``LIST``, ``STRUCT``
    required: bool  # whether it has no default
    default: Any = None  # None if there is none


@dataclass(frozen=True, kw_only=True)
class CompiledPipeline:
    """A compiled pipeline."""

    name: str  # of the pipeline on the command line, such as ``privacy_audit``
    file: Path  # its YAML: the pipeline, and as a second document its Kubernetes settings
    title: str  # its name on the server
    description: str  # one line
    digest: str  # SHA-256 of both documents, without the version of the SDK that wrote them
    parameters: dict[str, Parameter]  # by name
    steps: tuple[str, ...]  # names of its tasks that run a container, in order of the file
    images: tuple[str, ...] = ()  # of its containers, sorted

    @property
    def version(self) -> str:
        """Return the name of this content's version on the server."""
        return f"{flprivacy.__version__}-{self.digest[:_DIGEST_LETTERS]}"


def compiled_file(name: str) -> Path:
    """Return the compiled file of a pipeline; ConfigError if there is none of that name."""
    folder = Path(os.environ.get(PIPELINES_VARIABLE) or Path(flprivacy.__file__).with_name("pipelines"))
    path = folder / f"{name.replace('-', '_')}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in folder.glob("*.yaml"))) or "none"
        raise ConfigError(
            f"{path}: no such pipeline (found: {known}); choose one, or set {PIPELINES_VARIABLE} to the folder "
            "of compiled pipelines"
        )
    return path


def read_compiled(name: str) -> CompiledPipeline:
    """Return a compiled pipeline by its name; ConfigError if there is none, or the file is not a compiled pipeline."""
    file = compiled_file(name)
    try:
        documents = [document for document in yaml.load_all(file.read_bytes(), Loader=_LOADER) if document]
        spec = documents[0]
        inputs = spec["root"].get("inputDefinitions", {}).get("parameters", {})
        steps = step_names(spec)
        images = _images(spec)
    except (yaml.YAMLError, LookupError, AttributeError, TypeError) as error:
        raise ConfigError(f"{file}: not a compiled pipeline ({type(error).__name__}); compile it again") from error
    spec.pop("sdkVersion", None)
    return CompiledPipeline(
        name=name,
        file=file,
        title=f"flprivacy-{name.replace('_', '-')}",
        description=spec["pipelineInfo"].get("description", ""),
        digest=digest_json(documents),
        parameters={
            name: Parameter(
                name,
                one["parameterType"],
                "defaultValue" not in one and not one.get("isOptional", False),
                one.get("defaultValue"),
            )
            for name, one in inputs.items()
        },
        steps=steps,
        images=images,
    )


def step_names(spec: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the tasks that run a container, those within loops too, of a specification that may be empty.

    A specification is the first document of a pipeline's YAML.
    """
    return tuple(dict.fromkeys(_steps(spec["root"], spec))) if spec else ()


def _images(spec: Mapping[str, Any]) -> tuple[str, ...]:
    executors = spec["deploymentSpec"]["executors"].values()
    return tuple(sorted({str(one["container"]["image"]) for one in executors if "container" in one}))


def without_retries(file: Path) -> str:
    """Return a compiled pipeline whose steps are tried once: on one machine the next attempt would fail the same way.

    The settings for Kubernetes, the second document, are left out as well; a local run does not read them.
    """
    spec = next(iter(yaml.load_all(file.read_bytes(), Loader=_LOADER)))
    dags = [spec["root"], *spec["components"].values()]
    for task in (task for part in dags for task in part.get("dag", {}).get("tasks", {}).values()):
        task.pop("retryPolicy", None)
    return str(yaml.dump(spec, Dumper=_DUMPER, sort_keys=False))


def _steps(component: Mapping[str, Any], spec: Mapping[str, Any]) -> Iterator[str]:
    for name, task in component["dag"]["tasks"].items():
        inner = spec["components"][task["componentRef"]["name"]]
        if "dag" in inner:
            yield from _steps(inner, spec)
        else:
            yield name
