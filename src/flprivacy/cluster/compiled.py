"""What a compiled pipeline says of itself: its parameters and their types, its steps, and the digest of its content."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from flprivacy import __version__
from flprivacy.core.digests import digest_json
from flprivacy.core.errors import ConfigError
from flprivacy.launch.local import compiled_pipeline

_DIGEST_LETTERS = 12


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """A parameter of a pipeline.

    Attributes:
        name: of the parameter.
        kind: KFP's type, such as ``STRING``, ``NUMBER_INTEGER``, ``BOOLEAN``, ``LIST``, ``STRUCT``.
        required: it has no default.
    """

    name: str
    kind: str
    required: bool


@dataclass(frozen=True, kw_only=True)
class CompiledPipeline:
    """A compiled pipeline.

    Attributes:
        name: of the pipeline on the command line, such as ``privacy_audit``.
        file: its YAML: the pipeline, and as a second document its Kubernetes settings.
        title: its name on the server.
        description: one line.
        digest: SHA-256 of both documents, without the version of the SDK that wrote them.
        parameters: by name.
        steps: names of its tasks that run a container, in order of the file.
    """

    name: str
    file: Path
    title: str
    description: str
    digest: str
    parameters: dict[str, Parameter]
    steps: tuple[str, ...]

    @property
    def version(self) -> str:
        """Return the name of this content's version on the server."""
        return f"{__version__}-{self.digest[:_DIGEST_LETTERS]}"


def read_compiled(name: str) -> CompiledPipeline:
    """Return a compiled pipeline by its name.

    Raises:
        ConfigError: there is none of that name, or the file is no compiled pipeline.
    """
    file = compiled_pipeline(name)
    try:
        documents = [document for document in yaml.safe_load_all(file.read_text(encoding="utf-8")) if document]
        spec = documents[0]
        root = spec["root"]
        inputs = root.get("inputDefinitions", {}).get("parameters", {})
        steps = step_names(spec)
    except (yaml.YAMLError, UnicodeDecodeError, LookupError, AttributeError, TypeError) as error:
        raise ConfigError(f"{file}: not a compiled pipeline ({type(error).__name__}); compile it again") from error
    spec.pop("sdkVersion", None)
    return CompiledPipeline(
        name=name,
        file=file,
        title=f"flprivacy-{name.replace('_', '-')}",
        description=spec["pipelineInfo"].get("description", ""),
        digest=digest_json(documents),
        parameters={key: _parameter(key, value) for key, value in inputs.items()},
        steps=steps,
    )


def step_names(spec: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of a pipeline's tasks that run a container, those within loops too.

    Args:
        spec: the pipeline's specification, the first document of its YAML; empty: there are none.
    """
    return tuple(dict.fromkeys(_steps(spec["root"], spec))) if spec else ()


def _parameter(name: str, spec: Mapping[str, Any]) -> Parameter:
    required = "defaultValue" not in spec and not spec.get("isOptional", False)
    return Parameter(name=name, kind=spec["parameterType"], required=required)


def _steps(component: Mapping[str, Any], spec: Mapping[str, Any]) -> Iterator[str]:
    for name, task in component["dag"]["tasks"].items():
        inner = spec["components"][task["componentRef"]["name"]]
        if "dag" in inner:
            yield from _steps(inner, spec)
        else:
            yield name
