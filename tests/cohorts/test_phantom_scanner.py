"""Every setting of the scanner does what it says to a scan, and nothing else does."""

import dataclasses

import numpy as np
import pytest
from phantom_cases import PLAIN, anatomy, person, still

from flprivacy.cohorts.phantom.grid import Field, make_grid
from flprivacy.cohorts.phantom.render import render_scan
from flprivacy.cohorts.phantom.scanner import (
    TRAITS,
    WINDOW_HU,
    Acquisition,
    acquire,
    draw_acquisition,
    draw_scanner,
    table_top,
    to_window,
)

SHAPE = (9, 32, 48)


def _flat(value: float = 40.0) -> Field:
    return np.full((10, 64, 96), value, dtype=np.float32)


def _scan(hu: Field, seed: int = 0, **changes: object) -> Field:
    settings = dataclasses.replace(PLAIN, **changes)  # type: ignore[arg-type]
    return acquire(np.random.default_rng(seed), hu, person(), settings)


def _step() -> Field:
    """Water with an edge across the width."""
    hu = _flat(-800.0)
    hu[:, :, 48:] = 40.0
    return hu


def test_a_plain_scan_is_the_anatomy() -> None:
    hu = anatomy(person(), shape=SHAPE)
    np.testing.assert_allclose(_scan(hu), hu, atol=1e-2)


def test_window_maps_air_water_and_bone() -> None:
    low, high = WINDOW_HU
    levels = to_window(np.array([-3000.0, low, (low + high) / 2.0, high, 3000.0], dtype=np.float32))
    assert levels.dtype == np.uint8
    assert levels.tolist() == [0, 0, 128, 255, 255]
    hu = np.linspace(low, high, 1401, dtype=np.float32)
    back = to_window(hu) / 255.0 * (high - low) + low
    assert np.abs(back - hu).max() <= (high - low) / 255.0 / 2.0 + 1e-3


def test_noise_has_the_stated_strength_and_texture() -> None:
    fine, coarse = (_scan(_flat(), noise_hu=20.0, texture=t)[3:] - 40.0 for t in (0.05, 0.95))
    assert fine.std() == pytest.approx(coarse.std(), rel=0.1)
    assert 10.0 < fine.std() < 40.0  # 20 for a person of average width

    def correlation(noise: Field) -> float:
        return float(np.corrcoef(noise[:, :, 1:].ravel(), noise[:, :, :-1].ravel())[0, 1])

    assert correlation(coarse) > correlation(fine) + 0.3
    loud = _scan(_flat(), noise_hu=40.0, texture=0.05)[3:] - 40.0
    assert loud.std() == pytest.approx(2.0 * fine.std(), rel=0.05)


def test_noise_is_stronger_in_large_patients_and_at_the_shoulders() -> None:
    settings = dataclasses.replace(PLAIN, noise_hu=20.0)
    small, large = person(bmi=20.0), person(bmi=36.0)
    a, b = (acquire(np.random.default_rng(0), _flat(), p, settings) for p in (small, large))
    assert b.std() > 1.2 * a.std()
    assert a[0].std() > 1.2 * a[5].std()


def test_kernel_smooths_or_enhances_edges() -> None:
    soft, plain, sharp = (_scan(_step(), sharpness=s)[5, 32] for s in (-0.8, 0.0, 1.0))
    jump = [float(np.abs(np.diff(line)).max()) for line in (soft, plain, sharp)]
    assert jump[0] < 0.8 * jump[1]
    assert jump[2] > 1.2 * jump[1]
    assert sharp.max() > 60.0 > 41.0 > soft.max()  # overshoot beside the edge
    np.testing.assert_allclose([soft[[0, -1]], sharp[[0, -1]]], [[-800, 40]] * 2, atol=0.1)


def test_slice_blur_mixes_neighbouring_slices_alone() -> None:
    hu = _flat(-1000.0)
    hu[5] = 0.0
    blurred = _scan(hu, slice_blur=0.05)
    np.testing.assert_allclose(blurred[:, 32, 48], [-1000] * 4 + [-950, -100, -950] + [-1000] * 3, atol=0.1)


def test_calibration_shifts_and_scales_from_air() -> None:
    hu = _step()
    np.testing.assert_allclose(_scan(hu, offset_hu=7.0), hu + 7.0, atol=0.01)
    np.testing.assert_allclose(_scan(hu, gain=1.02), (hu + 1000.0) * 1.02 - 1000.0, atol=0.01)


def test_field_of_view_zooms_the_patient() -> None:
    patient = person()
    wide = still(patient)
    tight = dataclasses.replace(wide, pose=dataclasses.replace(wide.pose, fov_mm=0.9 * wide.pose.fov_mm))
    body = [
        (render_scan(SHAPE, patient, a, patient_seeds=(1,), scan_seeds=(2,))[4:] > 100).mean() for a in (wide, tight)
    ]
    assert body[1] == pytest.approx(body[0] / 0.9**2, rel=0.1)


def test_the_table_is_below_the_back_and_curves_up() -> None:
    patient = person()
    settings = dataclasses.replace(still(patient), table_curve_mm=60.0)
    grid = make_grid((8, 64, 64), settings.pose)
    top = table_top(grid, patient, settings)
    assert top.shape == (64,)
    assert top[32] > top[0] + 20.0
    np.testing.assert_allclose(top, top[::-1], atol=0.01)
    volume = anatomy(patient, shape=(8, 64, 64))
    row = int(np.searchsorted(grid.v, table_top(grid, patient, still(patient))[2] + 14.0))
    assert volume[4, row : row + 6, 2].max() > -950  # beside the body there is nothing but the table


def test_scans_of_one_scanner_scatter_and_scanners_differ_with_the_strength() -> None:
    patient = person()

    def settings(strength: float, scanner_seed: int) -> list[Acquisition]:
        scanner = draw_scanner(np.random.default_rng(scanner_seed), strength)
        return [draw_acquisition(np.random.default_rng((7, i)), scanner, patient) for i in range(40)]

    for name in ("sharpness", "noise_hu", "texture", "slice_blur", "offset_hu", "gain", "table_curve_mm"):
        own = [np.array([getattr(a, name) for a in settings(1.0, s)]) for s in range(8)]
        within = np.mean([o.std() for o in own])
        assert within > 0.0
        assert np.std([o.mean() for o in own]) > 0.6 * within, name
        common = [np.array([getattr(a, name) for a in settings(0.0, s)]) for s in range(2)]
        np.testing.assert_array_equal(common[0], common[1])


@pytest.mark.parametrize("extreme", [-9.0, 9.0])
def test_settings_stay_physical_at_any_strength(extreme: float) -> None:
    scanner = (extreme,) * len(TRAITS)
    for seed in range(20):
        a = draw_acquisition(np.random.default_rng(seed), scanner, person(seed, bmi=40.0))
        assert -1.0 <= a.sharpness <= 2.0
        assert 1.0 < a.noise_hu < 250.0
        assert 0.0 <= a.texture <= 1.0
        assert 0.0 <= a.slice_blur <= 0.2
        assert a.gain > 0.8
        assert 0.0 <= a.cushion_mm <= 30.0
        assert 200.0 < a.pose.fov_mm < 700.0
