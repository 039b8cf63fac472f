"""Training a generator: to the same bits after any interruption, and no further than it makes sense."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_generators import CONFIG

from flprivacy.core.cohort import Cohort
from flprivacy.core.errors import TrainingError
from flprivacy.synthesis import local, topologies
from flprivacy.synthesis.folder import SAMPLES_FOLDER, read_generator, read_lineage
from flprivacy.synthesis.health import Answers, check_balance
from flprivacy.synthesis.train import train_generator
from flprivacy.training.checkpoint import Checkpoints
from tests.cohort_builder import build_cohort, cohort_meta, scan_table

FEDERATED = replace(CONFIG, topology="federated")


class Killed(BaseException):
    """Stands for a kill: nothing may catch it."""


def published(folder: Path) -> dict[str, bytes]:
    """Return every file that may be published, and the history."""
    files = [*folder.glob("*.*"), *(folder / SAMPLES_FOLDER).iterdir(), folder / "private" / "history.json"]
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


@pytest.mark.usefixtures("compiled_once")
@pytest.mark.parametrize("config", [CONFIG, FEDERATED], ids=["central", "federated"])
def test_killed_anywhere_and_repeated(
    config: object, small_cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a checkpoint, between two of them, and while a picture was written."""
    train_generator(config, small_cohort, work=tmp_path / "a", out=tmp_path / "undisturbed")
    deaths: list[tuple[object, str, int]] = [(Checkpoints, "save", 1), (local, "_update_generator", 2)]
    deaths.append((topologies, "write_picture", 1))
    for where, name, calls in deaths:
        with monkeypatch.context() as patch:
            patch.setattr(where, name, dying(getattr(where, name), calls))
            with pytest.raises(Killed):
                train_generator(config, small_cohort, work=tmp_path / "b", out=tmp_path / "resumed")
        assert not (tmp_path / "resumed").exists()
    train_generator(config, small_cohort, work=tmp_path / "b", out=tmp_path / "resumed")
    assert published(tmp_path / "resumed") == published(tmp_path / "undisturbed")


def dying(function: Callable, calls: int) -> Callable:
    """Return a function that dies at the end of its so many-th call."""
    left = iter(range(calls - 1))

    def dies(*arguments: object, **named: object) -> object:
        result = function(*arguments, **named)
        if next(left, None) is None:
            raise Killed
        return result

    return dies


def test_it_learns_what_tells_sites_and_classes_apart(small_cohort: Cohort, tmp_path: Path) -> None:
    from flprivacy.synthesis.conditions import Conditions
    from flprivacy.synthesis.sample import load_generator

    config = replace(
        CONFIG, width=8, steps=120, batch_size=8, checkpoint_every=120, ema_half_life_scans=200, r1_every=4
    )
    train_generator(config, small_cohort, work=tmp_path / "work", out=tmp_path / "out")
    generator = load_generator(tmp_path / "out")
    brightness = {}
    for site in (0, 1):
        for label in (0, 1):
            asked = Conditions(site=np.full(16, site), label=np.full(16, label))
            made = generator.sample(asked, seed=3).astype(float)
            brightness[site, label] = made[:, 4:, 10:, 10:].mean(), made[:, 1:4, 4:10, 4:10].mean()
    assert brightness[1, 0][0] > brightness[0, 0][0] + 20.0  # 60 in truth
    assert brightness[0, 1][1] > brightness[0, 0][1] + 20.0  # 100 in truth


@pytest.mark.usefixtures("compiled_once")
def test_divergence_ends_training_and_keeps_the_last_good_checkpoint(
    small_cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    update, seen = local._update_discriminator, []

    def diverging(run, client, number, *asked):
        seen.append(number)
        return update(run, client, number, *asked) if number < 3 else Answers(np.nan, 0.0, np.nan)

    monkeypatch.setattr(local, "_update_discriminator", diverging)
    with pytest.raises(TrainingError, match=r"no longer finite.*lower them.*last good checkpoint is kept"):
        train_generator(CONFIG, small_cohort, work=tmp_path / "work", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (checkpoint,) = tmp_path.rglob("*.npz")
    with np.load(checkpoint) as stored:
        assert json.loads(str(stored["header"]))["done"] == 2
        assert all(np.isfinite(stored[name]).all() for name in stored.files if name != "header")


@pytest.mark.usefixtures("compiled_once")
def test_collapse_ends_training(small_cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flattened(run, client, step, *asked):
        for weight in run.adversaries.generator.weights:
            if weight.path.endswith("kernel"):
                weight.assign(0.0 * weight)
        return 0.7

    monkeypatch.setattr(local, "_update_generator", flattened)
    with pytest.raises(TrainingError, match=r"collapsed.*same scan.*raise r1_weight"):
        train_generator(CONFIG, small_cohort, work=tmp_path / "work", out=tmp_path / "out")
    assert not list(tmp_path.rglob("*.npz"))


def test_a_discriminator_that_is_never_wrong_ends_training() -> None:
    check_balance([Answers(9.0, -9.0, 1e-4), Answers(0.2, 0.1, 1.2)], where="here")
    with pytest.raises(TrainingError, match="here: the discriminator tells every generated scan"):
        check_balance([Answers(9.0, -9.0, 1e-4)] * 3, where="here")


def test_samples_history_and_lineage_are_written(trained: Path, small_cohort: Cohort) -> None:
    pictures = sorted((trained / SAMPLES_FOLDER).iterdir())
    assert [p.name for p in pictures] == ["step-000002.png", "step-000004.png"]
    assert all(p.read_bytes().startswith(b"\x89PNG") for p in pictures)
    history = json.loads((trained / "private" / "history.json").read_text())
    assert [entry["step"] for entry in history] == [2, 4]
    lineage = read_lineage(trained / "private")
    assert lineage.generator == read_generator(trained)
    assert lineage.cohort_digest == small_cohort.meta.digest
    assert lineage.n_train == 24
    assert small_cohort.meta.digest not in (trained / "generator.json").read_text()
    assert "seed" not in lineage.generator.training
    assert "seed" in lineage.training


def test_a_site_or_class_without_training_scans_is_refused(tmp_path: Path) -> None:
    table = scan_table(8, site_id=[0] * 4 + [1] * 4, split=["train"] * 4 + ["test"] * 4)
    cohort = build_cohort(tmp_path / "cohort", table, cohort_meta((4, 16, 16), ["north", "south"]))
    with pytest.raises(TrainingError, match="site 'south' has no training scan"):
        train_generator(CONFIG, cohort, work=tmp_path / "work", out=tmp_path / "out")
    labels = scan_table(8, label=0)
    cohort = build_cohort(tmp_path / "classes", labels, cohort_meta((4, 16, 16), ["north"]))
    with pytest.raises(TrainingError, match=r"label 'y' has no training scan.*leave 'label' out of conditions"):
        train_generator(CONFIG, cohort, work=tmp_path / "work", out=tmp_path / "out")
    held_out = build_cohort(tmp_path / "held", scan_table(8, split="test"), cohort_meta((4, 16, 16), ["north"]))
    with pytest.raises(TrainingError, match="no scan in split 'train'"):
        train_generator(CONFIG, held_out, work=tmp_path / "work", out=tmp_path / "out")
