"""Coordinates and implicit shapes, each against a naive reference."""

import dataclasses

import numpy as np
import pytest
from phantom_cases import STILL

from flprivacy.cohorts.phantom.grid import Ellipsoid, make_grid, smooth_noise, tube_box, tube_distance
from flprivacy.cohorts.phantom.mediastinum import Tube, paint_tube

TURNED = dataclasses.replace(STILL, roll_rad=0.3, shift_mm=(12.0, -25.0), size=(0.9, 1.1), fov_mm=350.0)


def test_axes_point_to_feet_back_and_the_patients_left() -> None:
    grid = make_grid((9, 32, 48), STILL)
    assert grid.shape == (9, 32, 48)
    assert grid.x.shape == grid.y.shape == (32, 48)
    assert (np.diff(grid.z) > 0).all()
    assert (np.diff(grid.y, axis=0) > 0).all()
    assert (np.diff(grid.x, axis=1) > 0).all()
    assert grid.x[:, 24:].min() > 0 > grid.x[:, :24].max()
    assert grid.pixel_mm == pytest.approx((390.0 / 32, 390.0 / 48))


def test_index_inverts_the_coordinates_of_a_turned_and_shifted_grid() -> None:
    grid = make_grid((8, 32, 48), TURNED)
    rows, columns = np.indices((32, 48))
    found = grid.index(grid.x.ravel().astype(np.float64), grid.y.ravel().astype(np.float64))
    np.testing.assert_allclose(found[0], rows.ravel(), atol=1e-3)
    np.testing.assert_allclose(found[1], columns.ravel(), atol=1e-3)


def test_a_step_along_the_grid_is_a_pixel_long() -> None:
    grid = make_grid((8, 32, 48), TURNED)
    across = np.hypot(grid.x[0, 1] - grid.x[0, 0], 0) * 0.9, (grid.y[0, 1] - grid.y[0, 0]) * 1.1
    assert np.hypot(*across) == pytest.approx(350.0 / 48, rel=1e-4)


@pytest.mark.parametrize("turn", [(0.0, 0.0), (0.7, 0.0), (-0.4, 0.5)])
def test_ellipsoid_is_zero_on_its_surface_and_ordered_elsewhere(turn: tuple[float, float]) -> None:
    shape = Ellipsoid(centre=(10.0, -20.0, 90.0), radii=(40.0, 20.0, 12.0), yaw=turn[0], pitch=turn[1])
    rng = np.random.default_rng(0)
    unit = rng.standard_normal((200, 3))
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    cy, sy, cp, sp = np.cos(turn[0]), np.sin(turn[0]), np.cos(turn[1]), np.sin(turn[1])
    axes = np.array([[cp * cy, cp * sy, sp], [-sy, cy, 0.0], [-sp * cy, -sp * sy, cp]])
    for scale, sign in ((1.0, 0), (0.8, -1), (1.3, 1)):
        points = np.array(shape.centre) + (unit * scale * np.array(shape.radii)) @ axes
        distance = shape.distance(*points.T.astype(np.float32))
        assert (np.abs(distance) < 0.01).all() if sign == 0 else (np.sign(distance) == sign).all()


def test_sphere_distance_is_exact() -> None:
    sphere = Ellipsoid(centre=(0.0, 0.0, 0.0), radii=(10.0, 10.0, 10.0))
    x = np.linspace(0.5, 30.0, 40, dtype=np.float32)
    np.testing.assert_allclose(sphere.distance(x, x * 0, x * 0), x - 10.0, atol=1e-4)


def test_tube_distance_agrees_with_dense_spheres_along_the_line() -> None:
    points = np.array([(0.0, 0.0, 0.0), (30.0, 10.0, 5.0), (30.0, 40.0, 60.0)])
    radii = np.array([8.0, 6.0, 3.0])
    places = np.random.default_rng(1).uniform((-20, -20, -20), (60, 60, 80), (300, 3))
    s = np.linspace(0.0, 2.0, 4001)
    line = np.stack([np.interp(s, [0, 1, 2], points[:, i]) for i in range(3)], axis=1)
    width = np.interp(s, [0, 1, 2], radii)
    naive = (np.linalg.norm(places[:, None] - line[None], axis=2) - width[None]).min(axis=1)
    x, y, z = (c.astype(np.float32)[None, None, :] for c in places.T)
    # A tapering tube is measured from the nearest point of its axis, spheres from the nearest sphere.
    np.testing.assert_allclose(tube_distance(x, y, z, points, radii)[0, 0], naive, atol=0.35)


def test_boxes_hold_every_voxel_of_their_shape() -> None:
    grid = make_grid((10, 33, 47), TURNED)
    everything = (slice(None), slice(None), slice(None))
    rng = np.random.default_rng(2)
    for _ in range(20):
        centre = rng.uniform((-150, -120, 0), (150, 120, 270))
        shape = Ellipsoid(centre=tuple(centre), radii=tuple(rng.uniform(3, 60, 3)), yaw=rng.uniform(0, 3))
        inside = grid.coverage(shape.distance(*grid.at(everything))) > 0.5
        inside[shape.box(grid)] = False
        assert not inside.any()
    line = np.array([(-60.0, 10.0, 40.0), (20.0, -40.0, 120.0)])
    box = tube_box(grid, line, 9.0)
    inside = grid.coverage(tube_distance(*grid.at(everything), line, np.array([9.0, 4.0]))) > 0.5
    assert inside.any()
    inside[box] = False
    assert not inside.any()


def test_a_box_outside_the_grid_is_empty() -> None:
    grid = make_grid((8, 32, 32), STILL)
    for low, high in (((900.0, 0.0, 0.0), (950.0, 10.0, 10.0)), ((0.0, 0.0, 900.0), (10.0, 10.0, 950.0))):
        assert grid.zeros()[grid.box(low, high)].size == 0
    volume = grid.zeros()
    paint_tube(volume, grid, Tube(points=np.array([[900.0, 0, 0], [950, 10, 10]]), radii=np.ones(2)), 40.0)
    assert not volume.any()


def test_coverage_of_a_disc_is_its_area() -> None:
    grid = make_grid((8, 96, 64), STILL)
    disc = np.sqrt(grid.x**2 + grid.y**2) - np.float32(60.0)
    area = float(grid.coverage(disc).sum()) * grid.pixel_mm[0] * grid.pixel_mm[1]
    assert area == pytest.approx(np.pi * 60.0**2, rel=0.02)


def test_smooth_noise_is_fixed_in_the_patient_not_in_the_voxels() -> None:
    coarse = make_grid((8, 32, 32), STILL)
    fine = make_grid((24, 96, 96), STILL)
    a = smooth_noise(np.random.default_rng(3), coarse, 60.0)
    b = smooth_noise(np.random.default_rng(3), fine, 60.0)
    np.testing.assert_allclose(b[1::3, 1::3, 1::3], a, atol=1e-3)  # the middle of every 3 x 3 x 3 voxels
    fields = np.stack([smooth_noise(np.random.default_rng(s), coarse, 20.0) for s in range(20)])
    assert abs(fields.mean()) < 0.05
    assert fields.std() == pytest.approx(1.0, abs=0.08)
