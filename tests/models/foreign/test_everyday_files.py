"""Files as strangers have them: of any size, of whole numbers, of slices, renamed, or no networks at all."""

import zipfile

import keras
import numpy as np
import pytest
from keras import layers, ops

from flprivacy.core.errors import TargetError
from flprivacy.core.target_source import TargetSource
from flprivacy.models.foreign.custom import load_custom
from flprivacy.models.graphs.files import read_graph
from flprivacy.targets.folder import load_model, verify_target
from flprivacy.targets.given import given_target
from flprivacy.targets.importing import import_checkpoint

SHAPE = (4, 6, 10)


def _network(sizes, first=lambda x: x, dtype="float32"):
    keras.utils.set_random_seed(2)
    scan = keras.Input(sizes, dtype=dtype)
    x = layers.Conv3D(4, 3, padding="same", activation="relu")(first(scan))
    return keras.Model(scan, layers.Dense(3, activation="softmax")(layers.GlobalAveragePooling3D(name="embedding")(x)))


def _scans():
    return (np.random.default_rng(1).integers(0, 256, (3, *SHAPE, 1)) / 255.0).astype(np.float32)


@pytest.mark.parametrize("sequential", [False, True])
@pytest.mark.parametrize("sizes", [(None, None, None, 1), (None, 6, 10, 1)])
def test_a_network_for_scans_of_any_size_is_told_theirs(tmp_path, sizes, sequential):
    network = _network(sizes)
    network = keras.Sequential([keras.Input(sizes), *network.layers[1:]]) if sequential else network
    network.save(tmp_path / "m.keras")
    with pytest.raises(TargetError, match="takes scans of any size; give theirs, such as shape=24x256x256"):
        load_custom(tmp_path / "m.keras", "embedding")
    source = TargetSource(location="m.keras", feature_layer="embedding", input_range="0..1", shape=SHAPE)
    record = import_checkpoint(source, tmp_path / "m.keras", name="m", out=tmp_path / "t")
    assert record.shape == SHAPE
    assert verify_target(tmp_path / "t") == record
    model = load_model(tmp_path / "t", record, "model")
    np.testing.assert_allclose(np.asarray(model.model(_scans())), np.asarray(network(_scans())), atol=1e-6)


def test_slices_that_are_read_in_both_directions(tmp_path):
    """Keras builds the layer that Bidirectional wraps once more than the file holds it."""
    scan = keras.Input((*SHAPE, 1))
    slices = layers.TimeDistributed(layers.GlobalAveragePooling2D())(
        layers.TimeDistributed(layers.Conv2D(4, 3, activation="relu"))(scan)
    )
    both = layers.Bidirectional(layers.LSTM(4), name="embedding")(slices)
    network = keras.Model(scan, layers.Dense(3, activation="softmax")(both))
    network.save(tmp_path / "m.keras")
    model = load_custom(tmp_path / "m.keras", "embedding", input_range="0..1").model
    np.testing.assert_allclose(np.asarray(model.model(_scans())), np.asarray(network(_scans())), atol=1e-6)


def test_low_rank_adapters_are_part_of_the_kernels_that_keras_saves(tmp_path):
    network = _network((*SHAPE, 1))
    adapted = next(layer for layer in network.layers if isinstance(layer, layers.Dense))
    adapted.enable_lora(2)
    adapted.lora_kernel_b.assign(np.random.default_rng(1).normal(size=adapted.lora_kernel_b.shape))
    network.save(tmp_path / "m.keras")
    model = load_custom(tmp_path / "m.keras", "embedding", input_range="0..1").model
    np.testing.assert_allclose(np.asarray(model.model(_scans())), np.asarray(network(_scans())), atol=1e-6)


def test_sizes_follow_the_order_of_its_axes(tmp_path):
    _network((None, None, None, 1)).save(tmp_path / "m.keras")
    custom = load_custom(tmp_path / "m.keras", "embedding", shape=SHAPE, axes="hwd")
    assert custom.model.shape == SHAPE
    assert np.asarray(custom.model.model(_scans())).shape == (3, 3)
    assert custom.contract.stated == ("axes", "shape")  # whoever states both could mean any order
    assert load_custom(tmp_path / "m.keras", "embedding", shape=SHAPE).contract.assumed == ("axes", "input_range")


@pytest.mark.parametrize(("dtype", "values", "bounds"), [("uint8", "0..255", (0, 255)), ("int16", "hu", (-1000, 400))])
def test_whole_numbers_are_rounded_not_cut_off(tmp_path, dtype, values, bounds):
    network = _network((*SHAPE, 1), lambda x: ops.cast(x, "float32") / 100.0, dtype)
    network.save(tmp_path / "m.keras")
    model = load_custom(tmp_path / "m.keras", "embedding", input_range=values).model
    own = np.rint(bounds[0] + (bounds[1] - bounds[0]) * _scans().astype(np.float64)).astype(dtype)
    np.testing.assert_allclose(np.asarray(model.model(_scans())), np.asarray(network(own)), atol=1e-6)
    for other in ("0..1", "-9e9..9e9".replace("e9", "0" * 9)):
        with pytest.raises(TargetError, match=f"takes {dtype}, which does not hold values of"):
            load_custom(tmp_path / "m.keras", "embedding", input_range=other)


def test_a_network_of_slices_is_not_taken_for_one_of_scans(tmp_path):
    image = keras.Input((32, 32, 3))
    x = layers.GlobalAveragePooling2D(name="embedding")(layers.Conv2D(4, 3)(image))
    keras.Model(image, layers.Dense(3, activation="softmax")(x)).save(tmp_path / "m.keras")
    with pytest.raises(TargetError, match=r"takes \(32, 32, 3\), as networks of slices .*TimeDistributed"):
        load_custom(tmp_path / "m.keras", "embedding")


@keras.saving.register_keras_serializable(package="own")
class Doubled(layers.Layer):
    """A layer whose code no file holds."""

    def call(self, x):
        """Return twice the input."""
        return 2.0 * x


def test_parts_that_no_file_holds_say_what_else_can_be_done(tmp_path):
    _network((*SHAPE, 1), Doubled()).save(tmp_path / "m.keras")
    with pytest.raises(TargetError, match=r"a part of somebody's own \('own>Doubled'\), .*ONNX, or bring its answers"):
        load_custom(tmp_path / "m.keras", "embedding")
    network = keras.Sequential([keras.Input((5,)), layers.Dense(4, name="embedding")])
    network.quantize("int8")
    network.save(tmp_path / "m.keras")
    with pytest.raises(TargetError, match=r"weights are quantised, .*as it was before quantize"):
        load_custom(tmp_path / "m.keras", "embedding")


def _zipped(*names):
    def write(path):
        with zipfile.ZipFile(path, "w") as archive:
            for name in names:
                archive.writestr(name, b"x" * 10)

    return write


@pytest.mark.parametrize(
    ("write", "match"),
    [
        (lambda path: path.write_bytes(b""), "is empty"),
        (lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\noid x"), "pointer of Git LFS"),
        (lambda path: path.write_text("\n<!DOCTYPE html><html>Sign in"), "is a web page"),
        (lambda path: path.write_bytes(b"\x1f\x8b" + bytes(50)), "compressed with gzip"),
        (lambda path: path.write_bytes(b"\x80\x02}q\x00."), "is a PyTorch file"),
        (_zipped("archive/data.pkl", "archive/version"), "is a PyTorch file"),
        (
            lambda path: path.write_bytes(b"\x20\0\0\0\0\0\0\0" + b'{"fc.bias":{"dtype":"F32"}}'),
            "without their network",
        ),
        (lambda path: path.write_bytes(b"\x18\0\0\0ORTM\0\0\0\0"), "is of onnxruntime's own format"),
        (_zipped("m/saved_model.pb", "m/variables/variables.index"), "is an archive of a TensorFlow SavedModel"),
    ],
)
@pytest.mark.parametrize("suffix", [".keras", ".h5", ".onnx"])
def test_files_that_are_no_networks_are_called_what_they_are(tmp_path, write, match, suffix):
    path = tmp_path / f"m{suffix}"
    write(path)
    with pytest.raises(TargetError, match=match) as caught:
        read_graph(path) if suffix == ".onnx" else given_target(TargetSource(location=str(path)), str(tmp_path / "s"))
    assert str(caught.value).startswith(f"{path}: is ")


def test_names_that_do_not_fit_the_content(tmp_path):
    network = _network((*SHAPE, 1))
    network.save(tmp_path / "m.keras")
    network.save(tmp_path / "m.h5")
    for name, other, match in (
        ("m.h5", "n.keras", "is an HDF5 file under another name; give it a name that ends in .h5"),
        ("m.keras", "n.h5", "is a .keras archive under another name"),
    ):
        (tmp_path / other).write_bytes((tmp_path / name).read_bytes())
        with pytest.raises(TargetError, match=match):
            load_custom(tmp_path / other, "embedding")
    (tmp_path / "M.KERAS").write_bytes((tmp_path / "m.keras").read_bytes())
    assert load_custom(tmp_path / "M.KERAS", "embedding").model.shape == SHAPE


def test_folders_and_files_of_other_kinds(tmp_path):
    (tmp_path / "model.json").write_text("{}")
    with pytest.raises(TargetError, match="is none of the files that are read"):
        given_target(TargetSource(location=str(tmp_path / "model.json")))
    _network((*SHAPE, 1)).save(tmp_path / "m.keras")
    with zipfile.ZipFile(tmp_path / "m.keras") as archive:
        archive.extractall(tmp_path / "unpacked")
    with pytest.raises(TargetError, match=r"is an unpacked \.keras archive"):
        given_target(TargetSource(location=str(tmp_path / "unpacked"), feature_layer="embedding"))
