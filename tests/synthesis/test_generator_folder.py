"""A generator's folder: read with nothing taken on trust."""

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from flprivacy.core.cohort import Cohort
from flprivacy.core.errors import GeneratorError
from flprivacy.synthesis.conditions import Conditions, conditions_of
from flprivacy.synthesis.folder import GENERATOR_FILE, WEIGHTS_FILE, read_generator
from flprivacy.synthesis.sample import load_discriminator, load_generator


@pytest.fixture
def folder(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "generator"))


def changed(folder: Path, **fields: object) -> None:
    path = folder / GENERATOR_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_samples_depend_on_seed_number_and_conditions_alone(trained: Path, small_cohort: Cohort) -> None:
    generator = load_generator(trained)
    asked = conditions_of(small_cohort, np.arange(13), generator.record.conditions)
    made = generator.sample(asked, seed=5)
    assert made.dtype == np.uint8
    assert made.shape == (13, *small_cohort.meta.shape)
    parts = [generator.sample(asked.take(np.arange(a, b)), seed=5, first=a) for a, b in ((0, 3), (3, 12), (12, 13))]
    assert np.array_equal(np.concatenate(parts), made)
    assert not np.array_equal(generator.sample(asked, seed=6), made)
    other = Conditions(site=1 - asked.site, label=asked.label, sex=asked.sex, age_band=asked.age_band)
    assert not np.array_equal(generator.sample(other, seed=5), made)
    assert generator.sample(asked.take([]), seed=5).shape == (0, *small_cohort.meta.shape)


def test_auditors_can_ask_the_discriminator(trained: Path, small_cohort: Cohort) -> None:
    scores = load_discriminator(trained / "private")
    asked = conditions_of(small_cohort, np.arange(9), ("site", "label", "sex", "age"))
    volumes = np.random.default_rng(0).integers(0, 256, (9, *small_cohort.meta.shape), dtype=np.uint8)
    found = scores(volumes, asked)
    assert found.shape == (9,)
    assert scores(volumes[4:5], asked.take([4])) == pytest.approx(found[4], abs=1e-5)
    with pytest.raises(GeneratorError, match="give uint8 of"):
        scores(volumes[:, 1:], asked)


def test_private_things_are_for_their_owner(trained: Path) -> None:
    assert (trained / "private").stat().st_mode & 0o077 == 0
    assert all(file.stat().st_mode & 0o077 == 0 for file in (trained / "private").iterdir())
    assert not list(trained.glob("*discriminator*"))


def test_missing_and_damaged_records_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(GeneratorError, match="no such file; give the folder of a generator"):
        read_generator(tmp_path)
    changed(folder, shape=[6, 18, 0])
    with pytest.raises(GeneratorError, match=r"shape is \(6, 18, 0\)"):
        read_generator(folder)
    changed(folder, shape=[1 << 14, 1 << 14, 1 << 14])
    with pytest.raises(GeneratorError, match="which no generator has"):
        read_generator(folder)
    changed(folder, shape=[6, 18, 20], training={"latent": 1 << 30})
    with pytest.raises(GeneratorError, match=r"latent .* out of range"):
        read_generator(folder)
    changed(folder, surprise=1)
    with pytest.raises(GeneratorError, match="unknown field 'surprise'"):
        read_generator(folder)
    (folder / GENERATOR_FILE).write_text("{")
    with pytest.raises(GeneratorError, match=r"not a target's record"):
        read_generator(folder)


def test_changed_or_linked_weights_are_refused(folder: Path, tmp_path: Path) -> None:
    weights = folder / WEIGHTS_FILE
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1])
    with pytest.raises(GeneratorError, match="SHA-256 differs"):
        load_generator(folder)
    weights.unlink()
    (tmp_path / "elsewhere.h5").write_bytes(whole)
    weights.symlink_to(tmp_path / "elsewhere.h5")
    with pytest.raises(GeneratorError, match="no regular file"):
        load_generator(folder)


def test_weights_of_another_generator_or_unsafe_ones_are_refused(folder: Path) -> None:
    changed(folder, site_names=["north", "south", "east"])
    with pytest.raises(GeneratorError, match=r"fit the generator that generator\.json describes"):
        load_generator(folder)
    weights = folder / "private" / "discriminator.weights.h5"
    with h5py.File(weights, "a") as file:
        file["voxels"] = h5py.ExternalLink("/etc/passwd", "x")
    with pytest.raises(GeneratorError, match="is a link to somewhere else"):
        load_discriminator(folder / "private")
