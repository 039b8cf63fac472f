"""What private training promises, on neighbouring data sets: everything that a push publishes, field by field."""

import dataclasses
import json
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from tiny_training import GROUPED, SHAPE, TINY, tiny_manifest

from flprivacy.core.cohort import Cohort
from flprivacy.core.target import TARGET_FILE
from flprivacy.models.registry import ARCHITECTURES
from flprivacy.privacy.config import PrivacyConfig
from flprivacy.targets.push import push_target
from flprivacy.training.config import TargetConfig
from flprivacy.training.train import train_target
from tests.cohort_builder import build_cohort, cohort_meta

SEED, RATE, CLIP = 3, 0.5, 0.7
NOISED = {"digest", "models"}  # what follows from the weights
LAST = "patient-9"


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register the tiny network, which has a random layer, and one whose scans go through it together."""
    monkeypatch.setitem(ARCHITECTURES, "tiny", TINY)
    monkeypatch.setitem(ARCHITECTURES, "grouped", GROUPED)


@dataclasses.dataclass(frozen=True)
class Published:
    """What a push published: the record, all weights laid end to end, and everything about the files but values."""

    record: dict
    weights: np.ndarray
    files: dict


def published(cohort: Cohort, config: TargetConfig, folder: Path) -> Published:
    """Train, push, and return what is there."""
    train_target("t", config, cohort, protocol="standard", work=folder / "work", out=folder / "target")
    push_target(folder=folder / "target", uri=str(folder / "pushed"))
    files = sorted(p.name for p in (folder / "pushed").iterdir())
    record = json.loads((folder / "pushed" / TARGET_FILE).read_text())
    assert files == sorted([TARGET_FILE, *(m["weights"] for m in record["models"])])
    paths = [folder / "pushed" / m["weights"] for m in record["models"]]
    facts = {path.name: (path.stat().st_size, path.stat().st_mode, layout(path)) for path in paths}
    return Published(record, np.concatenate([tensors(path) for path in paths]), facts)


def layout(path: Path) -> list:
    """Return the order, names, attributes, shapes and types of everything in an HDF5 file."""
    found: list = []

    def visit(name: str, node: h5py.Group | h5py.Dataset) -> None:
        kind = (node.shape, str(node.dtype), node.id.get_offset()) if isinstance(node, h5py.Dataset) else ()
        found.append((name, sorted(node.attrs.items()), *kind))

    with h5py.File(path) as file:
        found.append(sorted(file.attrs.items()))
        file.visititems(visit)
    return found


def tensors(path: Path) -> np.ndarray:
    found = []
    with h5py.File(path) as file:
        file.visititems(lambda name, node: found.append(np.asarray(node)) if isinstance(node, h5py.Dataset) else None)
    return np.concatenate([f.ravel() for f in found if f.dtype.kind == "f"]).astype(np.float64)


def assert_same_but_for_noise(one: Published, other: Published) -> None:
    """All but digests of the weights is equal: fields and their order, files, their sizes and layout."""
    kept = [json.dumps({k: v for k, v in p.record.items() if k not in NOISED}) for p in (one, other)]
    assert kept[0] == kept[1]
    facts = [[{k: v for k, v in m.items() if k != "sha256"} for m in p.record["models"]] for p in (one, other)]
    assert facts[0] == facts[1]
    assert one.files == other.files


def random_manifest(seed: int) -> pd.DataFrame:
    """A cohort of three sites, some patients with several scans, one of whom stands behind all others at site 0."""
    rng = np.random.default_rng(seed)
    manifest = tiny_manifest(tuple(rng.integers(6, 11, size=3).tolist()))
    train = manifest.index[manifest["split"] == "train"]
    for site in range(3):
        there = train[manifest.loc[train, "site_id"] == site]
        manifest.loc[there[1], "patient_id"] = manifest.loc[there[0], "patient_id"]
    last = manifest.loc[train[:2]].assign(patient_id=LAST, scan_id=["scan-9-0", "scan-9-1"])
    behind = train[manifest.loc[train, "site_id"] == 0][-1] + 1
    parts = [manifest.iloc[:behind], last, manifest.iloc[behind:]]
    return pd.concat(parts, ignore_index=True)


def without_one(manifest: pd.DataFrame, unit: str, rng: np.random.Generator) -> pd.DataFrame:
    """Return the cohort without a random scan, patient or site, wherever it stands; the split of others is kept."""
    column = {"scan": "scan_id", "patient": "patient_id", "site": "site_id"}[unit]
    # A patient at every site has two scans: no client is left without data.
    several = manifest[(manifest["split"] == "train") & manifest["patient_id"].duplicated(keep=False)]
    gone = rng.choice(several[column].unique())
    return manifest[manifest[column] != gone].reset_index(drop=True)


def write_cohort(folder: Path, manifest: pd.DataFrame) -> Cohort:
    """Write a cohort in which a scan looks the same whoever else is there."""

    def volume(scan: str, label: int) -> np.ndarray:
        found = np.random.default_rng(list(scan.encode())).integers(60, 110, size=SHAPE)
        found[:4, :16, 8:32] += 90 * label
        return found.astype(np.uint8)

    volumes = (volume(*row) for row in manifest[["scan_id", "label"]].itertuples(index=False))
    sites = sorted(manifest["site_id"].unique())
    meta = cohort_meta(SHAPE, ["abc"[site] for site in sites], classes=["class-0", "class-1"])
    manifest = manifest.assign(site_id=manifest["site_id"].map(sites.index))
    return build_cohort(folder, manifest, meta, volumes)


def private(unit: str, topology: str, partition: str = "natural", architecture: str = "tiny") -> TargetConfig:
    """One noised step of plain gradient descent in which everybody takes part, so that it shows what one unit moves."""
    budget = PrivacyConfig(
        unit=unit,
        noise_multiplier=2.0,
        sampling_rate=1.0,
        population=3 if unit == "site" else 6,
        delta=1e-3,
        clip_norm=CLIP,
        optimizer="sgd",
        noise_seed=11,
    )
    return TargetConfig(
        topology=topology,
        architecture=architecture,
        partition=partition,
        epochs=1,
        rounds=1,
        batch_size=4,
        learning_rate=RATE,
        seed=SEED,
        privacy=budget,
    )


CASES = [
    ("scan", "central", "natural"),
    ("patient", "central", "natural"),
    ("patient", "siloed", "natural"),
    ("scan", "federated", "natural"),
    ("patient", "federated", "natural"),
    ("patient", "federated", "iid"),
    ("site", "federated", "natural"),
]


@pytest.mark.parametrize(("architecture", "seed"), [*(("tiny", seed) for seed in range(4)), ("grouped", 4)])
@pytest.mark.parametrize(("unit", "topology", "partition"), CASES)
def test_what_is_published_differs_in_noised_quantities_alone_and_by_no_more_than_one_unit_may_move(
    unit: str, topology: str, partition: str, architecture: str, seed: int, tmp_path: Path
) -> None:
    """Neighbours: random cohorts with and without any one unit, the noise held fixed."""
    rng = np.random.default_rng([seed, *map(ord, unit + topology + partition)])
    manifest = random_manifest(int(rng.integers(2**31)))
    config = private(unit, topology, partition, architecture)
    whole = write_cohort(tmp_path / "whole", manifest)
    without = write_cohort(tmp_path / "without", without_one(manifest, unit, rng))
    one, other = published(whole, config, tmp_path / "one"), published(without, config, tmp_path / "other")
    assert_same_but_for_noise(one, other)
    clients = 3 if topology == "federated" and unit != "site" else 1
    sensitivity = CLIP / 3 if unit == "site" else RATE * CLIP / 6 / clients
    distance = np.linalg.norm(one.weights - other.weights)
    print(f"{distance / sensitivity:.3f} of the sensitivity")
    assert 0.01 * sensitivity < distance < 1.001 * sensitivity


def test_a_patient_with_more_scans_changes_noised_quantities_alone(tmp_path: Path) -> None:
    """Under zero-out numbers of patients are public, and numbers of scans are not."""
    manifest = random_manifest(5)
    more = manifest[manifest["patient_id"] == LAST]
    copies = [more.assign(scan_id=[f"scan-9-{n}-{i}" for i in range(2)]) for n in range(3)]
    config = private("patient", "federated")
    config = dataclasses.replace(
        config, privacy=dataclasses.replace(config.privacy, adjacency="zero-out", population=None)
    )
    behind = more.index[-1] + 1
    many = pd.concat([manifest.iloc[:behind], *copies, manifest.iloc[behind:]], ignore_index=True)
    one = published(write_cohort(tmp_path / "few", manifest), config, tmp_path / "one")
    other = published(write_cohort(tmp_path / "many", many), config, tmp_path / "other")
    assert_same_but_for_noise(one, other)
    smallest = min(e["population"] for e in one.record["dp_events"])
    assert 0 < np.linalg.norm(one.weights - other.weights) < 2.002 * RATE * CLIP / smallest / 3


def test_the_statement_lists_what_is_known_and_what_of_it_is_covered(tmp_path: Path) -> None:
    cohort = write_cohort(tmp_path / "cohort", random_manifest(1))
    stated = published(cohort, private("patient", "federated"), tmp_path).record["privacy"]
    assert stated["adjacency"] == "add-remove"
    covered = {d["what"]: d["covered"] for d in stated["disclosures"]}
    for what in ("weights", "every intermediate model", "target.json", "which clients take part in a round"):
        assert covered.pop(what)
    assert any(covered.pop(what) for what in list(covered) if "numbers of steps" in what)
    for part in ("utility on held-out patients", "whether training ends", "hyper-parameters", "members, losses"):
        (what,) = [w for w in covered if part in w]
        assert not covered[what]
        assert what in stated["caveats"][-1]
