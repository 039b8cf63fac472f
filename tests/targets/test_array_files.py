"""Answers brought as arrays: read by scan id from .npz and Parquet alike, and refused by name where they are wrong."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flprivacy.core.digests import digest_file
from flprivacy.core.errors import TargetError
from flprivacy.core.target_source import TargetSource
from flprivacy.targets.array_files import read_arrays, write_arrays
from flprivacy.targets.folder import verify_target
from flprivacy.targets.given import describe_match
from flprivacy.targets.importing import fresh_target, import_checkpoint

N = 12


def arrays(**changes: Any) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    outputs = rng.dirichlet(np.ones(3), size=(4, N)).astype(np.float32)
    features = rng.normal(size=(4, N, 5)).astype(np.float32)
    found = {
        "scan_ids": np.array([f"scan{i}" for i in range(N)]),
        "features": features[0],
        "outputs": outputs[0],
        "untrained_features": features[1:],
        "untrained_outputs": outputs[1:],
    } | changes
    return {name: values for name, values in found.items() if values is not None}


def saved(path: Path, found: dict[str, Any]) -> Path:
    np.savez_compressed(path, **found)
    return path


def as_parquet(path: Path, found: dict[str, Any]) -> Path:
    columns: dict[str, list[Any]] = {"scan_id": [], "initialisation": [], "features": [], "outputs": []}
    for number in (None, *range(3)):
        columns["scan_id"] += found["scan_ids"].tolist()
        columns["initialisation"] += [number] * N
        for name in ("features", "outputs"):
            columns[name] += (found[name] if number is None else found[f"untrained_{name}"][number]).tolist()
    table = pa.table(columns).take(np.random.default_rng(1).permutation(4 * N))
    pq.write_table(table, path)
    return path


def test_neither_format_nor_order_matters(tmp_path: Path) -> None:
    given, order = arrays(), np.random.default_rng(2).permutation(N)
    shuffled = {
        name: values[order] if values.ndim < 3 and name == "scan_ids" else values for name, values in given.items()
    }
    for name in ("features", "outputs", "untrained_features", "untrained_outputs"):
        shuffled[name] = given[name][..., order, :]
    files = (
        saved(tmp_path / "a.npz", given),
        saved(tmp_path / "b.npz", shuffled),
        as_parquet(tmp_path / "c.parquet", given),
    )
    digests = set()
    for number, file in enumerate(files):
        found, kind = read_arrays(file)
        assert (kind, found.initialisations, found.n_classes) == ("probabilities", 3, 3)
        write_arrays(found, tmp_path / f"{number}.npz")
        digests.add(digest_file(tmp_path / f"{number}.npz"))
    assert len(digests) == 1
    assert np.array_equal(found.twin(2).features, given["untrained_features"][2][np.argsort(given["scan_ids"])])


def _nan(values: np.ndarray, *rows: int) -> np.ndarray:
    values = values.copy()
    values[list(rows), 1] = np.nan
    return values


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"scan_ids": None}, "has no list of scan_ids"),
        ({"scan_ids": np.array([f"scan{i % 11}" for i in range(N)])}, "rows 0 and 11 have the same scan id"),
        ({"features": None}, "needs the same arrays as the network, outputs"),
        ({"features": None, "outputs": None}, "holds neither features nor outputs"),
        ({"features": np.ones((N - 1, 5))}, r"features is float64 of shape \(11, 5\); give numbers \(scan, column\)"),
        ({"features": _nan(arrays()["features"], 3)}, "features of row 3 hold what is no number"),
        ({"features": _nan(arrays()["features"], 1, 3, 5, 7)}, "features of row 1, 3, 5 and 1 more hold"),
        ({"features": np.ones((N, 5))}, "features are the same for every scan .* show it scans as it was trained"),
        ({"outputs": np.tile([0.2, 0.8], (N, 1))}, "outputs are the same for every scan"),
        ({"untrained_features": np.ones((3, N, 5))}, "untrained_features are the same for every scan"),
        ({"untrained_outputs": None}, "the untrained twin needs the same arrays as the network, features and outputs"),
        ({"untrained_features": arrays()["untrained_features"][:1]}, "give at least 2 initialisations"),
        ({"untrained_features": arrays()["untrained_features"][..., :4]}, r"has shape \(3, 12, 4\)"),
        ({"untrained_features": np.stack([arrays()["features"]] * 2)}, "repeats the network or itself"),
        (
            {"outputs": arrays()["outputs"] - 2.0},
            "are no probabilities that add up to 1; say what they are with answers=",
        ),
        ({"names": np.array(["x"] * N)}, "holds names, which is none of scan_ids, features"),
        ({"features": np.array([["a"] * 5] * N)}, "features is <U1"),
        ({"features": np.array([[object()] * 5] * N)}, "holds objects, or less than it claims"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, changes: dict[str, Any], match: str) -> None:
    with pytest.raises(TargetError, match=match) as caught:
        read_arrays(saved(tmp_path / "a.npz", arrays(**changes)))
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{tmp_path}/a.npz: ")


def test_outputs_of_other_kinds(tmp_path: Path) -> None:
    logits = np.log(arrays()["outputs"])
    given = arrays(outputs=logits, untrained_features=None, untrained_outputs=None)
    found, _ = read_arrays(saved(tmp_path / "a.npz", given), answers="logits")
    assert np.allclose(found.outputs, arrays()["outputs"][np.argsort(given["scan_ids"])], atol=1e-6)
    one = arrays(outputs=arrays()["outputs"][:, :1], untrained_features=None, untrained_outputs=None)
    found, kind = read_arrays(saved(tmp_path / "a.npz", one))
    assert (kind, found.n_classes) == ("probability", 2)


def test_a_target_of_arrays_and_its_baseline(tmp_path: Path) -> None:
    source = TargetSource(location=str(saved(tmp_path / "a.npz", arrays())), topology="central")
    record = import_checkpoint(source, tmp_path / "a.npz", name="a", out=tmp_path / "target")
    assert verify_target(tmp_path / "target") == record
    assert (record.architecture, record.shape, record.n_classes) == ("custom", None, 3)
    assert describe_match(record) == "arrays of features and outputs, with an untrained twin of 3 initialisations"
    fresh = fresh_target(tmp_path / "target", initialisations=9, seed=0, protocol="standard", out=tmp_path / "fresh")
    assert [model.name for model in fresh.models] == ["init-0", "init-1", "init-2"]
    alone = arrays(untrained_features=None, untrained_outputs=None)
    bare = TargetSource(location=str(saved(tmp_path / "b.npz", alone)))
    record = import_checkpoint(bare, tmp_path / "b.npz", name="b", out=tmp_path / "bare")
    assert record.architecture == "unknown"
    assert describe_match(record).endswith(
        "with no twin: the network's structure alone may explain what it tells, so that it is never called a leak"
    )
    wrong = TargetSource(location=str(tmp_path / "a.npz"), axes="dhw")
    with pytest.raises(TargetError, match="holds answers, not a network"):
        import_checkpoint(wrong, tmp_path / "a.npz", name="a", out=tmp_path / "x")
