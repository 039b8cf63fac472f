"""Coordinates and implicit shapes, each against a naive reference."""

import dataclasses

import numpy as np
import pytest
from phantom_cases import STILL

from flprivacy.cohorts.phantom.grid import Ellipsoid, make_grid, smooth_noise
from flprivacy.cohorts.phantom.tubes import Tube, tube_distances

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


def test_tube_distances_agree_with_dense_spheres_along_the_line() -> None:
    grid = make_grid((40, 48, 64), TURNED)
    lines = [[(0, 0, 60), (30, 10, 65), (30, 40, 120)], [(-60, 10, 40), (20, -40, 120)], [(900, 0, 0), (950, 0, 0)]]
    tubes = [Tube(points=np.array(line, dtype=float), radii=np.linspace(16.0, 10.0, len(line))) for line in lines]
    found = list(tube_distances(grid, tubes))
    assert [tube for tube, _, _ in found] == tubes[:2]  # the third lies outside of the grid
    for tube, box, distance in found:
        x, y, z = np.broadcast_arrays(grid.x[None], grid.y[None], grid.z[:, None, None])
        s = np.linspace(0.0, len(tube.points) - 1.0, 401)
        knots = np.arange(len(tube.points))
        line = np.stack([np.interp(s, knots, tube.points[:, i]) for i in range(3)], axis=1)
        width = np.interp(s, knots, tube.radii)
        places = np.stack([x, y, z], axis=-1)
        naive = np.min([np.linalg.norm(places - p, axis=-1) - r for p, r in zip(line, width, strict=True)], axis=0)
        # A tapering tube is measured from the nearest point of its axis, spheres from the nearest sphere.
        near = naive[box] < 0.5 * grid.ramp_mm
        np.testing.assert_allclose(distance[near], naive[box][near], atol=0.35)
        np.testing.assert_array_equal(grid.coverage(distance)[~near], 0.0)
        outside = naive < 0.0
        outside[box] = False
        assert not outside.any()


def test_boxes_hold_every_voxel_of_their_shape() -> None:
    grid = make_grid((10, 33, 47), TURNED)
    everything = (slice(None), slice(None), slice(None))
    rng = np.random.default_rng(2)
    for _ in range(20):
        centre = rng.uniform((-150, -120, 0), (150, 120, 270))
        shape = Ellipsoid(centre=tuple(centre), radii=tuple(rng.uniform(3, 60, 3)), yaw=rng.uniform(0, 3))
        inside = grid.coverage(shape.distance(*grid.at(everything))) > 0.5
        box = shape.box(grid)
        if box is not None:
            inside[box] = False
        assert not inside.any()


def test_a_window_holds_the_same_voxels() -> None:
    grid = make_grid((10, 33, 47), TURNED)
    window = (slice(None), slice(5, 30), slice(8, 40))
    part = grid.crop(window)
    shape = Ellipsoid(centre=(20.0, -10.0, 120.0), radii=(60.0, 40.0, 50.0), yaw=0.4)
    whole, cut = grid.zeros(), part.zeros()
    for where, field in ((grid, whole), (part, cut)):
        box = shape.box(where)
        assert box is not None
        field[box] = where.coverage(shape.distance(*where.at(box)))
    np.testing.assert_array_equal(whole[window], cut)
    assert cut.max() == 1.0


def test_a_box_outside_the_grid_is_none() -> None:
    grid = make_grid((8, 32, 32), STILL)
    assert grid.box((900.0, 0.0, 0.0), (950.0, 10.0, 10.0)) is None
    assert grid.box((0.0, 0.0, 900.0), (10.0, 10.0, 950.0)) is None


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
