"""Our own architectures in another format: fresh weights are ours."""

from pathlib import Path

import keras
import numpy as np
import pytest

from flprivacy.models.familiar import familiar_kernels, kernels_of
from flprivacy.models.foreign.custom import fresh_custom
from flprivacy.models.graphs.fresh import fresh_graph
from flprivacy.models.registry import ARCHITECTURES, TargetModel, build
from tests.onnx_networks import of_keras

CLASSES = 3


def _built(name: str, seed: int, depth: int = 0) -> TargetModel:
    least, *rest = ARCHITECTURES[name].minimal_shape
    return build(name, shape=(depth or least, *rest), n_classes=CLASSES, seed=seed)


def _kernels(model: keras.Model) -> list[np.ndarray]:
    return [np.asarray(kernel) for kernel in kernels_of(model)]


@pytest.mark.parametrize(("name", "depth"), [("cnn3d_small", 0), ("cnn3d", 9), ("slices2d", 24)])
def test_fresh_weights_of_a_keras_file_and_of_its_export_are_those_of_our_network(
    name: str, depth: int, tmp_path: Path
) -> None:
    """The head of the network of slices takes the features of up to eight slices."""
    trained, fresh = _built(name, 1, depth).model, _built(name, 2, depth).model
    trained.save(tmp_path / "m.keras")
    drawn = fresh_custom(tmp_path / "m.keras", "trunk/features", seed=2).network
    for mine, ours in zip(_kernels(drawn), _kernels(fresh), strict=True):
        np.testing.assert_array_equal(mine, ours)
    (tmp_path / "m.onnx").write_bytes(of_keras(trained).SerializeToString())
    exported = fresh_graph(tmp_path / "m.onnx", seed=2).SerializeToString()
    assert exported == of_keras(fresh).SerializeToString()


def test_the_trunk_alone_is_known_and_a_network_unlike_ours_is_not() -> None:
    trunk = _built("cnn3d_small", 0).trunk
    shapes = [kernel.shape for kernel in _kernels(trunk)]
    found = familiar_kernels(shapes, seed=3)
    assert found is not None
    for mine, ours in zip(found, _kernels(_built("cnn3d_small", 3).trunk), strict=True):
        np.testing.assert_array_equal(mine, ours)
    assert familiar_kernels([*shapes[:-1], (3, 3, 3, 64, 65)], seed=3) is None
    assert familiar_kernels(shapes[:-1], seed=3) is None
    assert familiar_kernels([*shapes, (64, 64), (64, 3)], seed=3) is None
    assert familiar_kernels([], seed=3) is None


def test_parallel_branches_may_come_in_another_order() -> None:
    kernels = _kernels(_built("i3d", 4).model)
    turned = familiar_kernels([kernel.shape for kernel in (*kernels[-2::-1], kernels[-1])], seed=4)
    assert turned is not None
    assert sorted(kernel.tobytes() for kernel in turned) == sorted(kernel.tobytes() for kernel in kernels)
    for mine, ours in zip(familiar_kernels([kernel.shape for kernel in kernels], seed=4) or (), kernels, strict=True):
        np.testing.assert_array_equal(mine, ours)
