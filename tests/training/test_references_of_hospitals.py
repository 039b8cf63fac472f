"""References on half of the hospitals: what is drawn, what is trained on, and what is left, interrupted or not."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flprivacy.core.cohort import TRAIN, Cohort
from flprivacy.core.errors import TrainingError
from flprivacy.core.reference_scores import ReferenceScores
from flprivacy.core.vocabulary import PATIENTS, SITES
from flprivacy.privacy.config import PrivacyConfig
from flprivacy.training.checkpoint import Checkpoints
from flprivacy.training.config import SyntheticConfig, TargetConfig
from flprivacy.training.halves import Half, draw_half, renumbered
from flprivacy.training.references import train_reference

FEDERATED = TargetConfig(topology="federated", architecture="tiny", rounds=2, batch_size=4)
BY_SITE = replace(FEDERATED, privacy=PrivacyConfig(unit="site", noise_multiplier=1.0, adjacency="zero-out"))


pytestmark = pytest.mark.usefixtures("tiny_architecture")


def half_of(cohort: Cohort, index: int, recipe: str = "r") -> Half:
    return draw_half(cohort, drawn=SITES, recipe=recipe, index=index)


def trained(cohort: Cohort, work: Path, index: int, config: TargetConfig = FEDERATED, **more: Any) -> ReferenceScores:
    return train_reference(config, cohort, protocol="standard", index=index, work=work, drawn=SITES, **more)


def test_two_that_follow_each_other_are_complementary_halves_of_the_hospitals(hospitals: Cohort) -> None:
    halves = [half_of(hospitals, index) for index in range(40)]
    for even, odd in zip(halves[::2], halves[1::2], strict=True):
        assert (len(even.sites), sorted({*even.sites, *odd.sites})) == (2, [0, 1, 2, 3, 4])
        assert not set(even.sites) & set(odd.sites)
    often = np.bincount([site for half in halves[::2] for site in half.sites], minlength=5)
    assert often.min() > 0
    assert len({half.sites for half in halves[::2]}) > 5  # of 10
    assert half_of(hospitals, 0).sites == halves[0].sites
    assert len({half_of(hospitals, 0, recipe).sites for recipe in "stuvw"}) > 1


def test_a_half_is_the_cohort_without_the_others_and_with_its_split(hospitals: Cohort) -> None:
    half = half_of(hospitals, 1)
    whole, own = hospitals.manifest, half.cohort.manifest
    names = np.array(hospitals.meta.site_names)[whole["site_id"].to_numpy()[half.rows]]
    np.testing.assert_array_equal(np.array(half.cohort.meta.site_names)[own["site_id"].to_numpy()], names)
    for column in ("scan_id", "split", "label", "row"):
        assert own[column].tolist() == whole[column].to_numpy()[half.rows].tolist()
    assert set(whole["site_id"].to_numpy()[half.rows]) == set(half.sites)


@pytest.mark.parametrize("config", [FEDERATED, replace(FEDERATED, topology="central", epochs=2), BY_SITE])
def test_a_reference_answers_for_every_scan_and_knows_which_hospitals_took_part(
    hospitals: Cohort, tmp_path: Path, config: TargetConfig
) -> None:
    one = trained(hospitals, tmp_path / "work", 1, config)
    half, manifest = draw_half(hospitals, drawn=SITES, recipe=one.recipe, index=1), hospitals.manifest
    inside = manifest["site_id"].isin(half.sites).to_numpy() & (manifest["split"] == TRAIN).to_numpy()
    assert one.models == ("model",)
    np.testing.assert_array_equal(one.trained_on, inside[None])
    assert one.probabilities.shape == (1, len(manifest), 2)
    np.testing.assert_allclose(one.probabilities.sum(axis=-1), 1.0, atol=1e-5)
    one.write(tmp_path)
    assert ReferenceScores.read(tmp_path).drawn == SITES


def test_a_hospital_that_a_federation_never_asks_took_part_all_the_same(hospitals: Cohort, tmp_path: Path) -> None:
    one = trained(hospitals, tmp_path, 0, replace(FEDERATED, rounds=1, client_fraction=0.1))
    assert len(set(hospitals.manifest["site_id"][one.trained_on[0]])) == 2


def test_an_interrupted_one_carries_on_to_the_answers_of_an_undisturbed_one(
    hospitals: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save, saved = Checkpoints.save, []

    def last(self: Checkpoints, *arguments: Any) -> None:
        save(self, *arguments)
        saved.append(arguments)
        if len(saved) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoints, "save", last)
    with pytest.raises(KeyboardInterrupt):
        trained(hospitals, tmp_path / "work", 3)
    resumed, undisturbed = trained(hospitals, tmp_path / "work", 3), trained(hospitals, tmp_path / "other", 3)
    assert len(saved) == 1 + 1 + 2  # of 2 rounds, one was left
    np.testing.assert_array_equal(resumed.probabilities, undisturbed.probabilities)


def test_other_hospitals_and_of_patients_other_draws(hospitals: Cohort, tmp_path: Path) -> None:
    first, second = trained(hospitals, tmp_path / "0", 0), trained(hospitals, tmp_path / "1", 1)
    of_patients = train_reference(FEDERATED, hospitals, protocol="standard", index=0, work=tmp_path / "2")
    assert (first.trained_on ^ second.trained_on).sum() == (hospitals.manifest["split"] == TRAIN).sum()
    assert of_patients.drawn == PATIENTS
    assert not np.array_equal(first.probabilities, of_patients.probabilities)


def test_its_generator_sees_the_drawn_hospitals_alone(hospitals: Cohort, tmp_path: Path) -> None:
    seen: list[Cohort] = []

    def refuse(half: Cohort, number: int, work: Path) -> Cohort:
        seen.append(half)
        raise TrainingError("too few scans")

    config = replace(FEDERATED, synthetic=SyntheticConfig(alone=True))
    with pytest.raises(
        TrainingError, match="site reference 0, whose generator is trained on half of the sites: too few"
    ):
        trained(hospitals, tmp_path, 0, config, synthesise=refuse)
    assert len(seen[0].meta.site_names) == 2


def test_what_a_recipe_states_of_a_client_goes_with_its_hospital(hospitals: Cohort) -> None:
    half = half_of(hospitals, 1)
    stated = {f"site-{site:02d}": 10 + site for site in range(5)}
    config = replace(FEDERATED, privacy=PrivacyConfig(noise_multiplier=1.0, population=30, populations=stated))
    found = renumbered(config, half).privacy
    assert found is not None
    assert found.populations == {f"site-{new:02d}": 10 + old for new, old in enumerate(half.sites)}
    assert renumbered(FEDERATED, half) is FEDERATED


def test_models_of_one_hospital_each_and_few_hospitals_are_refused(
    hospitals: Cohort, cohort: Cohort, tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match="a model for each hospital, which names the hospital"):
        trained(hospitals, tmp_path, 0, replace(FEDERATED, topology="siloed"))
    with pytest.raises(TrainingError, match=r"3 site\(s\) have training scans.*at least 4.*membership.site_references"):
        trained(cohort, tmp_path, 0)
    places = np.where(np.arange(len(hospitals.manifest)) < 5, 0, -1)
    with pytest.raises(TrainingError, match="pull the whole cohort"):
        half_of(replace(hospitals, places=places), 0)
    assert not any(tmp_path.iterdir())
