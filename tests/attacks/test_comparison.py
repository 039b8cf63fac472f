"""What a network answered where its owner runs it is compared with what it answers here: that clears, or accuses."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from attack_examples import manifest, meta

from flprivacy.attacks.config import AttackConfig
from flprivacy.attacks.contract import Remarks, remarks_on
from flprivacy.attacks.features import Forward
from flprivacy.attacks.scenario import Scenario, prepare
from flprivacy.core.array_types import Float32Array
from flprivacy.core.errors import AttackError, ConfigError, TargetError
from flprivacy.core.target import ModelRecord, Origin, TargetRecord
from flprivacy.core.target_source import TargetSource, range_of
from flprivacy.targets.beside import given_own_answers
from tests.cohort_builder import build_cohort

SMALL = (4, 8, 10)


@pytest.fixture(scope="module")
def scenario(tmp_path_factory: pytest.TempPathFactory) -> Scenario:
    """96 scans of noise, each of a brightness of its own."""
    table, rng = manifest(seed=3), np.random.default_rng(0)
    volumes = [
        np.clip(rng.normal(level, 25, SMALL), 0, 255).astype(np.uint8) for level in rng.uniform(30, 220, len(table))
    ]
    cohort = build_cohort(tmp_path_factory.mktemp("compared"), table, meta(shape=SMALL), iter(volumes))
    return prepare(AttackConfig(attributes=("site",), fractions=(0.5,), seeds=(0,)), cohort, protocol="standard")


def _record(*, stated: str = "0..1", assumed: tuple[str, ...] = (), answers: str = "probabilities") -> TargetRecord:
    origin = Origin(
        file="m", format="", sha256="", input_range="" if stated == "0..1" else stated, answers=answers,
        assumed=assumed, stated=() if assumed else ("input_range",),
    )  # fmt: skip
    models = (ModelRecord(name="model", weights="m.keras", sha256=""),)
    return TargetRecord(
        name="m", role="target", topology=None, architecture="custom", shape=SMALL, n_classes=3, protocol="standard",
        digest="", models=models, origin=origin,
    )  # fmt: skip


def _logits(values: Float32Array) -> Float32Array:
    """Return (n, 3) of values that the network was trained on, 0..255."""
    means = np.stack([part.mean(axis=(1, 2, 3, 4)) for part in (values, values[:, ::2], values[:, :, ::2])], axis=1)
    logits: Float32Array = 3 * np.sin(means / 30).astype(np.float32)
    return logits


def _probabilities(logits: Float32Array) -> Float32Array:
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


def _network(taken: str) -> Forward:
    low, high = range_of(taken) or (0.0, 1.0)

    def forward(inputs: Float32Array) -> dict[str, Float32Array]:
        logits = _logits(low + (high - low) * inputs)
        return {"features": logits, "outputs": _probabilities(logits)}

    return forward


def _written(path: Path, scenario: Scenario, *, rows: slice = slice(None), **arrays: Float32Array) -> Path:
    ids = scenario.cohort.manifest["scan_id"].to_numpy().astype(str)
    np.savez(path, scan_ids=ids[rows], **{name: values[rows] for name, values in arrays.items()})
    return path


def _own(scenario: Scenario) -> Float32Array:
    return _logits(scenario.views().load(-1, np.arange(len(scenario.cohort.manifest))) * 255)


def _remarks(record: TargetRecord, scenario: Scenario, own: Path | None) -> Remarks:
    taken = (record.origin.input_range if record.origin else "") or "0..1"
    return remarks_on(record, scenario, misfit=lambda _: None, forward=lambda: _network(taken), own=own)


@pytest.mark.parametrize("name", ["features", "outputs", "logits"])
def test_the_same_answers_confirm_what_it_takes(scenario: Scenario, tmp_path: Path, name: str) -> None:
    logits = _own(scenario) + np.float32(0.01)  # of other software
    values = {"features": logits, "outputs": _probabilities(logits), "logits": logits}[name]
    own = _written(tmp_path / "own.npz", scenario, **{"features" if name == "features" else "outputs": values})
    kind = "logits" if name == "logits" else "probabilities"
    stated = _record(stated="0..255", answers=kind)
    assert "its owner's word alone" in _remarks(stated, scenario, None).doubt
    assert _remarks(stated, scenario, own) == Remarks()
    wrong = _remarks(_record(stated="0..1", answers=kind), scenario, own).doubt
    assert "it answers otherwise here, as 0..1, than where its owner runs it" in wrong
    assert wrong.endswith("as 0..255: state input_range=0..255")


def test_they_confirm_axes_and_refuse_an_assumed_range(scenario: Scenario, tmp_path: Path) -> None:
    own = _written(tmp_path / "own.npz", scenario, features=_own(scenario))
    assert _remarks(_record(stated="0..255", assumed=("axes",)), scenario, own) == Remarks()
    on_word = _record(stated="0..255")
    assert on_word.origin is not None
    on_word = replace(on_word, shape=(4, 4, 4), origin=replace(on_word.origin, axes="hwd", stated=("axes", "shape")))
    assert "takes 0..255" not in _remarks(on_word, scenario, None).doubt
    assert "takes axes=hwd is its owner's word alone" in _remarks(on_word, scenario, None).doubt
    assert _remarks(on_word, scenario, own) == Remarks()
    with pytest.raises(AttackError, match=r"target 'm': it answers otherwise here, .* state input_range=0\.\.255"):
        _remarks(_record(assumed=("axes", "input_range")), scenario, own)


def test_answers_to_other_scans_accuse(scenario: Scenario, tmp_path: Path) -> None:
    own = _written(tmp_path / "own.npz", scenario, features=np.roll(_own(scenario), 1, axis=0))
    doubt = _remarks(_record(stated="0..255"), scenario, own).doubt
    assert doubt.endswith("state input_range and axes as it was trained, or give own answers to these very scans")


def test_what_cannot_be_compared_is_refused(scenario: Scenario, tmp_path: Path) -> None:
    record, values = _record(stated="0..255"), _own(scenario)
    few = _written(tmp_path / "few.npz", scenario, rows=slice(7), features=values)
    with pytest.raises(AttackError, match=r"own_answers holds \d of the \d+ scans that this audit reads; give .* 8"):
        _remarks(record, scenario, few)
    wide = _written(tmp_path / "wide.npz", scenario, features=np.tile(values, 2))
    with pytest.raises(AttackError, match="holds features of 6, and the network gives features of 3, outputs of 3"):
        _remarks(record, scenario, wide)
    with pytest.raises(TargetError, match="no such file"):
        given_own_answers(TargetSource(location="m.onnx", own_answers=str(tmp_path / "none.npz")), tmp_path)


def test_which_targets_they_belong_to() -> None:
    with pytest.raises(ConfigError, match="state input_checked=true"):
        TargetSource(location="a.npz", own_answers="b.npz")
    with pytest.raises(ConfigError, match=r"own_answers is 'b.csv'; give an .npz or .parquet file"):
        TargetSource(location="m.onnx", own_answers="b.csv")
    with pytest.raises(ConfigError, match="give own_answers"):
        TargetSource(location="m.onnx", input_checked=True)
    source = TargetSource(location="models/central", own_answers="b.npz", members="private")
    assert source.of_target().facts() == {}
