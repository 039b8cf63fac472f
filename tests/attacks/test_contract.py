"""Networks of known training, shown what they were trained on, other values, and values of which nothing is known."""

import keras
import numpy as np
import pytest

from flprivacy.attacks.attribute import LoadedTarget
from flprivacy.attacks.config import AttackConfig
from flprivacy.attacks.contract import remarks_on
from flprivacy.attacks.scenario import prepare
from flprivacy.core.errors import AttackError
from flprivacy.core.target import ModelRecord, Origin, TargetRecord
from flprivacy.core.target_source import TargetSource, range_of
from flprivacy.models.registry import build
from flprivacy.targets.folder import load_model, read_target, verify_target
from flprivacy.targets.importing import import_checkpoint
from tests.attacks.attack_examples import manifest, meta
from tests.cohort_builder import build_cohort

SHAPE = (4, 8, 10)
CUBE = (4, 4, 4)
RANGES = ("0..1", "0..255", "hu")


@pytest.fixture(scope="module")
def scenario(tmp_path_factory):
    """96 scans, a disease brighter than the next."""
    table = manifest(seed=3)
    rng = np.random.default_rng(0)
    volumes = [
        np.clip(rng.normal(60 + 50 * label, 25, SHAPE), 0, 255).astype(np.uint8) for label in table["label"].tolist()
    ]
    cohort = build_cohort(tmp_path_factory.mktemp("contract"), table, meta(shape=SHAPE), iter(volumes))
    config = AttackConfig(attributes=("site",), fractions=(0.5,), seeds=(0,))
    return prepare(config, cohort, protocol="standard")


def doubt_of(*arguments, **answers):
    return remarks_on(*arguments, **answers).doubt


def _record(taken="", *, assumed=(), stated=(), contradicted="", role="target", n_classes=3, axes="", shape=SHAPE):
    origin = Origin(
        file="m", format="", sha256="", input_range="" if taken == "0..1" else taken,
        assumed=tuple(assumed), stated=tuple(stated), contradicted=contradicted, axes=axes,
    )  # fmt: skip
    models = (ModelRecord(name="model", weights="m.weights.h5", sha256=""),)
    return TargetRecord(
        name="m", role=role, topology=None, architecture="cnn3d_small", shape=shape, n_classes=n_classes,
        protocol="standard", digest="", models=models, origin=origin,
    )  # fmt: skip


def _network(trained_on, taken, *, sure=40.0, knows=True):
    """A classifier by brightness that was trained on one range, and takes scans as another."""
    low, high = range_of(taken)
    a, b = range_of(trained_on)

    def forward(inputs):
        values = ((low + (high - low) * inputs) - a) / (b - a) * 255
        brightness = values.mean(axis=(1, 2, 3, 4))[:, None]
        distance = (brightness - 60 - 50 * np.arange(3)) / 50
        if not knows:  # sure of something that has nothing to do with the diseases
            distance = np.sin(brightness * 97 + 2 * np.arange(3))
        logits = -sure * distance**2
        weights = np.exp(logits - logits.max(axis=1, keepdims=True))
        return {"outputs": (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)}

    return lambda: forward


def _statistics(trained_on, taken):
    low, high = range_of(taken)
    a, b = range_of(trained_on)

    def misfit(scans):
        values = low + (high - low) * scans
        ratio = values.var() / (0.2 * (b - a)) ** 2
        shift = (values.mean() - (a + 0.4 * (b - a))) / (0.2 * (b - a))
        return float(0.5 * (ratio + shift**2 - 1 - np.log(ratio)))

    return misfit


def _mute(scans):
    return None


@pytest.mark.parametrize("trained_on", RANGES)
@pytest.mark.parametrize("way", ["statistics", "task"])
def test_other_values_than_in_training_are_noticed(scenario, trained_on, way):
    for taken in RANGES:
        misfit = _statistics(trained_on, taken) if way == "statistics" else _mute
        forward = _network(trained_on, taken, sure=4.0) if way == "task" else lambda: lambda inputs: {}
        said = doubt_of(_record(taken), scenario, misfit=misfit, forward=forward)
        assert (said == "") == (taken == trained_on)
        assert taken == trained_on or f"takes {taken}, but was trained on {trained_on}" in said
    assumed = _record(assumed=("input_range",))
    misfit = _statistics(trained_on, "0..1") if way == "statistics" else _mute
    if trained_on == "0..1":
        assert doubt_of(assumed, scenario, misfit=misfit, forward=_network(trained_on, "0..1", sure=4.0)) == ""
    else:
        with pytest.raises(AttackError, match=f"state input_range={trained_on}"):
            doubt_of(assumed, scenario, misfit=misfit, forward=_network(trained_on, "0..1", sure=4.0))


@pytest.mark.parametrize("way", ["statistics", "task"])
@pytest.mark.parametrize("trained_on", ["-1..1", "-2.2..2.9"])
def test_ranges_that_differ_by_little_are_noticed(scenario, trained_on, way):
    """Values around 0, and standard scores: these scans have a mean of .43 and a deviation of .2."""
    misfit = _statistics(trained_on, "0..1") if way == "statistics" else _mute
    forward = _network(trained_on, "0..1", sure=4.0) if way == "task" else lambda: lambda inputs: {}
    said = doubt_of(_record(stated=("input_range",)), scenario, misfit=misfit, forward=forward)
    assert "takes 0..1, but was trained on -" in said
    misfit = _statistics(trained_on, trained_on) if way == "statistics" else _mute
    forward = _network(trained_on, trained_on, sure=4.0) if way == "task" else lambda: lambda inputs: {}
    assert doubt_of(_record(trained_on, stated=("input_range",)), scenario, misfit=misfit, forward=forward) == ""


@pytest.mark.parametrize("taken", RANGES)
@pytest.mark.parametrize("sure", [0.02, 0.3, 4.0, 40.0])
def test_how_sure_a_network_is_of_itself_accuses_nobody(scenario, taken, sure):
    forward = _network(taken, taken, sure=sure)
    doubt = doubt_of(_record(taken, stated=("input_range",)), scenario, misfit=_mute, forward=forward)
    assert (doubt == "") == (sure > 0.1)
    assert doubt == "" or "its owner's word alone" in doubt


def test_what_rests_on_the_owners_word_stays_in_doubt(scenario):
    stated, forward = _record("0..255", stated=("input_range",)), _network("0..255", "0..255", knows=False)
    doubt = doubt_of(stated, scenario, misfit=_mute, forward=forward)
    assert doubt.startswith("that it takes 0..255 is its owner's word alone")
    assert "give own_answers=FILE" in doubt
    assert remarks_on(_record("0..255"), scenario, misfit=_mute, forward=forward) == ("", "")  # its first layers tell
    borne_out = remarks_on(stated, scenario, misfit=_statistics("0..255", "0..255"), forward=forward)
    assert borne_out == ("", "")


def test_a_range_that_makes_no_difference_is_nobodys_to_confirm(scenario):
    def normalised(inputs):
        centred = inputs - inputs.mean(axis=(1, 2, 3), keepdims=True)
        features = (centred / centred.std(axis=(1, 2, 3), keepdims=True))[:, ::2, ::2, ::2, 0].reshape(len(inputs), -1)
        return {"features": features.astype(np.float32)}

    def unlike(inputs):  # its answers depend on the range
        return normalised(inputs) | _network("0..1", "0..1", knows=False)()(inputs)

    for record in (_record(assumed=("input_range",)), _record("hu", stated=("input_range",))):
        assert remarks_on(record, scenario, misfit=_mute, forward=lambda: normalised) == ("", "")
        scaled = remarks_on(record, scenario, misfit=_mute, forward=lambda: unlike)
        assert scaled != ("", "")


def test_an_owner_whose_file_says_otherwise(scenario):
    record = _record(stated=("input_range",), contradicted="0..255")
    remarks = remarks_on(record, scenario, misfit=_mute, forward=_network("0..1", "0..1", knows=False))
    assert "its owner says that it takes 0..1, but its first layers are made for 0..255" in remarks.doubt
    assert "word alone" not in remarks.doubt
    assert doubt_of(record, scenario, misfit=_statistics("0..1", "0..1"), forward=_network("0..1", "0..1")) == ""


def test_answers_that_are_no_numbers_are_refused(scenario):
    sound = _network("0..1", "0..1")()

    def overflowing(most):
        def forward(inputs):
            outputs = sound(inputs)["outputs"]
            return {"outputs": np.where(inputs.max() > most, np.float32(np.nan), outputs)}

        return lambda: forward

    with pytest.raises(AttackError, match="target 'm': its outputs of some scans are no numbers"):
        remarks_on(_record(stated=("input_range",)), scenario, misfit=_mute, forward=overflowing(0.5))
    elsewhere = remarks_on(_record(stated=("input_range",)), scenario, misfit=_mute, forward=overflowing(2.0))
    assert elsewhere == ("", "")  # its task bears it out against the ranges that it answers
    nan = {"misfit": lambda scans: float("nan"), "forward": overflowing(2.0)}
    assert "fit none of" in doubt_of(_record(), scenario, **nan)


def test_statistics_of_no_known_values_are_said(scenario):
    said = doubt_of(_record(), scenario, misfit=lambda scans: 50.0, forward=_network("0..1", "0..1"))
    assert "fit none of 0..1, 0..255, hu" in said


@pytest.mark.parametrize("taken", RANGES)
def test_classes_that_are_others_accuse_nobody(scenario, taken):
    for sure in (0.5, 5.0, 40.0):
        forward = _network(taken, taken, sure=sure, knows=False)
        assert doubt_of(_record(taken), scenario, misfit=_mute, forward=forward) == ""


def test_what_nothing_tells_stays_in_doubt(scenario):
    mute = {"misfit": _mute, "forward": lambda: lambda inputs: {}}
    both = _record(assumed=("axes", "input_range"), shape=CUBE)
    said = doubt_of(both, scenario, **mute)
    assert "input_range=0..1,axes=dhw was assumed; a network that sees other values" in said
    assert said.endswith("where its owner runs it, and state input_range and axes, if this is not right")
    said = doubt_of(both, scenario, misfit=_mute, forward=_network("0..1", "0..1"))
    assert "axes=dhw was assumed; a network to which scans lie otherwise" in said
    assert "input_range" not in said
    assert doubt_of(_record(), scenario, **mute) == ""
    assert doubt_of(_record(assumed=("axes",), role="baseline", shape=CUBE), scenario, **mute) == ""


@pytest.mark.parametrize("shape", [CUBE, (4, 8, 8), (8, 10, 4)])
def test_axes_that_the_owner_alone_states_are_not_believed(scenario, shape):
    """These values are borne out by the diseases, which say nothing of axes."""
    sound = {"misfit": _mute, "forward": _network("0..1", "0..1")}
    said = doubt_of(_record(stated=("axes",), axes="hwd", shape=shape), scenario, **sound)
    assert said.startswith("that it takes axes=hwd is its owner's word alone")
    assert "give own_answers=FILE" in said
    mute = {"misfit": _mute, "forward": _network("0..1", "0..1", knows=False)}
    said = doubt_of(_record(stated=("axes", "input_range"), axes="hwd", shape=shape), scenario, **mute)
    assert said.startswith("that it takes 0..1 and axes=hwd is its owner's word alone")


def test_sizes_like_those_of_the_scans_settle_the_axes(scenario):
    sound = {"misfit": _mute, "forward": _network("0..1", "0..1")}
    for shape in (SHAPE, (8, 16, 20)):
        for facts in ({"stated": ("axes",)}, {"assumed": ("axes",)}):
            assert "axes" not in doubt_of(_record(axes="hwd", shape=shape, **facts), scenario, **sound)
    flexible = _record(stated=("axes", "shape"), axes="hwd")
    assert "takes axes=hwd is its owner's word alone" in doubt_of(flexible, scenario, **sound)


@pytest.mark.parametrize("stated", ["", "0..1", "0..255"])
def test_a_file_of_ours_that_was_trained_on_bytes(scenario, tmp_path, stated):
    """CNN3D as legacy weights: the statistics of its stem tell."""
    shape = (4, 16, 16)
    rng = np.random.default_rng(1)
    volumes = rng.integers(0, 256, (96, *shape), dtype=np.uint8)
    cohort = build_cohort(tmp_path / "cohort", manifest(seed=3), meta(shape=shape), iter(volumes))
    config = AttackConfig(attributes=("site",), fractions=(0.5,), seeds=(0,))
    bytes_ = prepare(config, cohort, protocol="standard")
    model = build("cnn3d", shape=shape, n_classes=3, seed=1)
    stem = model.trunk.get_layer("stem_bn")
    before = model.trunk.get_layer("stem_pool").output
    seen = np.asarray(keras.Model(model.trunk.input, before)(volumes[:16, ..., None].astype(np.float32)))
    stem.moving_mean.assign(seen.mean(axis=(0, 1, 2, 3)))
    stem.moving_variance.assign(seen.var(axis=(0, 1, 2, 3)))
    keras.Model(model.trunk.input, model.head(model.trunk.output)).save_weights(tmp_path / "m.weights.h5")
    source = TargetSource(location="m.weights.h5", architecture="cnn3d", shape=shape, input_range=stated)
    record = import_checkpoint(source, tmp_path / "m.weights.h5", name="m", out=tmp_path / "t")
    assert record.origin.assumed == (() if stated else ("input_range",))
    assert verify_target(tmp_path / "t") == read_target(tmp_path / "t") == record
    target = LoadedTarget(tmp_path / "t", record, cohort)
    if stated == "0..255":
        assert target.remarks(bytes_).doubt == ""
        some = volumes[:2, ..., None].astype(np.float32)
        ours = load_model(tmp_path / "t", record, "model")
        np.testing.assert_allclose(np.asarray(ours.trunk(some / 255)), np.asarray(model.trunk(some)), rtol=2e-4)
        np.testing.assert_allclose(np.asarray(ours.model(some / 255)), np.asarray(model.model(some)), rtol=2e-4)
    elif stated:
        assert "trained on 0..255" in target.remarks(bytes_).doubt
    else:
        with pytest.raises(AttackError, match=r"state input_range=0\.\.255"):
            target.remarks(bytes_)


def test_a_cube_of_ours_does_not_tell_its_axes(tmp_path):
    build("cnn3d_small", shape=(16, 16, 16), n_classes=3, seed=1).model.save_weights(tmp_path / "m.weights.h5")
    facts = {"architecture": "cnn3d_small", "shape": (16, 16, 16), "input_range": "0..1"}
    source = TargetSource(location="m.weights.h5", **facts)
    record = import_checkpoint(source, tmp_path / "m.weights.h5", name="m", out=tmp_path / "t")
    assert (record.origin.assumed, record.origin.stated) == (("axes",), ("input_range",))
