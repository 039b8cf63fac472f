"""Parameters stay small however many targets there are: what is large lies in the store, named by its digest."""

import hashlib
import json
from pathlib import Path

import pytest

from flprivacy.core.errors import ConfigError, TargetError
from flprivacy.core.parts import WITHOUT_MODEL
from flprivacy.launch.compiled import read_compiled
from flprivacy.launch.parameters import RunOptions, parameters_of
from flprivacy.presets import load_preset
from flprivacy.steps.plan_audit import plan_audit
from flprivacy.steps.plan_study import plan_study
from flprivacy.steps.resolve_inputs import resolve_inputs
from flprivacy.storage.parameters import REFERENCE, store_object
from flprivacy.study.plan import Plan
from flprivacy.targets.listing import resolve_targets
from tests.cluster.command import Command
from tests.cohorts.tiny_cohort import write_tiny
from tests.services.kfp_state import KfpState

AUDIT = ("submit", "privacy_audit", "--no-wait", "--cohort", "s3://data/cohort")


def _targets(count: int) -> dict[str, str]:
    where = "s3://hospital-models/releases/2026/federated"
    return {f"hospital-{i:03}": f"{where}/{i:03}.h5,architecture=i3d,shape=24x256x256" for i in range(count)}


def _words(targets: dict[str, str]) -> list[str]:
    return [word for name, location in targets.items() for word in ("--target", f"{name}={location}")]


def test_a_hundred_targets_stay_far_below_ten_thousand_bytes(kfp: KfpState, flprivacy: Command, tmp_path: Path) -> None:
    targets, store = _targets(100), (tmp_path / "store").as_uri()
    assert len(json.dumps(targets)) > 10_000
    flprivacy(*AUDIT, *_words(targets), "--store", store)
    (run,) = kfp.runs.values()
    parameters = run["runtime_config"]["parameters"]
    assert set(parameters["targets"]) == {REFERENCE}
    assert len(json.dumps(parameters)) < 1_000
    assert resolve_targets(parameters["targets"]) == targets
    flprivacy(*AUDIT, *_words(targets), "--store", store)
    assert len(list((tmp_path / "store" / "configs").iterdir())) == 1  # the same content, once


def test_more_targets_than_one_run_takes_are_refused_before_anything_is_sent(
    kfp: KfpState, flprivacy: Command, tmp_path: Path
) -> None:
    words = _words({f"t{number}": f"s3://m/{number}" for number in range(501)})
    output = flprivacy(*AUDIT, *words, "--store", (tmp_path / "store").as_uri(), code=2).output
    assert "501 targets and baselines: a run takes 500 in all" in output
    assert kfp.asked == []
    assert not (tmp_path / "store").exists()


def test_a_few_targets_travel_as_they_are(kfp: KfpState, flprivacy: Command) -> None:
    flprivacy(*AUDIT, *_words(_targets(5)))
    (run,) = kfp.runs.values()
    assert run["runtime_config"]["parameters"]["targets"] == _targets(5)


def test_many_overrides_are_kept_in_the_store_too(kfp: KfpState, flprivacy: Command, tmp_path: Path) -> None:
    seeds = list(range(2_000))
    words = ("submit", "study", "--no-wait", "--set", f"attack.seeds={seeds}", "--store", tmp_path.as_uri())
    flprivacy(*words)
    (run,) = kfp.runs.values()
    parameters = run["runtime_config"]["parameters"]
    assert set(parameters["overrides"]) == {REFERENCE}
    plan_study(preset="demo", overrides=parameters["overrides"], plan=tmp_path / "plan.json")
    study = Plan.read(tmp_path / "plan.json").study
    assert list(study.attack.seeds) == seeds


def test_large_parameters_without_a_store_that_pods_can_read_are_refused(kfp: KfpState, flprivacy: Command) -> None:
    output = flprivacy(*AUDIT, *_words(_targets(100)), code=2).output
    assert "targets must be kept where pods can read it; give --store s3://bucket/folder" in output
    assert kfp.asked == []


def test_a_preset_of_one_s_own_is_kept_under_its_digest(kfp: KfpState, flprivacy: Command, tmp_path: Path) -> None:
    preset = tmp_path / "mine.yaml"
    preset.write_text("cohort: {scans: 200}\ntargets: {u: {topology: untrained}}\n")
    assert "preset mine.yaml must be kept" in flprivacy("submit", "study", "--preset", str(preset), code=2).output
    store = (tmp_path / "store").as_uri()
    flprivacy("submit", "study", "--no-wait", "--preset", str(preset), "--store", store)
    (run,) = kfp.runs.values()
    parameters = run["runtime_config"]["parameters"]
    digest = hashlib.sha256(preset.read_bytes()).hexdigest()
    assert parameters["preset"] == f"{store}/configs/{digest}/mine.yaml"
    given = {k: parameters[k] for k in ("preset", "overrides")}
    assert plan_study(**given, plan=tmp_path / "plan.json") == [WITHOUT_MODEL, "u"]
    assert Plan.read(tmp_path / "plan.json").study == load_preset(str(preset)).study
    asked = RunOptions(preset=parameters["preset"])
    assert parameters_of(read_compiled("study"), asked) == given  # the plan's command, given here, means the same
    flprivacy("submit", "study", "--no-wait", "--preset", parameters["preset"])
    assert list(kfp.runs.values())[1]["runtime_config"]["parameters"] == given


def test_what_changed_in_the_store_is_refused(tmp_path: Path) -> None:
    uri, digest = store_object(tmp_path.as_uri(), b'{"a": "s3://m/a"}', "targets.json")
    reference = {REFERENCE: f"{uri}#{digest}"}
    assert resolve_targets(reference) == {"a": "s3://m/a"}
    next(tmp_path.glob("configs/*/targets.json")).write_text('{"a": "s3://m/b"}')
    with pytest.raises(ConfigError, match="changed since the run was started"):
        resolve_targets(reference)


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"[1]", "not a JSON object"), (b"{", "not JSON"), (b'{"a": 1}', "'a' is int, not a location")],
)
def test_what_is_no_list_of_targets_is_named(tmp_path: Path, data: bytes, message: str) -> None:
    uri, digest = store_object(tmp_path.as_uri(), data, "targets.json")
    with pytest.raises(ConfigError, match=message):
        resolve_targets({REFERENCE: f"{uri}#{digest}"})
    with pytest.raises(ConfigError, match="is no reference"):
        resolve_targets({REFERENCE: uri})


def test_steps_read_targets_from_the_store(tmp_path: Path) -> None:
    """Steps that take the targets look into the store: an error names what that holds, and a digest follows it."""
    uri, digest = store_object(tmp_path.as_uri(), b'{"a": "/nowhere/a"}', "targets.json")
    targets = {REFERENCE: f"{uri}#{digest}"}
    cohort = str(write_tiny(tmp_path / "cohort").folder)
    assert resolve_inputs(cohort=cohort, targets=targets) == resolve_inputs(cohort=cohort, targets={"a": "/nowhere/a"})
    plan, scans = tmp_path / "plan.json", tmp_path / "scans"
    with pytest.raises(TargetError, match="/nowhere/a"):
        plan_audit(preset="demo", overrides={}, cohort=cohort, targets=targets, plan=plan, scans=scans)
