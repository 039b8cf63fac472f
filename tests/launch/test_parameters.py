"""Words on the command line become parameters; wrong ones are named before anything starts."""

from pathlib import Path
from typing import Any

import pytest

from flprivacy.core.errors import ConfigError
from flprivacy.launch.compiled import read_compiled
from flprivacy.launch.parameters import RunOptions, overrides, parameters_of


def test_fields_nest_and_values_are_yaml() -> None:
    fields = overrides(["cohort.scans=400", "cohort.seed=1", "attack.seeds=[0, 1]", "targets.siloed=null"])
    assert fields == {
        "cohort": {"scans": 400, "seed": 1},
        "attack": {"seeds": [0, 1]},
        "targets": {"siloed": None},
    }


@pytest.mark.parametrize("word", ["scans", "=3", "a..b=3", "a=[1"])
def test_a_word_that_is_no_field_is_named(word: str) -> None:
    with pytest.raises(ConfigError, match="--set"):
        overrides([word])


def test_a_preset_of_ones_own_travels_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("cohort: {scans: 200}\ntargets: {u: {topology: untrained}}\n")
    assert _parameters("study", preset=str(path), changes=("cohort.seed=3",)) == {
        "preset": str(path),
        "overrides": {"cohort": {"seed": 3}},
    }


def test_a_wrong_field_is_refused_before_anything_starts() -> None:
    with pytest.raises(ConfigError, match=r"exposed fraction is 1\.5"):
        _parameters("study", changes=("attack.fractions=[1.5]",))


ASKED: dict[str, dict[str, Any]] = {
    "study": {},
    "privacy_audit": {"cohort": "c", "targets": ("a=x",)},
    "re_audit": {"cohort": "c", "targets_from": ("x",)},
}


@pytest.mark.parametrize("pipeline", ASKED)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("attack.seeds=[3]", r"attack\.seeds is \[3\]; an interval needs at least 2"),
        ("targets.untrained.initialisations=1", r"targets\.untrained\.initialisations is 1"),
        ("audit.policy.rules.sex={fraction: 0.5}", r"rules\.sex\.fraction is 0\.5, which is not among"),
    ],
)
def test_what_the_last_steps_would_refuse_is_refused_before_anything_starts(
    pipeline: str, change: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        _parameters(pipeline, changes=(change,), **ASKED[pipeline])


@pytest.mark.parametrize(
    ("change", "message"),
    [("targets.untrained=null", "'cnn3d_small' has no untrained target"), ("cohort=null", "no cohort to make")],
)
def test_a_study_needs_what_an_audit_of_given_targets_does_not(change: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        _parameters("study", changes=(change,))
    assert _parameters("privacy_audit", changes=(change,), **ASKED["privacy_audit"])


def test_a_check_of_training_needs_no_attackers() -> None:
    assert _parameters("dp_check", changes=("attack.seeds=[3]",))


def test_a_generator_needs_a_cohort_and_its_own_section_and_no_attackers() -> None:
    given = _parameters("train_generator", cohort="c", changes=("attack.seeds=[3]", "synthesis.scans=5"))
    assert given["cohort"] == str(Path("c").absolute())
    for options, message in (
        ({}, "train_generator needs cohort; give it with --cohort"),
        ({"cohort": "c", "preset": "quick"}, "preset 'quick': no generator to train; add a 'generator' section"),
        ({"cohort": "c", "targets": ("a=x",)}, "--target is not for train_generator"),
        ({"cohort": "c", "changes": ("generator.width=3",)}, "generator: width is 3; must be a multiple of 4"),
    ):
        with pytest.raises(ConfigError, match=message):
            _parameters("train_generator", **options)


def test_targets_are_named_locations() -> None:
    given = _parameters("privacy_audit", cohort="c", targets=("a=m/a", "b=file:///m/b"))
    assert given["targets"] == {"a": str(Path("m/a").absolute()), "b": "file:///m/b"}
    for words, message in (
        ((), "needs targets; give it with --target"),
        (("a",), "name=folder"),
        (("a=x", "a=y"), "given twice"),
    ):
        with pytest.raises(ConfigError, match=message):
            _parameters("privacy_audit", cohort="c", targets=words)


def test_a_re_audit_takes_prefixes_registry_uris_and_fixed_targets() -> None:
    sources = ("published", "s3://models/published", "models:/chest-ct@production,architecture=i3d")
    given = _parameters("re_audit", cohort="c", targets=("fixed=m/a",), targets_from=sources)
    assert given["targets_from"] == [str(Path("published").absolute()), *sources[1:]]
    assert given["targets"] == {"fixed": str(Path("m/a").absolute())}
    assert given["cohort"] == str(Path("c").absolute())
    with pytest.raises(ConfigError, match="--targets-from LOCATION or --target"):
        _parameters("re_audit", cohort="c")
    with pytest.raises(ConfigError, match="needs cohort; give it with --cohort"):
        _parameters("re_audit", targets_from=("published",))


def test_what_a_pipeline_has_no_parameter_for_is_refused() -> None:
    with pytest.raises(ConfigError, match="--cohort is not for study; leave it out"):
        _parameters("study", cohort="c")


def _parameters(pipeline: str, **options: Any) -> dict[str, Any]:
    return parameters_of(read_compiled(pipeline), RunOptions(**options))
