"""What a hostile checkpoint may try: refused in one line; nothing runs, nothing is unpacked, memory is bounded."""

import base64
import io
import json
import marshal
import os
import pickle
import resource
import struct
import zipfile

import h5py
import keras
import numpy as np
import pytest
from keras import layers

from flprivacy.core.errors import TargetError
from flprivacy.core.target_source import TargetSource
from flprivacy.models.foreign.checkpoint import open_checkpoint
from flprivacy.models.foreign.custom import load_custom
from flprivacy.models.foreign.loading import load_checkpoint

SHAPE = (4, 16, 20)
_MEMORY = 100 << 20


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A harmless network in the three formats."""
    folder = tmp_path_factory.mktemp("saved")
    scan = keras.Input((*SHAPE, 1))
    x = layers.GlobalAveragePooling3D()(layers.Conv3D(3, 2, activation="relu", name="conv")(scan))
    model = keras.Model(scan, layers.Dense(2, activation="softmax")(layers.Dense(4, name="embedding")(x)))
    model.save(folder / "m.keras")
    model.save(folder / "m.h5")
    model.save_weights(folder / "m.weights.h5")
    return folder


@pytest.fixture(params=["m.h5", "m.weights.h5"])
def hdf5(request, saved, tmp_path):
    path = tmp_path / request.param
    path.write_bytes((saved / request.param).read_bytes())
    return path


def _a_dataset(path):
    with h5py.File(path) as file:
        found = []
        file.visititems(lambda name, member: found.append(name) if isinstance(member, h5py.Dataset) else None)
    return found[0]


def refused(path, match, **facts):
    """Everything that reads a checkpoint refuses it, in one line, without filling the memory."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    files = set(path.parent.rglob("*"))
    with pytest.raises(TargetError, match=match) as caught:
        _load_own(path) if path.suffix == ".keras" else _load(path, **facts)
    if path.suffix == ".keras":
        with pytest.raises(TargetError):
            _load(path, **facts)
    assert str(caught.value).startswith(str(path))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1500
    assert set(path.parent.rglob("*")) == files
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10 < _MEMORY


def _load_own(path):
    load_custom(path, "embedding")


def _load(path, **facts):
    with open_checkpoint(path) as checkpoint:
        checkpoint.read(checkpoint.places)
        asked = {"architecture": "cnn3d_small", "shape": SHAPE} | facts
        load_checkpoint(checkpoint, TargetSource(location=str(path), **asked))


def test_the_harmless_ones_are_read(saved):
    assert load_custom(saved / "m.keras", "embedding").facts["answers"] == "probabilities"
    for name in ("m.keras", "m.h5", "m.weights.h5"):
        with open_checkpoint(saved / name) as checkpoint:
            assert len(checkpoint.read(checkpoint.places)) == 6


def _external_link(file, name, secret):
    del file[name]
    file[name] = h5py.ExternalLink(str(secret), "/secret")


def _soft_link(file, name, secret):
    del file[name]
    file[name] = h5py.SoftLink("/")


def _external_storage(file, name, secret):
    shape = file[name].shape
    del file[name]
    file.create_dataset(name, shape, np.float32, external=[(str(secret), 0, int(np.prod(shape)) * 4)])


def _virtual(file, name, secret):
    shape = file[name].shape
    del file[name]
    layout = h5py.VirtualLayout(shape, np.float32)
    layout[...] = h5py.VirtualSource(str(secret), "secret", shape)
    file.create_virtual_dataset(name, layout)


def _huge(file, name, secret):
    del file[name]
    file.create_dataset(name, (1 << 40,), np.float32)


def _bomb(file, name, secret):
    del file[name]
    file.create_dataset(name, (1 << 28,), np.float32, compression="gzip", chunks=(1 << 20,), fillvalue=1.0)


def _strings(file, name, secret):
    del file[name]
    file[name] = np.array([b"import os"] * 4)


def _cycle(file, name, secret):
    group = file[name].parent
    for number in range(40):
        group[f"again{number}"] = file[name.split("/")[0]]


@pytest.mark.parametrize(
    ("attack", "match"),
    [
        (_external_link, r"is a link to somewhere else \(ExternalLink\)"),
        (_soft_link, r"is a link to somewhere else \(SoftLink\)"),
        (_external_storage, "is not a plain numeric tensor stored whole"),
        (_virtual, "is not a plain numeric tensor stored whole"),
        (_huge, "is not a plain numeric tensor stored whole"),
        (_bomb, "is not a plain numeric tensor stored whole"),
        (_strings, "is not a plain numeric tensor stored whole"),
        (_cycle, "groups nested too deep or too full"),
    ],
)
def test_hdf5_that_reaches_out_or_blows_up(hdf5, attack, match):
    secret = hdf5.parent / "secret.bin"
    with h5py.File(secret, "w") as file:
        file["secret"] = np.zeros((2, 2, 2, 1, 3), np.float32)
    name = _a_dataset(hdf5)
    with h5py.File(hdf5, "a") as file:
        attack(file, name, secret)
    refused(hdf5, match)


def test_names_of_weights_that_leave_their_layer(saved, tmp_path):
    path = tmp_path / "m.h5"
    path.write_bytes((saved / "m.h5").read_bytes())
    with h5py.File(path, "a") as file:
        file["model_weights/conv"].attrs["weight_names"] = ["../dense/kernel", "/etc/passwd"]
    refused(path, "names the weight 'conv/../dense/kernel', which it does not hold")


def test_attributes_of_another_kind_or_size(saved, tmp_path):
    for value, match in (
        (np.arange(3), "attribute 'layer_names' is not text"),
        (np.zeros((1 << 20, 1), "S20"), r"attribute 'layer_names' is too large"),
        (h5py.Empty("f"), "attribute 'layer_names' is neither text nor numbers"),
    ):
        path = tmp_path / "m.h5"
        with h5py.File(path, "w", libver="latest") as file:
            file.attrs["layer_names"] = value
            file["conv/conv/kernel"] = np.zeros((2, 2), np.float32)
        refused(path, match)


def _archive(path, members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def _members(saved):
    with zipfile.ZipFile(saved / "m.keras") as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.mark.parametrize(
    "name",
    ["../../evil.h5", "/etc/cron.d/evil", "assets/../../evil", "assets/vocabulary.txt", "config.json/x", "..\\evil"],
)
def test_archives_with_members_of_other_names(saved, tmp_path, name):
    path = tmp_path / "m.keras"
    _archive(path, {**_members(saved), name: b"evil"})
    refused(path, "is not one of config.json, metadata.json and model.weights.h5; nothing was unpacked")
    assert not (tmp_path.parent / "evil.h5").exists()


def test_archives_that_are_bombs(saved, tmp_path):
    path = tmp_path / "m.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", _members(saved)["config.json"])
        with archive.open("model.weights.h5", "w") as member:
            for _ in range(300):
                member.write(bytes(1 << 20))
    assert path.stat().st_size < 1 << 20
    refused(path, "would unpack to 314572800 bytes from .*; nothing was unpacked")


def test_archives_that_lie_about_sizes(saved, tmp_path):
    """The directory promises little, the stream brings much: no more than promised is unpacked."""
    path = tmp_path / "m.keras"
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", _members(saved)["config.json"])
        archive.writestr("model.weights.h5", bytes(64 << 20))
    content = bytearray(whole.getvalue())
    for at in (content.rfind(b"PK\x01\x02") + 24, content.rfind(b"PK\x03\x04") + 22):
        content[at : at + 4] = struct.pack("<I", 1000)
    path.write_bytes(content)
    refused(path, "damaged .keras archive|not an HDF5 file")


def test_archives_with_a_huge_or_double_directory(saved, tmp_path):
    path = tmp_path / "m.keras"
    _archive(path, {f"{number:060d}": b"" for number in range(15_000)})
    refused(path, "its zip directory is larger than any .keras archive has")
    _archive(path, _members(saved))
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr("config.json", b"{}")
    refused(path, "some of the same name")


def test_descriptions_nested_without_end(saved, tmp_path):
    path = tmp_path / "m.keras"
    for content in (b"[" * 100_000, b'{"a":' * 100_000, b'{"config": {"layers": ' + b"[" * 900 + b"]" * 900 + b"}}"):
        _archive(path, _members(saved) | {"config.json": content})
        refused(path, "description|Keras 2")


class _Ran:
    """Tells whether something ran: unpickled, it sets a variable of the environment."""

    def __reduce__(self):
        return os.putenv, ("FLPRIVACY_RAN", "1")


def _code() -> str:
    return base64.b64encode(marshal.dumps(compile("import os; os._exit(66)", "x", "exec"))).decode()


def _with_layer(saved, layer):
    """Put a layer of another kind in the embedding's place, under its name."""
    config = json.loads(_members(saved)["config.json"])
    for place, old in enumerate(config["config"]["layers"]):
        if old["name"] == "embedding":
            config["config"]["layers"][place] = {**old, **layer, "name": "embedding"}
    return json.dumps(config)


@pytest.mark.parametrize(
    ("layer", "match"),
    [
        (
            {
                "class_name": "Lambda",
                "config": {
                    "name": "embedding",
                    "function": {"class_name": "__lambda__", "config": {"value": [_code(), None, None]}},
                },
            },
            r"a layer of code \(Lambda\), and code of a file is never run",
        ),
        ({"module": "keras.layers", "class_name": "TFSMLayer", "config": {"filepath": "/tmp"}}, "layer of code"),
        ({"module": "keras.layers", "class_name": "StringLookup", "config": {"vocabulary": "/etc/passwd"}}, "asks for"),
        ({"module": "keras.layers", "class_name": "TextVectorization", "config": {}}, "asks for"),
        ({"module": "os", "class_name": "system", "config": {"command": "exit 66"}}, "asks for 'system' of 'os'"),
        ({"module": "keras.utils", "class_name": "get_file", "config": {"fname": "x"}}, "asks for 'get_file'"),
        ({"module": "keras.src.models.functional", "class_name": "Evil", "config": {}}, "asks for 'Evil'"),
        (
            {"module": None, "class_name": "Mine", "config": {}, "registered_name": "pack>Mine"},
            "'pack>Mine'.*not in the file",
        ),
        ({"registered_name": "pack>Dense"}, "'pack>Dense'.*not in the file"),
        ({"module": "builtins", "class_name": "eval", "config": "1"}, "asks for 'eval'"),
    ],
)
def test_descriptions_that_ask_for_code_or_files(saved, tmp_path, layer, match):
    path = tmp_path / "m.keras"
    _archive(path, _members(saved) | {"config.json": _with_layer(saved, layer)})
    refused(path, match)


def test_code_in_other_places_of_a_description(saved, tmp_path):
    path = tmp_path / "m.keras"
    config = json.loads(_members(saved)["config.json"])
    dense = next(layer for layer in config["config"]["layers"] if layer["class_name"] == "Dense")
    dense["config"]["activation"] = {"class_name": "__lambda__", "config": {"value": [_code(), None, None]}}
    _archive(path, _members(saved) | {"config.json": json.dumps(config)})
    refused(path, "layer of code")
    dense["config"]["activation"] = {"module": "builtins", "class_name": "function", "config": "eval"}
    _archive(path, _members(saved) | {"config.json": json.dumps(config)})
    refused(path, "layer of code")


def test_lambda_in_a_legacy_model(saved, tmp_path):
    path = tmp_path / "m.h5"
    path.write_bytes((saved / "m.h5").read_bytes())
    with h5py.File(path, "a") as file:
        config = json.loads(file.attrs["model_config"])
        config["config"]["layers"][1] = {
            "class_name": "Lambda",
            "config": {"name": "evil", "function": [_code(), None, None]},
        }
        file.attrs["model_config"] = json.dumps(config)
    refused(path, r"a layer of code \(Lambda\), and code of a file is never run")
    refused(path, "tensors of the cnn3d_small trunk match", weights_only=True)


def test_networks_that_want_more_memory_than_their_file_holds(saved, tmp_path):
    path = tmp_path / "m.keras"
    config = json.loads(_members(saved)["config.json"])
    dense = next(layer for layer in config["config"]["layers"] if layer["name"] == "embedding")
    dense["config"]["units"] = 10**9
    _archive(path, _members(saved) | {"config.json": json.dumps(config)})
    refused(path, "its layers want more weights than the file holds")


def test_networks_whose_activations_fill_the_memory(tmp_path):
    scan = keras.Input((*SHAPE, 1))
    x = layers.UpSampling3D(60)(scan)
    model = keras.Model(scan, layers.Dense(2, name="embedding")(layers.GlobalAveragePooling3D()(x)))
    model.save(tmp_path / "m.keras")
    refused(tmp_path / "m.keras", r"has shape \[None, 240, 960, 1200, 1\]; .* can be held")


def test_files_of_another_kind(tmp_path):
    for name, content in (
        ("m.h5", pickle.dumps(_Ran())),
        ("m.keras", pickle.dumps(_Ran())),
        ("m.h5", b""),
        ("m.keras", b""),
        ("m.keras", b"PK\x05\x06" + bytes(18)),
        ("m.h5", b"\x89HDF\r\n\x1a\n" + bytes(3000)),
    ):
        path = tmp_path / name
        path.write_bytes(content)
        refused(
            path, "is a PyTorch file, which is code|is empty|not an HDF5 file|not a .keras|lacks the member|damaged|nor"
        )
    assert "FLPRIVACY_RAN" not in os.environ
