"""Labels that do not overlap: the nearest positions that keep their distance."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.optimize import minimize

from flprivacy.reporting.figures.labels import spread


def _naive(positions: np.ndarray, gap: float) -> np.ndarray:
    """Least squares under the constraints, by a general solver."""
    rank = np.argsort(positions, kind="stable")
    constraints = [{"type": "ineq", "fun": lambda z, a=a, b=b: z[b] - z[a] - gap} for a, b in pairwise(rank)]
    return minimize(
        lambda z: np.square(z - positions).sum(), positions, constraints=constraints, options={"ftol": 1e-12}
    ).x


@pytest.mark.parametrize("seed", range(5))
def test_equals_a_general_solver(seed: int) -> None:
    positions = np.random.default_rng([11, seed]).random(6)
    np.testing.assert_allclose(spread(positions, 0.15), _naive(positions, 0.15), atol=1e-4)


def test_leaves_alone_what_is_apart() -> None:
    positions = np.array([0.9, 0.1, 0.5])
    np.testing.assert_allclose(spread(positions, 0.2), positions)


def test_equal_positions_fan_out_around_themselves() -> None:
    np.testing.assert_allclose(np.sort(spread(np.full(3, 0.5), 0.1)), [0.4, 0.5, 0.6])


def test_nothing_to_spread() -> None:
    assert spread(np.empty(0), 0.1).size == 0
