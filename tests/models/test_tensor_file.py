import json

import h5py
import numpy as np
import pytest

from flprivacy.core.errors import TargetError
from flprivacy.models.weights import TensorHeader, TensorSpec, read_tensors, tensors_digest, write_tensors

HEADER = TensorHeader(architecture="cnn3d_small", shape=(4, 16, 20), n_classes=3)
TENSORS = {
    "conv/kernel": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "conv/bias": np.array([1.5, -2.0], np.float32),
    "scale": np.float32(3.0).reshape(()),
}


@pytest.fixture
def path(tmp_path):
    write_tensors(tmp_path / "t.weights.h5", HEADER, TENSORS)
    return tmp_path / "t.weights.h5"


def refused(path, match):
    with pytest.raises(TargetError, match=match) as caught:
        read_tensors(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_round_trip(path):
    header, tensors = read_tensors(path)
    assert header == HEADER
    assert set(tensors) == set(TENSORS)
    for name, values in TENSORS.items():
        np.testing.assert_array_equal(tensors[name], values)
        assert tensors[name].dtype == np.float32


def test_shapes_are_checked_before_values_are_read(path, monkeypatch):
    seen = {}

    def check(header, found):
        seen.update(found)
        raise TargetError("no")

    monkeypatch.setattr(h5py.Dataset, "__getitem__", lambda *_: pytest.fail("read before the check"))
    with pytest.raises(TargetError, match="no"):
        read_tensors(path, check)
    assert seen == {
        "conv/kernel": TensorSpec((2, 3, 4), "float32"),
        "conv/bias": TensorSpec((2,), "float32"),
        "scale": TensorSpec((), "float32"),
    }


def test_digest_is_over_paths_shapes_types_and_values_in_any_order():
    digest = tensors_digest(TENSORS)
    assert digest == tensors_digest(dict(reversed(TENSORS.items())))
    changed = [
        TENSORS | {"conv/bias": np.array([1.5, 2.0], np.float32)},
        TENSORS | {"conv/bias": TENSORS["conv/bias"].astype(np.float64)},
        TENSORS | {"conv/kernel": TENSORS["conv/kernel"].reshape(3, 2, 4)},
        {("b" if name == "scale" else name): values for name, values in TENSORS.items()},
    ]
    assert len({digest, *map(tensors_digest, changed)}) == 5
    big = {name: values.astype(">f4") for name, values in TENSORS.items()}
    assert tensors_digest({k: v.astype("<f4") for k, v in big.items()}) == digest


@pytest.mark.parametrize("link", [h5py.ExternalLink("other.h5", "/secret"), h5py.SoftLink("/conv/bias")])
def test_links_are_refused(path, link):
    with h5py.File(path.with_name("other.h5"), "w") as other:
        other["secret"] = np.zeros(2, np.float32)
    with h5py.File(path, "a") as file:
        del file["conv/bias"]
        file["conv/bias"] = link
    refused(path, rf"'conv/bias' is a link to somewhere else \({type(link).__name__}\)")


def test_external_storage_is_refused(path):
    (path.parent / "secret.bin").write_bytes(b"12345678")
    with h5py.File(path, "a") as file:
        del file["conv/bias"]
        file.create_dataset("conv/bias", (2,), np.float32, external=[(str(path.parent / "secret.bin"), 0, 8)])
    refused(path, "'conv/bias' is not a plain numeric tensor stored whole")


def test_virtual_storage_is_refused(path):
    with h5py.File(path.with_name("other.h5"), "w") as other:
        other["secret"] = np.zeros(2, np.float32)
    layout = h5py.VirtualLayout((2,), np.float32)
    layout[:] = h5py.VirtualSource(path.with_name("other.h5"), "secret", (2,))
    with h5py.File(path, "a") as file:
        del file["conv/bias"]
        file.create_virtual_dataset("conv/bias", layout)
    refused(path, "'conv/bias' is not a plain numeric tensor stored whole")


@pytest.mark.parametrize("options", [{"compression": "gzip"}, {"chunks": (1024,)}])
def test_compressed_and_chunked_storage_is_refused(path, options):
    with h5py.File(path, "a") as file:
        file.create_dataset("bomb", (1 << 20,), np.float32, **options)
    refused(path, "'bomb' is not a plain numeric tensor stored whole")


def test_a_dataset_that_was_never_written_is_refused(path):
    with h5py.File(path, "a") as file:
        file.create_dataset("huge", (1 << 40,), np.float32)
    refused(path, "'huge' is not a plain numeric tensor stored whole")


@pytest.mark.parametrize("value", ["text", np.array([b"bytes"]), h5py.Empty("f")])
def test_other_values_than_numbers_are_refused(path, value):
    with h5py.File(path, "a") as file:
        file["note"] = value
    refused(path, "'note' is not a plain numeric tensor stored whole")


def test_numbers_of_odd_make_are_refused(path):
    """Reading a type that is not the machine's own or its other-endian twin runs conversion code of HDF5's."""
    odd = h5py.h5t.NATIVE_INT32.copy()
    odd.set_precision(20)
    with h5py.File(path, "a") as file:
        space = h5py.h5s.create_simple((3,))
        h5py.h5d.create(file.id, b"odd", odd, space).write(space, space, np.arange(3, dtype=np.int32))
    refused(path, "'odd' is not a plain numeric tensor stored whole")
    with h5py.File(path, "a") as file:
        del file["odd"]
        file["big"] = np.arange(3, dtype=">f4")
    np.testing.assert_array_equal(read_tensors(path)[1]["big"], np.arange(3))


def test_names_of_any_length_are_cut(path):
    with h5py.File(path, "a") as file:
        file["x" * 50_000] = h5py.SoftLink("/")
    with pytest.raises(TargetError) as caught:
        read_tensors(path)
    assert len(str(caught.value)) < 1000


def test_a_named_type_is_refused(path):
    with h5py.File(path, "a") as file:
        file["kind"] = np.dtype("f4")
    refused(path, "'kind' is a Datatype, not a tensor")


def test_bytes_that_go_by_many_names_are_refused(path):
    with h5py.File(path, "a") as file:
        file["large"] = np.zeros(10_000, np.float32)
        for k in range(50):
            file[f"alias{k}"] = file["large"]
    refused(path, r"54 tensors of 2040108 bytes in a file of \d+")


def test_a_group_that_holds_itself_is_refused(path):
    with h5py.File(path, "a") as file:
        file["conv/again"] = file["conv"]
    refused(path, "groups nested too deep or too full at 'conv/again/")


def test_a_group_of_too_many_members_is_refused(path):
    with h5py.File(path, "a") as file:
        for k in range(4100):
            file[f"many/{k}"] = h5py.SoftLink("/")
    refused(path, "groups nested too deep or too full at 'many/'")


def test_a_file_of_another_program_is_refused(tmp_path):
    with h5py.File(tmp_path / "keras.weights.h5", "w") as file:
        file["layers/conv/vars/0"] = np.zeros(3, np.float32)
    refused(tmp_path / "keras.weights.h5", "not weights in flprivacy's layout .*; make a target of it .*import")


@pytest.mark.parametrize(
    ("value", "match"),
    [
        (np.bytes_(b"x" * 5000), "is not a short text"),
        ("a string of any length", "is not a short text"),
        (np.bytes_(b"{"), "unreadable header"),
        (np.bytes_(b"[1]"), "unreadable header"),
        (np.bytes_(b'{"format": 1}'), "unreadable header .*'architecture' is missing"),
        (
            np.bytes_(b'{"format": 1, "architecture": "i3d", "shape": [4, 5, 6], "n_classes": 1000000000}'),
            "classes are out of range",
        ),
        (
            np.bytes_(b'{"format": 1, "architecture": "i3d", "shape": [4, 5, 70000], "n_classes": 3}'),
            "are out of range",
        ),
        (np.bytes_(b'{"format": 2}'), "weights layout 2; this version reads 1; upgrade flprivacy"),
    ],
)
def test_a_bad_header_is_refused(path, value, match):
    with h5py.File(path, "a") as file:
        file.attrs["flprivacy_weights"] = value
    refused(path, match)


def test_flipped_bytes_are_refused_or_change_values_only(path):
    """Damage anywhere gives one clear error, or other numbers in tensors of the same names; nothing else."""
    content = path.read_bytes()
    generator = np.random.default_rng(0)
    outcomes = {"refused": 0, "read": 0}
    for _ in range(400):
        damaged = bytearray(content)
        for position in generator.integers(0, len(content), 8):
            damaged[position] ^= int(generator.integers(1, 256))
        path.write_bytes(bytes(damaged))
        try:
            _, tensors = read_tensors(path)
        except TargetError:
            outcomes["refused"] += 1
        else:
            assert sum(values.nbytes for values in tensors.values()) <= len(content)
            outcomes["read"] += 1
    assert min(outcomes.values()) > 10


def test_the_header_is_json(path):
    with h5py.File(path) as file:
        assert json.loads(bytes(file.attrs["flprivacy_weights"])) == {
            "architecture": "cnn3d_small",
            "format": 1,
            "n_classes": 3,
            "shape": [4, 16, 20],
        }
