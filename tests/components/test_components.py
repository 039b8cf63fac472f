"""Components declare what the steps of their names take and return, and carry a command and nothing else."""

import inspect
from importlib import import_module
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from components.pattern import COMMAND
from flprivacy import steps
from flprivacy.execution.container import StepResult
from flprivacy.execution.isolation import TARGET_PARAMETER
from flprivacy.execution.parts import PART_PARAMETER
from flprivacy.execution.passing import Open

COMPONENTS = Path(__file__).parents[2] / "components"
NAMES = sorted(p.parent.name for p in COMPONENTS.glob("*/component.py"))
MODULES = sorted(p.stem for p in Path(steps.__file__).parent.glob("*.py") if not p.stem.startswith("_"))
TYPES = {"String": str, "Integer": int, "Float": float, "Boolean": bool, "List": tuple, "Dict": dict}
RESULTS = {"String": str, "Integer": int, "Float": float, "Boolean": bool, "List": list, "Dict": dict}
METADATA_ONLY = {"system.Metrics@0.0.1", "system.ClassificationMetrics@0.0.1"}


def _spec(name: str) -> Any:
    return getattr(import_module(f"components.{name}.component"), name).component_spec


def _step(name: str) -> Any:
    return getattr(import_module(f"flprivacy.steps.{name}"), name)


def _plain(hint: Any) -> Any:
    return getattr(hint, "__origin__", hint)


def test_every_component_has_its_step_and_every_step_its_component() -> None:
    assert NAMES == MODULES
    assert len(NAMES) > 15
    assert all(inspect.isfunction(_step(name)) for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_component_declares_what_its_step_takes(name: str) -> None:
    spec, hints = _spec(name), get_type_hints(_step(name))
    returned = hints.pop("return")
    for key, given in (spec.inputs or {}).items():
        hint = hints.pop(TARGET_PARAMETER if key == PART_PARAMETER else key)  # the step is called for each of them
        if given.type in TYPES:
            assert _plain(hint) is TYPES[given.type], key
        else:
            one = Path | None if given.optional else Path
            assert hint == (tuple[Path, ...] if given.is_artifact_list else one), key
    outputs = spec.outputs or {}
    written = {key for key, output in outputs.items() if output.type not in {*RESULTS, *METADATA_ONLY}}
    assert set(hints) == written
    assert all(hints[key] is Path for key in written)
    parameters = {key: output.type for key, output in outputs.items() if output.type in RESULTS}
    if returned is not StepResult:
        assert _plain(returned) is (RESULTS[parameters.pop("Output")] if parameters else type(None))
        assert not parameters


@pytest.mark.parametrize("name", NAMES)
def test_what_a_step_needs_is_what_its_component_asks_for(name: str) -> None:
    """A default in one place only would be a parameter that the form shows and the step does not have, or none."""
    asked = _spec(name).inputs or {}
    for key, parameter in inspect.signature(_step(name)).parameters.items():
        if key in asked and asked[key].optional:
            assert parameter.default is not inspect.Parameter.empty, key


def test_what_a_backend_shows_to_all_is_a_short_list() -> None:
    """docs/store.md says for each why; of every other artifact the backend gets a reference."""
    shown = set()
    for name in NAMES:
        hints, spec = get_type_hints(_step(name), include_extras=True), _spec(name)
        shown |= {f"{name}.{key}" for key in spec.outputs or {} if hints.get(key) == Open}
    plans = {f"{name}.plan" for name in ("plan_study", "plan_audit", "plan_generator", "plan_dp_check")}
    pages = {"report_audit.report", "report_audit.page", "report_audit.verdicts", "evaluate_generator.page"}
    pages |= {"synthesize.page", "dp_check.check", "dp_check.page"}
    assert shown == plans | pages | {"find_targets.found", "make_cohort.cohort"}


@pytest.mark.parametrize("name", NAMES)
def test_a_component_is_a_command(name: str) -> None:
    spec = _spec(name)
    container = spec.implementation.container
    assert container.command == COMMAND
    assert container.args[0] == name
    described = [
        spec.description,
        *(one.description for one in [*(spec.inputs or {}).values(), *(spec.outputs or {}).values()]),
    ]
    assert not any(described)


@pytest.mark.parametrize("name", NAMES)
def test_its_readme_is_in_step(name: str) -> None:
    from components.readme import page

    text = (COMPONENTS / name / "README.md").read_text()
    assert text == page(COMPONENTS / name)
