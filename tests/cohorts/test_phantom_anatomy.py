"""Facts of anatomy that a radiologist would check, on anisotropic volumes so that a swapped axis fails."""

import dataclasses
from functools import cache

import numpy as np
import pytest
from phantom_cases import SHAPE, anatomy, grid_of, person, region
from scipy import stats

from flprivacy.cohorts.phantom.config import PhantomConfig
from flprivacy.cohorts.phantom.generate import plan_scans, render_plan
from flprivacy.cohorts.phantom.grid import Field
from flprivacy.cohorts.phantom.sites import draw_sites

PEOPLE = 8


@cache
def _chest(seed: int, sex: str = "M", age_years: float = 55.0) -> Field:
    """Anatomy of a normal patient of average weight in HU, without contrast medium, scanner or noise."""
    volume = anatomy(person(seed, sex=sex, age_years=age_years), seed)
    volume.flags.writeable = False
    return volume


def _mean(
    seed: int, x: tuple[float, float], y: tuple[float, float], level: tuple[float, float], **who: object
) -> float:
    patient = person(seed, **who)  # type: ignore[arg-type]
    mask = region(grid_of(patient), x, y, level)
    assert mask.any()
    return float(_chest(seed, **who)[mask].mean())  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(8, 32, 32), (9, 32, 48), (11, 48, 32)])
def test_any_shape_holds_a_chest(shape: tuple[int, int, int]) -> None:
    volume = anatomy(person(), shape=shape)
    assert volume.shape == shape
    assert volume.dtype == np.float32
    assert np.isfinite(volume).all()
    assert -1100 < volume.min() < -950
    assert volume.max() > 250  # bone
    lung = (volume > -950) & (volume < -600)
    assert (lung.sum(axis=(1, 2)) > 0.02 * shape[1] * shape[2]).all()  # lung in every slice


@pytest.mark.parametrize("sex", ["F", "M"])
def test_air_surrounds_the_body_and_fills_neither_chest_nor_back(sex: str) -> None:
    for seed in range(PEOPLE):
        volume = _chest(seed, sex)
        assert volume[:, :3].max() < -990  # above the chest
        assert (volume[:, SHAPE[1] // 2, [0, -1]] < -900)[2:].all()  # beside it, below the shoulders
        assert _mean(seed, (-30, 30), (60, 80), (0.2, 0.9), sex=sex) > -150  # spine and muscles


def test_lungs_lie_on_both_sides_and_are_dark() -> None:
    for seed in range(PEOPLE):
        for side in (-1, 1):
            x = (min(side * 60, side * 100), max(side * 60, side * 100))
            assert _mean(seed, x, (-20, 40), (0.3, 0.6)) < -650


def test_the_spine_is_at_the_back_and_the_sternum_at_the_front() -> None:
    for seed in range(PEOPLE):
        spine, front = _mean(seed, (-12, 12), (40, 56), (0.2, 0.9)), _mean(seed, (-12, 12), (-60, -30), (0.3, 0.45))
        assert spine > front + 60
        volume, grid = _chest(seed), grid_of(person(seed))
        midline = np.abs(grid.x[0]) < 20
        rows = np.flatnonzero((volume[4:8][:, :, midline] > 250).any(axis=(0, 2)))
        assert rows.min() < 0.45 * SHAPE[1]  # sternum
        assert rows.max() > 0.6 * SHAPE[1]  # spinous processes


def test_the_trachea_is_air_in_the_midline_above_the_carina() -> None:
    for seed in range(PEOPLE):
        volume, grid = _chest(seed), grid_of(person(seed))
        middle = region(grid, (-12, 12), (-12, 25), (0.05, 0.3))
        below = region(grid, (-12, 12), (-12, 25), (0.6, 0.9))
        assert volume[middle].min() < -650
        assert volume[below].min() > -150


def test_the_heart_is_left_of_the_midline() -> None:
    for seed in range(PEOPLE):
        left = _mean(seed, (45, 65), (-60, -30), (0.66, 0.76))
        right = _mean(seed, (-65, -45), (-60, -30), (0.66, 0.76))
        assert left > -150
        assert right < -500


def test_the_aorta_descends_left_of_the_spine() -> None:
    for seed in range(PEOPLE):
        left = _mean(seed, (20, 30), (26, 36), (0.45, 0.7))
        right = _mean(seed, (-30, -20), (26, 36), (0.45, 0.7))
        assert left > right + 200


def test_the_liver_is_at_the_base_on_the_right_and_the_right_dome_is_higher() -> None:
    for seed in range(PEOPLE):
        assert _mean(seed, (-85, -48), (-25, 15), (0.93, 1.0)) > -20
        assert _mean(seed, (-90, -45), (-30, 20), (0.5, 0.7)) < -600
        right, left = _mean(seed, (-72, -60), (-10, 5), (0.84, 0.9)), _mean(seed, (62, 74), (-10, 5), (0.84, 0.9))
        assert right > left + 100


def test_the_lungs_are_small_at_the_apex_and_largest_below_the_middle() -> None:
    for seed in range(PEOPLE):
        area = ((_chest(seed) < -600) & (_chest(seed) > -950)).sum(axis=(1, 2))
        assert area[0] < 0.6 * area[SHAPE[0] // 2]
        assert 0.4 * SHAPE[0] < np.argmax(area) < 0.85 * SHAPE[0]


def _front_tissue(sex: str) -> np.ndarray:
    """Thickness of tissue (pixels) in front of the ribs at the height of the breasts, by patient."""
    thickness = []
    for seed in range(2 * PEOPLE):
        patient, grid = person(seed, sex=sex), grid_of(person(seed, sex=sex))
        box = region(grid, (55, 95), (-200, -95), (0.5, 0.68))
        thickness.append((_chest(seed, sex)[box] > -300).sum() / box[:, 0].any(axis=1).sum() / patient.size[1])
    return np.array(thickness)


def test_women_have_more_tissue_at_the_front_but_groups_overlap_in_size() -> None:
    women, men = _front_tissue("F"), _front_tissue("M")
    assert women.mean() > 1.5 * men.mean()
    widths = {sex: np.array([person(seed, sex=sex).size[0] for seed in range(200)]) for sex in "FM"}
    assert widths["M"].mean() > widths["F"].mean() + 0.04
    assert widths["F"].max() > np.median(widths["M"])


def test_old_lungs_are_darker() -> None:
    def lung(age_years: float) -> np.ndarray:
        return np.array([_mean(s, (60, 105), (-40, 40), (0.3, 0.6), age_years=age_years) for s in range(PEOPLE)])

    assert lung(30.0).mean() > lung(80.0).mean() + 20


def test_old_vessels_are_calcified_and_old_bone_is_thin() -> None:
    def calcified(age_years: float) -> float:
        total = 0
        for seed in range(PEOPLE):
            box = region(grid_of(person(seed, age_years=age_years)), (-45, 70), (-52, 22), (0.3, 0.75))
            total += int((_chest(seed, age_years=age_years)[box] > 180).sum())
        return total / PEOPLE

    assert calcified(82.0) > 2.0 + 3.0 * calcified(30.0)
    bone = [np.mean([person(s, age_years=a).bone_hu for s in range(60)]) for a in (30.0, 55.0, 80.0)]
    assert bone[0] > bone[1] + 30 > bone[2] + 60


def test_old_chests_are_rounder() -> None:
    ratio = {a: np.mean([np.divide(*person(s, age_years=a).size[1::-1]) for s in range(200)]) for a in (30.0, 80.0)}
    assert ratio[80.0] > ratio[30.0] + 0.01


def test_no_single_voxel_tells_the_sex() -> None:
    (site,) = draw_sites(PhantomConfig(scans=130, sites=1, signature_strength=0.0, case_mix_strength=0.0, seed=3))
    plans = plan_scans((site,), 3)
    volumes = np.stack([render_plan(plan, (8, 32, 32)) for plan in plans])
    woman = np.array([plan.patient.sex == "F" for plan in plans])
    ranks = stats.rankdata(volumes.reshape(len(plans), -1), axis=0)
    auc = (ranks[woman].mean(axis=0) - (woman.sum() + 1) / 2) / (~woman).sum()
    best = np.maximum(auc, 1.0 - auc).max()
    assert 0.65 < best < 0.92  # 0.5 would be a sexless phantom


def test_patients_differ_and_the_same_patient_does_not() -> None:
    patient = person(1)
    np.testing.assert_array_equal(anatomy(patient, 1), anatomy(patient, 1))
    assert np.abs(anatomy(patient, 1) - anatomy(patient, 2)).mean() > 3.0  # another rib phase and vessel tree
    fatter = dataclasses.replace(patient, fat_mm=patient.fat_mm + 12.0)
    assert (anatomy(fatter, 1) > -300).sum() > 1.03 * (anatomy(patient, 1) > -300).sum()
