import keras
import numpy as np
import pytest
from architecture_examples import scans

from flprivacy.models.registry import build
from flprivacy.models.slices2d import slice_positions

SHAPE = (11, 32, 40)


@pytest.fixture(scope="module")
def model():
    return build("slices2d", shape=SHAPE, n_classes=3, seed=0)


@pytest.mark.parametrize(
    ("depth", "positions"),
    [
        (1, (0,)),
        (3, (0, 1, 2)),
        (8, (0, 1, 2, 3, 4, 5, 6, 7)),
        (11, (0, 2, 3, 4, 6, 7, 8, 10)),
        (16, (1, 3, 5, 7, 9, 11, 13, 15)),
        (24, (1, 4, 7, 10, 13, 16, 19, 22)),
    ],
)
def test_slices_are_equally_spaced(depth, positions):
    assert slice_positions(depth) == positions


@pytest.mark.parametrize("depth", range(1, 60))
def test_slices_are_distinct_inside_and_symmetric_to_one_slice(depth):
    positions = np.array(slice_positions(depth))
    assert len(set(positions.tolist())) == min(8, depth)
    assert (positions >= 0).all()
    assert (positions < depth).all()
    gaps = np.diff([-(depth - 1 - positions[-1]) - 1, *positions])
    assert len(positions) == 1 or np.ptp(gaps[1:]) <= 1


def test_every_slice_is_seen_alone_and_in_order(model):
    """Features of the stack are the features of its slices, one after another."""
    x = scans(SHAPE)
    features = np.asarray(model.trunk(x)).reshape(2, 8, 64)
    alone = build("slices2d", shape=(1, *SHAPE[1:]), n_classes=3, seed=0)  # the same weights: equal paths and seed
    for k, position in enumerate(slice_positions(SHAPE[0])):
        expected = np.asarray(alone.trunk(x[:, position : position + 1]))
        np.testing.assert_allclose(features[:, k], expected, rtol=1e-3, atol=1e-4)
    assert np.ptp(features, axis=1).min() > 1e-3  # slices differ, so that their order shows


def test_parameter_count_is_the_published_one(model):
    # Keras documents 3,538,984 for MobileNetV2 with its classifier of 1280 * 1000 + 1000.
    cap = 4 * 1280 + 1280 * 64 + 64
    assert model.trunk.count_params() == 3_538_984 - (1280 * 1000 + 1000) + cap == 2_345_088


def test_moving_averages_follow_short_trainings(model):
    norms = [x for x in model.trunk.get_layer("mobilenet_v2").layers if isinstance(x, keras.layers.BatchNormalization)]
    assert len(norms) == 52
    assert {layer.momentum for layer in norms} == {0.99}
