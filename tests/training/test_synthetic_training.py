"""Synthetic scans in the training data: trained on as real ones would be, and counted as what they are."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tiny_training import assert_same_bits, tiny_volumes

from flprivacy.cohorts.format import read_volumes
from flprivacy.cohorts.remote import hand_over
from flprivacy.core.cohort import TRAIN, Cohort, SyntheticOrigin
from flprivacy.core.errors import ConfigError, TrainingError
from flprivacy.privacy.config import PrivacyConfig
from flprivacy.targets.folder import read_target
from flprivacy.targets.lineage import private_part, pseudonym
from flprivacy.training.checkpoint import Checkpoints
from flprivacy.training.config import CanaryConfig, SyntheticConfig, TargetConfig, training_mapping
from flprivacy.training.draws import patient_client
from flprivacy.training.method import ADAM
from flprivacy.training.pool import natural_partition, scan_pool
from flprivacy.training.recipe import recipe_digest, reference_config
from flprivacy.training.references import train_reference
from flprivacy.training.synthetic import with_synthetic
from flprivacy.training.train import run_key, train_models, train_target
from tests.cohort_builder import build_cohort, build_synthetic, scan_table

REAL = 22
BOTH, ALONE = SyntheticConfig(), SyntheticConfig(alone=True)
CONFIG = TargetConfig(
    topology="central", architecture="tiny", epochs=2, rounds=2, batch_size=8, learning_rate=0.01, synthetic=BOTH
)


pytestmark = pytest.mark.usefixtures("tiny_architecture")


def synthetic_of(cohort: Cohort, folder: Path, scans: int = REAL, **columns: object) -> Cohort:
    """Synthetic scans of the sites in turn, as of a generator that was trained on the cohort."""
    ids = [f"synthetic-{i}" for i in range(scans)]
    number = np.arange(scans)
    table = scan_table(scans, scan_id=ids, patient_id=ids, site_id=number % 3, label=number // 3 % 2, sex=None)
    table = table.assign(age_years=np.nan, **columns)
    origin = SyntheticOrigin(generator="a" * 64, cohort=cohort.meta.digest)
    meta = replace(cohort.meta, synthetic_from=origin)
    return build_synthetic(folder, table, meta, (255 - volume for volume in tiny_volumes(table)))


@pytest.fixture(scope="module")
def synthetic(cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return synthetic_of(cohort, tmp_path_factory.mktemp("made") / "synthetic")


def as_if_real(folder: Path, cohort: Cohort, synthetic: Cohort, *, alone: bool) -> Cohort:
    """A cohort of patients with the scans of both, in the order of the pool, or with the synthetic ones alone."""
    rows = np.empty(0, np.int64) if alone else cohort.rows(TRAIN)
    parts = [cohort.manifest.iloc[rows], synthetic.manifest, cohort.manifest.iloc[cohort.rows("test")]]
    volumes = [read_volumes(cohort, rows), read_volumes(synthetic, np.arange(REAL))]
    volumes.append(read_volumes(cohort, cohort.rows("test")))
    table = pd.concat(parts, ignore_index=True).drop(columns=["shard", "row", "sha256", "synthetic"])
    return build_cohort(folder, table, replace(cohort.meta, digest=""), np.concatenate(volumes))


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("topology", ["central", "siloed", "federated", "iid"])
def test_models_are_those_of_a_training_in_which_the_same_scans_are_of_patients(
    cohort: Cohort, synthetic: Cohort, tmp_path: Path, topology: str, alone: bool
) -> None:
    fields = {"topology": "federated", "partition": "iid"} if topology == "iid" else {"topology": topology}
    config = replace(CONFIG, **fields, synthetic=ALONE if alone else BOTH)
    plain, other = replace(config, synthetic=None), as_if_real(tmp_path / "x", cohort, synthetic, alone=alone)
    found = train_models("t", config, cohort, protocol="standard", work=tmp_path / "a", synthetic=synthetic).models
    expected = train_models("t", plain, other, protocol="standard", work=tmp_path / "b").models
    assert [one.name for one in found] == [one.name for one in expected]
    for one, same in zip(found, expected, strict=True):
        assert_same_bits(one.weights, same.weights)
        assert (one.steps, one.history) == (same.steps, same.history)
    of_site = natural_partition(cohort) if topology == "siloed" else [np.arange(REAL)]
    assert [one.members.tolist() for one in found] == [part.tolist() for part in of_site]


def test_an_interrupted_training_carries_on_to_the_same_weights(
    cohort: Cohort, synthetic: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def trained(work: str) -> list[np.ndarray]:
        work_folder = tmp_path / work
        (one,) = train_models("t", CONFIG, cohort, protocol="standard", work=work_folder, synthetic=synthetic).models
        return one.weights

    save = Checkpoints.save

    def last(self: Checkpoints, *arguments: Any) -> None:
        save(self, *arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Checkpoints, "save", last)
        with pytest.raises(KeyboardInterrupt):
            trained("work")
    assert_same_bits(trained("work"), trained("other"))


@pytest.mark.parametrize(("asked", "share"), [(BOTH, 0.5), (SyntheticConfig(multiple=0.25), 0.2), (ALONE, 1.0)])
def test_a_target_says_its_share_and_its_members_are_patients(
    cohort: Cohort, synthetic: Cohort, tmp_path: Path, asked: SyntheticConfig, share: float
) -> None:
    config = replace(CONFIG, synthetic=asked)
    out, work = tmp_path / "out", tmp_path / "work"
    record = train_target("t", config, cohort, protocol="standard", work=work, out=out, synthetic=synthetic)
    assert read_target(out).synthetic_share == record.synthetic_share == pytest.approx(share)
    part = private_part(out, record)
    assert part is not None
    lineage = part.lineage
    assert (lineage.synthetic_digest, lineage.cohort_digest) == (synthetic.meta.digest, cohort.meta.digest)
    assert synthetic.meta.digest not in (out / "target.json").read_text()
    assert record.training["synthetic"] == {"multiple": asked.multiple, "alone": asked.alone}
    scans = cohort.manifest["scan_id"].to_numpy()[cohort.rows(TRAIN)]
    expected = sorted(pseudonym(lineage.members_key, cohort.meta.digest, str(scan)) for scan in scans)
    assert list(part.members()["model"]) == expected
    assert lineage.n_train == {"model": REAL}
    assert lineage.utility is not None
    assert lineage.utility.n_scans == len(cohort.rows("test"))


def test_the_pool_is_the_real_scans_and_behind_them_the_synthetic_ones(cohort: Cohort, synthetic: Cohort) -> None:
    real = scan_pool(cohort, protocol="standard")
    pool, scans = with_synthetic(real, CONFIG, cohort, synthetic)
    assert scans is not None
    assert (scans.first, len(pool.labels)) == (REAL, 2 * REAL)
    mixed = np.array([30, 2, 43, 2, 22])
    made = read_volumes(synthetic, np.array([8, 21, 0]))
    np.testing.assert_array_equal(pool.read(mixed)[[0, 2, 4]], made)
    np.testing.assert_array_equal(pool.read(mixed)[[1, 3]], real.read(np.array([2, 2])))
    for chosen in (mixed[1:2], mixed[:1]):
        np.testing.assert_array_equal(pool.read(chosen), pool.read(mixed)[[1 if chosen[0] == 2 else 0]])
    np.testing.assert_array_equal(pool.labels[REAL:], synthetic.manifest["label"])
    assert len(set(pool.keys.tolist())) == 2 * REAL


def test_fewer_than_there_are_is_a_draw_of_the_seed(cohort: Cohort, synthetic: Cohort) -> None:
    def drawn(seed: int) -> tuple[str, ...]:
        config = replace(CONFIG, synthetic=SyntheticConfig(multiple=0.5, seed=seed))
        scans = with_synthetic(scan_pool(cohort, protocol="standard"), config, cohort, synthetic)[1]
        assert scans is not None
        return scans.names

    assert len(set(drawn(0))) == REAL // 2
    assert drawn(0) == drawn(0) != drawn(1)


@pytest.mark.parametrize(
    ("topology", "partition"), [("siloed", "natural"), ("federated", "natural"), ("federated", "iid")]
)
def test_a_synthetic_scan_joins_the_client_that_a_patient_like_it_would(
    cohort: Cohort, synthetic: Cohort, topology: str, partition: str
) -> None:
    config = replace(CONFIG, topology=topology, partition=partition)
    _, scans = with_synthetic(scan_pool(cohort, protocol="standard"), config, cohort, synthetic)
    assert scans is not None
    parts = scans.beside(natural_partition(cohort), config)
    assert sorted(np.concatenate(parts).tolist()) == list(range(2 * REAL))
    for client, part in enumerate(parts):
        for place in part[part >= REAL] - REAL:
            name = str(synthetic.manifest["scan_id"].iloc[place])
            expected = (
                synthetic.manifest["site_id"].iloc[place] if partition == "natural" else patient_client(name, 3, 0)
            )
            assert expected == client


REFUSED: dict[str, tuple[Callable[[Cohort, Cohort, Path], Cohort | None], TargetConfig, str]] = {
    "missing": (lambda *_: None, CONFIG, "add a 'generator' to the study"),
    "not asked for": (lambda _, made, __: made, replace(CONFIG, synthetic=None), "trained on no synthetic scan"),
    "too few": (
        lambda _, made, __: made,
        replace(CONFIG, synthetic=SyntheticConfig(multiple=1.5)),
        "holds 22 synthetic scans, and the target is trained on 33; make more, or lower synthetic.multiple",
    ),
    "of another cohort": (
        lambda cohort, _, tmp: synthetic_of(replace(cohort, meta=replace(cohort.meta, digest="f" * 64)), tmp / "other"),
        CONFIG,
        "its generator was trained on cohort ffffffffffff, not on 'tiny'",
    ),
    "published": (
        lambda _, made, tmp: hand_over(made.folder, tmp / "published"),
        CONFIG,
        "was published, and does not say which cohort",
    ),
    "of other classes": (
        lambda cohort, _, tmp: synthetic_of(
            replace(cohort, meta=replace(cohort.meta, class_names=("u", "v"))), tmp / "other"
        ),
        CONFIG,
        r"class_names is \('u', 'v'\), and 'tiny' has \('class-0', 'class-1'\)",
    ),
    "of patients": (lambda cohort, *_: cohort, CONFIG, "holds scans of patients; give a synthetic cohort"),
    "a site without any": (
        lambda cohort, _, tmp: synthetic_of(cohort, tmp / "other", site_id=0),
        replace(CONFIG, topology="siloed", synthetic=ALONE),
        "client site-01 has no synthetic scan to train on",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_does_not_fit_is_refused_and_nothing_is_published(
    cohort: Cohort, synthetic: Cohort, tmp_path: Path, kind: str
) -> None:
    make, config, message = REFUSED[kind]
    given = make(cohort, synthetic, tmp_path)
    with pytest.raises(TrainingError, match=message):
        train_target("t", config, cohort, protocol="standard", work=tmp_path, out=tmp_path / "out", synthetic=given)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"privacy": PrivacyConfig(epsilon=1.0, population=30)}, "epsilon of a private target would not cover"),
        ({"canaries": CanaryConfig(kind="mislabelled")}, "canaries check training on real scans alone"),
        ({"topology": "untrained"}, "a baseline is trained on nothing"),
    ],
)
def test_a_configuration_that_promises_too_much_is_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(CONFIG, **fields)


@pytest.mark.parametrize("multiple", [0.0, -1.0, 20.5, float("inf"), float("nan")])
def test_a_multiple_that_makes_no_sense_is_refused(multiple: float) -> None:
    with pytest.raises(ConfigError, match=r"multiple is .*; must be above 0 and at most 20"):
        SyntheticConfig(multiple=multiple)


def test_of_targets_without_any_keys_and_recipes_are_what_they_were(cohort: Cohort, synthetic: Cohort) -> None:
    plain = replace(CONFIG, synthetic=None)
    assert "synthetic" not in training_mapping(plain)
    keys = [
        run_key(config, cohort, protocol="standard", method=ADAM, synthetic=made)
        for config, made in ((plain, None), (CONFIG, None), (CONFIG, synthetic), (CONFIG, cohort))
    ]
    assert len(set(keys)) == 4


def test_a_reference_is_given_synthetic_scans_of_its_own_half(cohort: Cohort, tmp_path: Path) -> None:
    seen: list[Cohort] = []

    def synthesise(half: Cohort, number: int, work: Path) -> Cohort:
        seen.append(half)
        return synthetic_of(half, work / str(number), len(half.rows(TRAIN)))

    one = train_reference(CONFIG, cohort, protocol="standard", index=1, work=tmp_path / "work", synthesise=synthesise)
    (half,) = seen
    np.testing.assert_array_equal(one.trained_on[0], half.manifest["split"] == TRAIN)
    assert one.recipe == recipe_digest(replace(CONFIG, synthetic=SyntheticConfig(seed=4)))
    assert one.recipe not in {recipe_digest(replace(CONFIG, synthetic=other)) for other in (None, ALONE)}
    drawn = reference_config(CONFIG, 7).synthetic
    assert drawn is not None
    assert drawn.seed == 7

    def fails(half: Cohort, number: int, work: Path) -> Cohort:
        raise TrainingError("label 'x' has no training scan")

    with pytest.raises(TrainingError, match="reference 1, whose generator is trained on half of the patients: label"):
        train_reference(CONFIG, cohort, protocol="standard", index=1, work=tmp_path / "fails", synthesise=fails)
    with pytest.raises(TrainingError, match="there are none"):
        train_reference(CONFIG, cohort, protocol="standard", index=1, work=tmp_path / "none")
