"""A preset in an object store, by its URI alone: the first step takes its digest, the plan is of that very file."""

from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from flprivacy import presets
from flprivacy.core.errors import ConfigError
from flprivacy.presets import load_preset
from flprivacy.steps.plan_dp_check import plan_dp_check
from flprivacy.steps.plan_study import plan_study
from flprivacy.steps.resolve_inputs import resolve_inputs
from flprivacy.storage.backends.contract import ChangedObjectError
from flprivacy.storage.parameters import store_object
from flprivacy.study.plan import Plan
from tests.services.scripted_s3 import ScriptedS3

URI = "s3://bucket/mine.yaml"
DEMO = (resources.files(presets) / "demo.yaml").read_bytes()


def _now(preset: str = URI) -> str:
    return resolve_inputs(cohort="", targets={}, preset=preset)


@pytest.mark.parametrize("plan_run", [plan_study, plan_dp_check])
def test_it_is_planned_as_it_is_and_anew_when_it_changes(
    plan_run: Callable[..., Any], scripted: ScriptedS3, tmp_path: Path
) -> None:
    scripted.objects["bucket"] = {"mine.yaml": DEMO}
    before = _now()
    given = {"preset": URI, "overrides": {}}
    plan_run(**given, resolved=before, plan=tmp_path / "plan.json")
    assert Plan.read(tmp_path / "plan.json").study.cohort == load_preset("demo").study.cohort
    scripted.objects["bucket"]["mine.yaml"] = DEMO.replace(b"# ", b"# another ", 1) + b"\n"
    assert _now() != before
    with pytest.raises(ChangedObjectError, match=r"mine\.yaml: changed since it was resolved; run again"):
        plan_run(**given, resolved=before, plan=tmp_path / "other.json")
    assert not (tmp_path / "other.json").exists()
    plan_run(**given, resolved=_now(), plan=tmp_path / "other.json")


def test_one_that_comes_along_has_its_name_and_a_wrong_one_is_refused_at_once() -> None:
    assert _now("demo") == "demo"
    with pytest.raises(ConfigError, match="preset 'demos' is unknown; choose"):
        _now("demos")


def test_an_object_that_is_named_after_its_digest_must_have_it(tmp_path: Path) -> None:
    uri, digest = store_object(tmp_path.as_uri(), DEMO, "mine.yaml")
    assert _now(uri) == digest
    next(tmp_path.glob("configs/*/mine.yaml")).write_bytes(DEMO + b"\n")
    with pytest.raises(ConfigError, match=r"mine\.yaml: changed since the run was started"):
        _now(uri)
