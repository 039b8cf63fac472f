"""Words on the command line become parameters; wrong ones are named before anything starts."""

from pathlib import Path

import pytest

from flprivacy.core.digests import digest_file
from flprivacy.core.errors import ConfigError
from flprivacy.launch.arguments import audit_arguments, overrides, re_audit_arguments, study_arguments


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


def test_a_preset_of_ones_own_travels_with_its_digest(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("cohort: {scans: 200}\ntargets: {u: {topology: untrained}}\n")
    arguments = study_arguments(str(path), {"cohort": {"seed": 3}})
    assert arguments == {
        "preset": str(path),
        "overrides": {"cohort": {"seed": 3}},
        "preset_digest": digest_file(path),
    }
    assert study_arguments("demo", {})["preset_digest"] == ""


def test_a_wrong_field_is_refused_before_anything_starts() -> None:
    with pytest.raises(ConfigError, match=r"exposed fraction is 1\.5"):
        study_arguments("demo", overrides(["attack.fractions=[1.5]"]))


def test_targets_are_named_folders() -> None:
    arguments = audit_arguments("demo", {}, "c", ["a=m/a", "b=m/b"])
    assert arguments["targets"] == {"a": str(Path("m/a").absolute()), "b": str(Path("m/b").absolute())}
    for words, message in (
        ([], "needs --cohort"),
        (["a"], "name=folder"),
        (["a=x", "a=y"], "given twice"),
    ):
        with pytest.raises(ConfigError, match=message):
            audit_arguments("demo", {}, "c", words)


def test_a_re_audit_takes_prefixes_registry_uris_and_fixed_targets() -> None:
    sources = ["published", "s3://models/published", "models:/chest-ct@production,architecture=i3d"]
    arguments = re_audit_arguments("demo", {}, "c", ["fixed=m/a"], sources)
    assert arguments["targets_from"] == [str(Path("published").absolute()), *sources[1:]]
    assert arguments["targets"] == {"fixed": str(Path("m/a").absolute())}
    assert arguments["cohort"] == str(Path("c").absolute())
    with pytest.raises(ConfigError, match="at least one --targets-from"):
        re_audit_arguments("demo", {}, "c", [], [])
    with pytest.raises(ConfigError, match="needs --cohort"):
        re_audit_arguments("demo", {}, None, [], ["published"])
