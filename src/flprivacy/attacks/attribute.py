"""Attribute attacks on a target: what its models tell about the site, sex and age of scans.

A target of several models (a siloed one has one per site, an untrained one one per initialisation) is attacked model
by model with the whole grid of fractions, seeds and attributes. The summary over models is the mean: the strength of
an attacker who got hold of one of the released models at random. Scores of every model are kept. Access ``together``
is of the attacker who got hold of all of them.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from flprivacy.attacks.config import AttackConfig
from flprivacy.attacks.contract import Remarks, remarks_on
from flprivacy.attacks.features import Forward, model_forward
from flprivacy.attacks.finetune import FinetuneAttack
from flprivacy.attacks.frozen import FrozenAttack
from flprivacy.attacks.joint import JointAttack, TogetherAttack, as_together
from flprivacy.attacks.membership.target import Answers
from flprivacy.attacks.recorded import recorded_source, remarks_on_answers
from flprivacy.attacks.results import Finished, Source, tables
from flprivacy.attacks.scenario import Scenario, prepare
from flprivacy.core.array_types import Float32Array
from flprivacy.core.cohort import Cohort
from flprivacy.core.digests import digest_json
from flprivacy.core.errors import AttackError
from flprivacy.core.scores import ScoreTable
from flprivacy.core.target import ModelRecord, TargetRecord
from flprivacy.core.target_source import GRAPH_SUFFIX
from flprivacy.core.vocabulary import JOINT, TOGETHER
from flprivacy.models.foreign.statistics import misfit
from flprivacy.models.registry import TargetModel
from flprivacy.targets.digests import compared_as, is_arrays, is_graph, network_facts
from flprivacy.targets.folder import load_model, load_network, read_target

if TYPE_CHECKING:
    from flprivacy.models.graphs.network import GraphNetwork


def attack_attributes(
    config: AttackConfig,
    cohort: Cohort,
    target_folder: Path,
    *,
    protocol: str,
    work: Path,
    pixels: Path | None = None,
    own_answers: Path | None = None,
) -> tuple[ScoreTable, pd.DataFrame]:
    """Attack every model of a target with the whole grid.

    Args:
        config: accesses, attributes, fractions, seeds and training of the attacks.
        cohort: gives the exposed and the held-out scans.
        target_folder: holds ``target.json`` and the weights.
        protocol: preprocessing, ``standard`` or ``flprivacy-2023``.
        work: folder for features and finished attacks. A killed call that is repeated with the same folder goes on
            from there, with the result of an undisturbed one.
        pixels: folder with the finished attacks of :func:`flprivacy.attacks.baselines.attack_pixels` on the same cohort
            and configuration, for attacks from pixels and model jointly; None: they are run here.
        own_answers: file of what the network answered to some of the scans where its owner runs it; None: there is
            none.

    Returns:
        The scores of all attacks, and their curves (columns CURVE_COLUMNS).

    Raises:
        TargetError: the target's files cannot be used or do not fit its architecture.
        AttackError: the target takes other volumes than the cohort's, or an attribute cannot be learnt or scored.
    """
    record = read_target(target_folder)
    _check_shape(record, cohort)
    scenario = prepare(config, cohort, protocol=protocol)
    accesses = _possible(config, record)
    target = LoadedTarget(target_folder, record, cohort)
    sources = target.sources()
    remarks = target.remarks(scenario, own_answers)
    frozen = FrozenAttack(scenario, sources, target=record.name, work=work)
    direct = _direct(record)
    done = frozen.run([access for access in accesses if access in direct])
    if TOGETHER in accesses:
        done += _together(frozen, record, direct[-1])
    if JOINT in accesses:
        done += JointAttack(frozen, direct, work=work, pixels=pixels).run()
    if "finetune" in accesses:
        done += FinetuneAttack(frozen, target.load).run()
    return _published(scenario, done, record, remarks)


def ask_target(config: AttackConfig, cohort: Cohort, target_folder: Path, *, protocol: str, work: Path) -> Answers:
    """Return what every model of a target answers for all scored scans, from what attacks left in ``work``.

    Raises:
        TargetError: the target's files cannot be used or do not fit its architecture.
    """
    record = read_target(target_folder)
    scenario = prepare(config, cohort, protocol=protocol)
    sources = LoadedTarget(target_folder, record, cohort).sources()
    frozen = FrozenAttack(scenario, sources, target=record.name, work=work)
    nothing = np.empty((len(scenario.scored), 0), np.float32)
    answers = [nothing if _headless(record) else frozen.extraction(one).scored["outputs"] for one in sources]
    return Answers(models=tuple(one.model for one in sources), rows=scenario.scored, probabilities=np.stack(answers))


def _direct(record: TargetRecord) -> tuple[str, ...]:
    """Return what a target shows of a scan by itself: not its answers, where its file held no head."""
    shown = {"features": record.origin is None or record.origin.features, "outputs": not _headless(record)}
    return tuple(access for access, is_shown in shown.items() if is_shown)


def _headless(record: TargetRecord) -> bool:
    return record.origin is not None and not record.origin.head


def _together(frozen: FrozenAttack, record: TargetRecord, access: str) -> list[Finished]:
    """Attack all models of a target at once; of fresh or public weights, what that is held against."""
    if record.role == "baseline":
        return as_together(frozen.run(_direct(record)[:1]))
    return TogetherAttack(frozen, access).run() if len(record.models) > 1 else []


class LoadedTarget:
    """A target's models, one after another in one network: built when first needed, reloaded for each model."""

    def __init__(self, folder: Path, record: TargetRecord, cohort: Cohort) -> None:
        """Remember where the weights are, and which scans they will be shown."""
        self._folder, self._record, self._cohort = folder, record, cohort
        self._window_hu = cohort.meta.window_hu
        self._model: TargetModel | None = None
        self._forward: Forward | None = None
        self._graph: tuple[str, GraphNetwork] | None = None

    def sources(self) -> tuple[Source, ...]:
        """Return where the features of each model come from."""
        return tuple(self._source(one) for one in self._record.models)

    def load(self, name: str) -> TargetModel:
        """Return the network with the weights of the model called ``name``.

        Raises:
            TargetError: the weights do not fit the architecture.
        """
        self._model = load_model(self._folder, self._record, name, into=self._model, window_hu=self._window_hu)
        return self._model

    def remarks(self, scenario: Scenario, own_answers: Path | None = None) -> Remarks:
        """Return what is in doubt about the target, or not confirmed; see :mod:`flprivacy.attacks.contract`."""
        first, origin = self._record.models[0].name, self._record.origin
        if is_arrays(self._record):
            checked = origin is not None and origin.input_checked
            return remarks_on_answers(self.sources()[0], scenario, whose=self._record.name, checked=checked)

        def fit(scans: Float32Array) -> float | None:
            if is_graph(self._record):
                return self._network(first).misfit(scans)
            return misfit(self.load(first).trunk, scans)

        return remarks_on(
            self._record, scenario, misfit=fit, forward=lambda: self._loaded_forward(first), own=own_answers
        )

    def _network(self, name: str) -> "GraphNetwork":
        if self._graph is None or self._graph[0] != name:
            self._graph = (name, load_network(self._folder, self._record, name, self._window_hu))
        return self._graph[1]

    def _source(self, one: ModelRecord) -> Source:
        record = self._record
        if record.shape is None:
            return recorded_source(self._folder / one.weights, one.name, one.sha256, self._cohort)
        parts = [record.architecture, list(record.shape), record.n_classes, one.sha256]
        if record.origin is not None:
            parts += [record.origin.feature_layer, network_facts(record.origin), self._window_hu]
        return Source(model=one.name, digest=digest_json(parts), forward=lambda: self._loaded_forward(one.name))

    def _loaded_forward(self, name: str) -> Forward:
        if is_graph(self._record):
            return self._network(name).forward
        model = self.load(name)
        if self._forward is None:
            self._forward = model_forward(model)
        return self._forward


def _possible(config: AttackConfig, record: TargetRecord) -> list[str]:
    """Return the accesses that the target can be attacked with: not its answers, where its file held no head."""
    impossible = _impossible(record)
    accesses = [access for access in config.accesses if access not in impossible]
    if not accesses:
        reasons = "; ".join(f"{access} {impossible[access]}" for access in config.accesses)
        raise AttackError(f"target {record.name!r}: {reasons}; attack {' or '.join(_direct(record))}")
    return accesses


def _regrids(record: TargetRecord) -> bool:
    """Tell whether a target takes scans of any grid: a network of the user's own brings them to its own."""
    return record.origin is not None and record.models[0].weights.endswith((".keras", GRAPH_SUFFIX))


def _impossible(record: TargetRecord) -> dict[str, str]:
    """Return the accesses that a target cannot be attacked with, and why."""
    found = {}
    if _headless(record):
        found["outputs"] = "not attacked: the file holds no head"
    if record.origin is not None and not record.origin.features:
        found["features"] = "not attacked: the arrays hold none"
    if is_graph(record) or is_arrays(record):
        found["finetune"] = "not attacked: neither an ONNX file nor arrays can be trained on"
    return found


def _check_shape(record: TargetRecord, cohort: Cohort) -> None:
    if record.shape is not None and not _regrids(record) and tuple(record.shape) != tuple(cohort.meta.shape):
        raise AttackError(
            f"target {record.name!r} takes volumes of shape {tuple(record.shape)}, cohort {cohort.meta.name!r} has "
            f"{tuple(cohort.meta.shape)}; attack it with a cohort of its own shape"
        )


def _published(
    scenario: Scenario, done: Sequence[Finished], record: TargetRecord, remarks: Remarks
) -> tuple[ScoreTable, pd.DataFrame]:
    notes = {
        "protocol": scenario.protocol,
        "views": str(scenario.config.views),
        "models": str(len(record.models)),
    }
    # Each model of a siloed target was trained on its own site's scans: only together have they seen them all.
    several = record.role == "target" and len(record.models) > 1
    if record.tensors_total:
        notes["tensors_matched"] = f"{record.tensors_matched} of {record.tensors_total}"
    notes |= _impossible(record)
    grid = tuple(scenario.cohort.meta.shape)
    if record.shape is not None and tuple(record.shape) != grid:
        notes["resampled"] = f"scans of {grid} to its own {tuple(record.shape)}"
    if record.protocol != scenario.protocol:
        notes["trained_with_protocol"] = record.protocol
    return tables(
        scenario,
        done,
        target=record.name,
        digest=record.digest,
        role=record.role,
        architecture=compared_as(record),
        notes=notes,
        doubt=remarks.doubt,
        unconfirmed=remarks.unconfirmed,
        members=lambda access: access == TOGETHER or not several,
    )
