"""References: halves of patients, draws of their own, and what is left of a training, interrupted or not."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flprivacy.core.cohort import TRAIN, Cohort
from flprivacy.core.errors import ConfigError, TrainingError
from flprivacy.core.reference_scores import ReferenceScores
from flprivacy.core.vocabulary import PATIENTS
from flprivacy.privacy.config import PrivacyConfig
from flprivacy.training.checkpoint import Checkpoints
from flprivacy.training.config import TargetConfig
from flprivacy.training.halves import draw_half
from flprivacy.training.recipe import recipe_digest, reference_config, stated_recipe, why_no_recipe
from flprivacy.training.references import train_reference

CENTRAL = TargetConfig(topology="central", architecture="tiny", epochs=3, batch_size=8)
SILOED = replace(CENTRAL, topology="siloed")


pytestmark = pytest.mark.usefixtures("tiny_architecture")


def trained(
    cohort: Cohort, work: Path, index: int, config: TargetConfig = CENTRAL, drawn: str = PATIENTS
) -> ReferenceScores:
    return train_reference(config, cohort, protocol="standard", index=index, work=work, drawn=drawn)


def reference_cohort(cohort: Cohort, *, recipe: str, index: int) -> Cohort:
    return draw_half(cohort, drawn=PATIENTS, recipe=recipe, index=index).cohort


def test_two_that_follow_each_other_are_complementary_halves_of_the_patients_of_every_site(cohort: Cohort) -> None:
    manifest = cohort.manifest
    halves = [reference_cohort(cohort, recipe="r", index=index) for index in range(4)]
    inside = np.array([half.manifest["split"] == TRAIN for half in halves])
    assert (inside[0] != inside[1]).all()
    assert (inside[2] != inside[3]).all()
    assert (inside[0] != inside[2]).any()
    for row in inside:
        assert not (set(manifest["patient_id"][row]) & set(manifest["patient_id"][~row]))
        shares = [row[manifest["site_id"] == site].mean() for site in range(3)]
        assert max(abs(share - 0.5) for share in shares) <= 0.1
        # The target's own split is no stratum: members and held-out patients are drawn alike.
        assert 0 < row[manifest["split"] == TRAIN].sum() < (manifest["split"] == TRAIN).sum()
    assert len({half.meta.digest for half in halves}) == 4


def test_another_recipe_or_cohort_draws_other_halves(cohort: Cohort) -> None:
    first = reference_cohort(cohort, recipe="r", index=0).manifest["split"]
    other = replace(cohort, meta=replace(cohort.meta, digest="0" * 64))
    assert (first != reference_cohort(cohort, recipe="s", index=0).manifest["split"]).any()
    assert (first != reference_cohort(other, recipe="r", index=0).manifest["split"]).any()


def test_a_site_of_one_patient_and_missing_volumes_are_refused(cohort: Cohort) -> None:
    alone = replace(cohort, manifest=cohort.manifest.assign(patient_id="the only one"))
    with pytest.raises(TrainingError, match="no two halves for references: site 0 has 1 patients"):
        reference_cohort(alone, recipe="r", index=0)
    places = np.where(np.arange(len(cohort.manifest)) < 5, 0, -1)
    with pytest.raises(TrainingError, match=r"holds the volumes of 5 of 40 scans.*pull the whole cohort"):
        reference_cohort(replace(cohort, places=places), recipe="r", index=0)


def test_a_reference_answers_for_every_scan_and_knows_whom_it_saw(cohort: Cohort, tmp_path: Path) -> None:
    one = trained(cohort, tmp_path / "siloed", 1, SILOED)
    sites, half = cohort.manifest["site_id"].to_numpy(), reference_cohort(cohort, recipe=one.recipe, index=1)
    assert one.models == ("site-00", "site-01", "site-02")
    assert one.probabilities.shape == (3, 40, 2)
    for site in range(3):
        np.testing.assert_allclose(one.probabilities[site, sites == site].sum(axis=-1), 1.0, atol=1e-5)
        assert np.isnan(one.probabilities[site, sites != site]).all()  # what nobody asks for is not worth the time
        np.testing.assert_array_equal(one.trained_on[site], (half.manifest["split"] == TRAIN) & (sites == site))
    one.write(tmp_path)
    again = ReferenceScores.read(tmp_path)
    np.testing.assert_array_equal(again.probabilities, one.probabilities)
    assert (again.recipe, again.index, again.cohort_digest) == (recipe_digest(SILOED), 1, cohort.meta.digest)


def test_an_interrupted_reference_carries_on_to_the_answers_of_an_undisturbed_one(
    cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That a real kill leaves checkpoints whole is for test_kill to show."""
    save, saved = Checkpoints.save, []

    def last(self: Checkpoints, *arguments: Any) -> None:
        save(self, *arguments)
        saved.append(arguments)
        if len(saved) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoints, "save", last)
    with pytest.raises(KeyboardInterrupt):
        trained(cohort, tmp_path / "work", 0)
    resumed, undisturbed = trained(cohort, tmp_path / "work", 0), trained(cohort, tmp_path / "other", 0)
    assert len(saved) == 2 + 1 + 3  # of 3 epochs, one was left
    np.testing.assert_array_equal(resumed.probabilities, undisturbed.probabilities)
    np.testing.assert_array_equal(resumed.trained_on, undisturbed.trained_on)


def test_a_recipe_is_everything_but_what_is_drawn() -> None:
    private = replace(CENTRAL, privacy=PrivacyConfig(epsilon=1.0, population=30, noise_seed=3))
    assert recipe_digest(replace(CENTRAL, seed=5)) == recipe_digest(CENTRAL)
    assert recipe_digest(replace(private, privacy=replace(private.privacy, noise_seed=4))) == recipe_digest(private)
    assert len({recipe_digest(c) for c in (CENTRAL, SILOED, private, replace(CENTRAL, epochs=4))}) == 4
    drawn = reference_config(private, 7)
    assert (drawn.seed, drawn.privacy.noise_seed) == (7, 7)
    assert reference_config(replace(private, privacy=PrivacyConfig(epsilon=1.0)), 7).privacy.noise_seed is None


def test_what_no_reference_can_follow_is_named() -> None:
    assert why_no_recipe(CENTRAL) == ""
    assert "nobody" in why_no_recipe(TargetConfig(topology="untrained"))
    with pytest.raises(ConfigError, match=r"target 'a'.*architecture is 'i3d', and the target is of 'cnn3d'"):
        stated_recipe({"topology": "central", "architecture": "i3d"}, architecture="cnn3d", where="target 'a'")
    with pytest.raises(ConfigError, match=r"target 'a': training.*unknown field 'epoch'"):
        stated_recipe({"topology": "central", "epoch": 3}, architecture="cnn3d", where="target 'a'")
