"""What a generator is asked for: exact numbers of every site and class, of whom it was trained on."""

from dataclasses import replace

import numpy as np
import pytest

from flprivacy.core.errors import ConfigError
from flprivacy.privacy.config import PrivacyConfig
from flprivacy.synthesis.conditions import AGE_BANDS, SEX_CATEGORIES
from flprivacy.synthesis.config import GeneratorConfig, SynthesisConfig, generator_mapping
from flprivacy.synthesis.folder import GeneratorLineage, GeneratorRecord
from flprivacy.synthesis.requested import requested

# (site, class, sex, age band, scans): site b has no scan of class y, and only young women
HISTOGRAM = ((0, 0, 0, 1, 6), (0, 0, 1, 2, 3), (0, 1, 1, 4, 3), (1, 0, 0, 0, 8))


def lineage(**training: object) -> GeneratorLineage:
    config = GeneratorConfig(**training)  # type: ignore[arg-type]
    record = GeneratorRecord(
        shape=(8, 32, 40), window_hu=(-1000.0, 400.0), spacing_mm=None, site_names=("a", "b"), class_names=("x", "y"),
        training=generator_mapping(config), digest="d" * 64, sha256="s" * 64,
    )  # fmt: skip
    return GeneratorLineage(
        generator=record, cohort_digest="c" * 64, training={}, members_key="", n_train=20, histogram=HISTOGRAM
    )


PRIVATE = PrivacyConfig(epsilon=1.0, population=30)


def table(config: SynthesisConfig, of: GeneratorLineage | None = None) -> list[list[int]]:
    """Scans by site and class."""
    found = requested(config, of or lineage())
    counts = np.zeros((2, 2), dtype=int)
    np.add.at(counts, (found.site, found.label), 1)
    return counts.tolist()


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (SynthesisConfig(), [[9, 3], [8, 0]]),
        (SynthesisConfig(scans=40), [[18, 6], [16, 0]]),
        (SynthesisConfig(scans=5), [[2, 1], [2, 0]]),  # 2.25, 0.75 and 2
        (SynthesisConfig(scans=8, mix="uniform"), [[2, 2], [2, 2]]),
        (SynthesisConfig(scans=8, sites={"a": 1}), [[6, 2], [0, 0]]),
        (SynthesisConfig(scans=8, sites={"a": 1, "b": 3}), [[2, 0], [6, 0]]),  # 1.5, 0.5 and 6
        (SynthesisConfig(scans=20, classes={"x": 1, "y": 3}), [[3, 9], [2, 6]]),
        (SynthesisConfig(scans=8, sites={"b": 2}, classes={"y": 1}), [[0, 0], [0, 8]]),
    ],
)
def test_each_mix_is_as_frequent_as_asked_for(config: SynthesisConfig, expected: list[list[int]]) -> None:
    assert table(config) == expected


def test_a_private_generator_does_not_tell_the_mix_of_its_training_scans() -> None:
    private = lineage(privacy=PRIVATE)
    assert table(SynthesisConfig(scans=8), private) == [[2, 2], [2, 2]]
    assert table(SynthesisConfig(scans=8, sites={"a": 1, "b": 3}), private) == [[1, 1], [3, 3]]
    with pytest.raises(ConfigError, match="its epsilon does not cover how many training scans"):
        requested(SynthesisConfig(mix="training"), private)


def test_people_are_those_of_the_training_scans_of_that_site_and_class() -> None:
    asked = SynthesisConfig(scans=400, mix="uniform")
    found = requested(replace(asked, mix="default"), lineage(conditions=("site", "label", "sex", "age")))
    assert found.sex is not None
    assert found.age_band is not None
    people = np.stack([found.site, found.label, found.sex, found.age_band], axis=1)
    assert set(map(tuple, people.tolist())) == {row[:4] for row in HISTOGRAM}
    women = (found.sex == 0)[(found.site == 0) & (found.label == 0)].mean()
    assert abs(women - 2 / 3) < 0.12  # standard error 0.035
    everybody = requested(asked, lineage(conditions=("site", "label", "sex", "age"), privacy=PRIVATE))
    assert everybody.sex is not None
    assert everybody.age_band is not None
    assert set(everybody.sex.tolist()) == set(range(len(SEX_CATEGORIES) - 1))
    assert set(everybody.age_band.tolist()) == set(range(len(AGE_BANDS) - 1))
    assert requested(asked, lineage()).sex is None


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (SynthesisConfig(sites={"c": 1}), "the generator knows no site 'c'; it is trained on a, b"),
        (SynthesisConfig(classes={"z": 1}), "the generator knows no class 'z'; it is trained on x, y"),
        (SynthesisConfig(scans=401), "at most 400 make sense, 20 for each"),
    ],
)
def test_what_it_cannot_make_is_named(config: SynthesisConfig, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        requested(config, lineage())


def test_scans_without_a_class_train_nothing() -> None:
    with pytest.raises(ConfigError, match="have no class to train on; train it with 'label'"):
        requested(SynthesisConfig(), lineage(conditions=("site",)))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"scans": -1}, "scans is -1"),
        ({"mix": "even"}, "mix is 'even'; must be one of default, training, uniform"),
        ({"sites": {"a": -1.0}}, "shares must not be negative"),
        ({"classes": {"x": 0.0}}, "one must be above 0"),
    ],
)
def test_a_configuration_that_means_nothing_is_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SynthesisConfig(**fields)  # type: ignore[arg-type]
