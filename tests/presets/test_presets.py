"""Presets: the ones that come along are valid, a file of one's own works, a wrong one is named."""

from dataclasses import replace
from pathlib import Path

import pytest

from flprivacy.core.digests import digest_file
from flprivacy.core.errors import ConfigError
from flprivacy.presets import load_preset, preset_names
from flprivacy.study.config import DpCheckConfig
from flprivacy.training.config import TargetConfig
from flprivacy.training.recipe import recipe_digest


def test_every_preset_is_valid_and_has_its_baseline() -> None:
    assert {"demo", "paper", "quick"} <= set(preset_names())
    for name in preset_names():
        study = load_preset(name).study
        assert study.name == name
        topologies = {t.topology for t in study.targets.values()}
        assert {"untrained", "federated"} <= topologies or {"untrained", "central"} <= topologies
        assert name not in ("demo", "paper") or {"siloed", "federated"} <= topologies


def test_the_demo_is_the_grid_that_make_audit_promises() -> None:
    study = load_preset("demo").study
    assert set(study.attack.attributes) == {"site", "sex", "age"}
    assert len(study.attack.fractions) >= 2
    assert len(study.attack.seeds) >= 5
    assert study.generator is not None
    assert {t.synthetic.share for t in study.targets.values() if t.synthetic} == {0.5}


def test_synthesis_holds_synthetic_scans_against_what_they_are_compared_with_over_three_seeds() -> None:
    study = load_preset("synthesis").study
    assert study.generator is not None
    recipes: dict[str, list[TargetConfig]] = {}
    for name, target in study.targets.items():
        recipes.setdefault(name.rpartition("-")[0], []).append(target)
    (untrained,) = recipes.pop("")
    assert untrained.topology == "untrained"
    for name, targets in recipes.items():
        assert len({recipe_digest(target) for target in targets}) == 1, name
        assert [target.seed for target in targets] == [0, 1, 2], name
    shares = {name: targets[0].synthetic and targets[0].synthetic.share for name, targets in recipes.items()}
    assert shares == {
        "siloed": None, "siloed-synthetic": 0.5, "federated": None, "federated-synthetic": 0.5,
        "synthetic-alone": 1.0, "federated-dp": None,
    }  # fmt: skip
    for name in ("siloed", "federated"):
        with_synthetic = recipes[f"{name}-synthetic"][0]
        assert replace(with_synthetic, synthetic=None) == recipes[name][0], "nothing else may differ"
    assert recipes["federated-dp"][0].privacy is not None


def test_overrides_replace_single_fields_and_null_removes_a_target() -> None:
    study = load_preset("demo", {"cohort": {"scans": 400}, "targets": {"siloed": None}}).study
    assert study.cohort is not None
    assert study.cohort.scans == 400
    assert study.cohort.sites == 21
    assert "siloed" not in study.targets


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("targets: {a: {topology: central}}\n")
    assert load_preset(str(path), digest=digest_file(path)).study.name == "mine"
    with pytest.raises(ConfigError, match=r"mine\.yaml: changed since the run was started"):
        load_preset(str(path), digest="0" * 64)


@pytest.mark.parametrize(
    ("text", "message"),
    [("targets: [", "not YAML"), ("- 1\n", "holds no fields"), ("targts: {}\n", "unknown field 'targts'")],
)
def test_a_broken_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as error:
        load_preset(str(path))
    assert str(path) in str(error.value)


def test_the_check_of_private_training_stands_beside_the_study() -> None:
    changed = {"dp_check": {"target": {"epochs": 3}}}
    assert load_preset("demo", changed).dp_check.target.epochs == 3
    assert load_preset("demo", changed).study == load_preset("demo").study
    assert load_preset("paper").dp_check == DpCheckConfig()
    with pytest.raises(ConfigError, match=r"preset demo\.dp_check: unknown field 'confidense'"):
        load_preset("demo", {"dp_check": {"confidense": 0.9}})


def test_a_policy_does_not_say_whether_a_run_fails() -> None:
    with pytest.raises(ConfigError, match=r"audit\.policy: unknown field 'fail_on_leak'"):
        load_preset("demo", {"audit": {"policy": {"fail_on_leak": True}}})


def test_an_unknown_preset_names_the_known_ones() -> None:
    with pytest.raises(
        ConfigError, match=r"preset 'dmo' is unknown; choose demo, .*paper, quick, synthesis or give a \.yaml file"
    ):
        load_preset("dmo")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_preset("/nowhere/x.yaml")
