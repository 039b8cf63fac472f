"""Building dataclasses from mappings: what fits round-trips, what does not is named."""

import pytest

from flprivacy.attacks.config import AttackConfig
from flprivacy.auditing.config import Policy, PolicyRule
from flprivacy.cohorts.phantom.config import PhantomConfig
from flprivacy.core.errors import ConfigError
from flprivacy.core.parsing import from_mapping, to_mapping
from flprivacy.study.config import StudyConfig
from flprivacy.training.config import TargetConfig

STUDY = StudyConfig(
    name="s",
    cohort=PhantomConfig(scans=100, sites=3, shape=(8, 32, 48)),
    targets={"a-1": TargetConfig(topology="central"), "u": TargetConfig(topology="untrained")},
)


def test_a_study_round_trips_through_plain_values() -> None:
    mapping = to_mapping(STUDY)
    assert mapping["cohort"]["shape"] == [8, 32, 48]
    assert from_mapping(StudyConfig, mapping) == STUDY


def test_numbers_of_a_pipeline_parameter_arrive_as_floats_and_whole_ones_become_integers() -> None:
    config = from_mapping(PhantomConfig, {"scans": 400.0, "shape": [8.0, 32.0, 40.0]})
    assert (config.scans, config.shape) == (400, (8, 32, 40))
    assert type(config.scans) is int
    assert {type(size) for size in config.shape} == {int}
    with pytest.raises(ConfigError, match=r"PhantomConfig.scans: expected int, got 400\.5"):
        from_mapping(PhantomConfig, {"scans": 400.5})
    with pytest.raises(ConfigError, match=r"expected int, got inf"):
        from_mapping(PhantomConfig, {"scans": float("inf")})


def test_integers_are_taken_for_floats_and_text_is_not_converted() -> None:
    assert from_mapping(PhantomConfig, {"signature_strength": 2}).signature_strength == 2.0
    with pytest.raises(ConfigError, match=r"PhantomConfig.scans: expected int, got '400'"):
        from_mapping(PhantomConfig, {"scans": "400"})
    with pytest.raises(ConfigError, match="expected int, got True"):
        from_mapping(PhantomConfig, {"seed": True})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"targts": {}}, "unknown field 'targts'; known fields are"),
        ({"targets": {"central": {"topology": "central", "epoch": 3}}}, r"targets\.central: unknown field 'epoch'"),
        ({"targets": {"central": {}}}, r"targets\.central: field 'topology' is missing"),
        ({"targets": {"central": {"topology": "ring"}}}, "topology is 'ring'; must be one of untrained, siloed"),
        ({"targets": {}}, "name at least one target"),
        ({"targets": {"pixels": {"topology": "central"}}}, "belong to baselines"),
        ({"targets": {"A b": {"topology": "central"}}}, "target name is 'A b'; use lower-case"),
        ({"attack": {"fractions": [0.0]}}, "exposed fraction is 0.0; must be above 0"),
        ({"attack": {"fractions": [1.5]}}, "exposed fraction is 1.5; must be above 0 and at most 1"),
        ({"attack": {"seeds": [1, 1]}}, "give different seeds"),
        ({"attack": {"attributes": ["race"]}}, "choose from site, sex, age"),
        ({"attack": {"age_edges_years": [60, 50]}}, "must rise"),
        ({"cohort": {"shape": [16, 64]}}, "shape: expected 3 values, got 2"),
        ({"cohort": {"shape": [16, 64, 512]}}, "must lie between"),
        ({"cohort": {"scans": 10}}, "at least 4 per site"),
        ({"audit": {"confidence": 95}}, "must be in"),
        (
            {"audit": {"policy": {"rules": {"site": {"metric": "mae_years"}}}}},
            "is 'mae_years'; choose from f1_weighted",
        ),
        ({"audit": 3}, "audit: expected fields, got 3"),
    ],
)
def test_a_wrong_field_is_named_with_its_rule(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        from_mapping(StudyConfig, to_mapping(STUDY) | changes, "study")


def test_policy_rules_and_attack_defaults_are_valid() -> None:
    everything = dict.fromkeys(("training", "holding", "memorised"), 0.5)
    assert Policy().rules["age_years"] == PolicyRule(metric="mae_years", threshold=0.5, questions=everything)
    assert len(AttackConfig().seeds) >= 5
