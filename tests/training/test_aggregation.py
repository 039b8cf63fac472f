import numpy as np
import pytest

from flprivacy.core.errors import TrainingError
from flprivacy.training.aggregation import weighted_average

RNG = np.random.default_rng(0)
SHAPES = [(3, 4, 2), (2,), ()]
CLIENTS = [[np.asarray(RNG.normal(size=s), dtype=np.float32) for s in SHAPES] for _ in range(5)]


@pytest.mark.parametrize("sizes", [[1, 1, 1, 1, 1], [400, 3, 17, 1, 120], [0, 0, 5, 0, 0], [0.5, 0.25, 0.1, 0.1, 0.05]])
def test_it_is_numpys_weighted_average(sizes: list[float]) -> None:
    averaged = weighted_average(iter(CLIENTS), sizes)
    for tensor, result in enumerate(averaged):
        expected = np.average([c[tensor].astype(np.float64) for c in CLIENTS], axis=0, weights=sizes)
        assert result.shape == SHAPES[tensor]
        assert result.dtype == np.float32
        np.testing.assert_allclose(result, expected, rtol=1e-6, atol=1e-7)


def test_the_average_of_one_is_that_one_bit_for_bit() -> None:
    for left, right in zip(weighted_average(CLIENTS[:1], [17]), CLIENTS[0], strict=True):
        assert left.tobytes() == right.tobytes()


def test_it_holds_one_model_at_a_time() -> None:
    """A client's arrays may be overwritten once the next is asked for, as a reused model's are."""
    buffer = np.zeros(3, dtype=np.float32)

    def updates():
        for value in (1.0, 2.0, 6.0):
            buffer[:] = value
            yield [buffer]

    np.testing.assert_allclose(weighted_average(updates(), [1, 1, 1])[0], 3.0, rtol=1e-6)


@pytest.mark.parametrize("sizes", [[], [0, 0], [-1, 2], [np.nan, 1], [np.inf, 1]])
def test_sizes_that_are_no_weights_are_refused(sizes: list[float]) -> None:
    with pytest.raises(TrainingError, match="client sizes"):
        weighted_average(CLIENTS[: len(sizes)], sizes)


@pytest.mark.parametrize("n_sizes", [1, 3])
def test_as_many_sizes_as_models(n_sizes: int) -> None:
    with pytest.raises(TrainingError):
        weighted_average(CLIENTS[:2], [1] * n_sizes)


def test_models_of_other_shapes_are_refused() -> None:
    with pytest.raises(TrainingError, match="do not match"):
        weighted_average([[np.zeros((2, 3))], [np.zeros((3, 2))]], [1, 1])
