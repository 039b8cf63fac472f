"""``.keras`` files of Keras 2.13 to 2.15 give what Keras 2 gives."""

import zipfile

import numpy as np
import pytest
import tf_keras
from tf_keras import layers as old

from flprivacy.core.errors import TargetError
from flprivacy.core.target_source import TargetSource
from flprivacy.models.foreign.custom import load_custom
from flprivacy.targets.folder import load_model, verify_target
from flprivacy.targets.given import remark
from flprivacy.targets.importing import import_checkpoint

SHAPE = (6, 12, 16)


def _whole(x):
    """Layers that Keras 3 writes otherwise, a network within, used twice, and a branch."""
    x = old.Rescaling(1 / 255)(x)
    x = old.BatchNormalization(name="norm")(old.Conv3D(4, 3, padding="same")(x))
    scan = tf_keras.Input((*SHAPE, 4))
    inner = tf_keras.Model(scan, old.ReLU()(old.Conv3D(4, 3, padding="same")(scan)), name="inner")
    row = tf_keras.Sequential([tf_keras.Input((*SHAPE, 4)), old.Conv3D(4, 1), old.LeakyReLU()], name="row")
    x = old.Add()([row(inner(inner(x))), x])
    return old.Dropout(0.2)(old.GlobalAveragePooling3D(name="embedding")(x))


def _slices(x):
    x = old.TimeDistributed(old.DepthwiseConv2D(3, depth_multiplier=3))(x)
    x = old.GRU(5)(old.TimeDistributed(old.GlobalMaxPooling2D())(x))
    return old.LayerNormalization(name="embedding")(x)


def _saved(path, body, *, module, mixed=False):
    tf_keras.utils.set_random_seed(3)
    tf_keras.mixed_precision.set_global_policy("mixed_float16" if mixed else "float32")
    try:
        scan = tf_keras.Input((*SHAPE, 1))
        answer = old.Dense(3, activation="softmax", name="answer", dtype="float32")(body(scan))
        network = tf_keras.Model(scan, answer)
    finally:
        tf_keras.mixed_precision.set_global_policy("float32")
    network.compile("adam", "sparse_categorical_crossentropy")
    network.fit(np.random.default_rng(0).random((4, *SHAPE, 1)) * 255, np.array([0, 1, 2, 1]), verbose=0)
    network.save(path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:  # tf_keras is Keras 2.16 and later; its modules were called keras
        for name, data in members.items():
            archive.writestr(name, data.replace(b"tf_keras.src.", module) if name == "config.json" else data)
    return network


@pytest.mark.parametrize(("body", "mixed"), [(_whole, False), (_whole, True), (_slices, False)])
@pytest.mark.parametrize("module", [b"keras.src.", b"tf_keras.src."])
def test_features_and_answers_are_those_of_keras_2(tmp_path, body, mixed, module):
    network = _saved(tmp_path / "m.keras", body, module=module, mixed=mixed)
    scans = np.random.default_rng(1).random((3, *SHAPE, 1)).astype(np.float32)
    source = TargetSource(location="m.keras", feature_layer="embedding", input_range="0..255")
    record = import_checkpoint(source, tmp_path / "m.keras", name="m", out=tmp_path / "t")
    assert "written by Keras 2" in remark(record)
    assert verify_target(tmp_path / "t") == record
    ours = load_model(tmp_path / "t", record, "model")
    near = {"atol": 2e-2} if mixed else {"atol": 1e-5, "rtol": 1e-4}
    np.testing.assert_allclose(np.asarray(ours.model(scans)), network.predict(scans * 255, verbose=0), **near)
    features = tf_keras.Model(network.input, network.get_layer("embedding").output).predict(scans * 255, verbose=0)
    np.testing.assert_allclose(np.asarray(ours.trunk(scans)), features, **near)


def test_its_code_is_refused_as_in_any_other(tmp_path):
    _saved(
        tmp_path / "m.keras", lambda x: old.Lambda(lambda y: y[:, 0, 0, 0], name="embedding")(x), module=b"keras.src."
    )
    with pytest.raises(TargetError, match="layer of code"):
        load_custom(tmp_path / "m.keras", "embedding")
