"""The attacker who holds the weights and trains the trunk on.

Each (model, fraction, seed) is an attack of its own; all attributes share its trunk, a head each, so the trunk learns
what tells any of them. It starts where the attack on frozen features ends (linear probing, then fine-tuning: Kumar et
al., arXiv:2202.10054): with few exposed scans a head that is still random would distort the trunk before it could use
it. The trunk's own normalisation and dropout stay in inference mode, as batches are small. The heads normalise by the
batch, through which gradients pass: with statistics of the epoch's start, which do not follow the trunk, fine-tuning
made attacks weaker at learning rates of 1e-3 and above.
"""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from flprivacy.attacks.cache import ahead, batched
from flprivacy.attacks.config import AttackConfig
from flprivacy.attacks.exposure import Exposure
from flprivacy.attacks.features import TEST_VIEW, model_forward
from flprivacy.attacks.frozen import FrozenAttack, Source
from flprivacy.attacks.grid import (
    Batch,
    Batches,
    FeatureTable,
    GridResult,
    HeadGrid,
    reciprocal_spread,
    reference_sample,
    reset_optimizer,
)
from flprivacy.attacks.heads import StackedHeads
from flprivacy.attacks.results import Finished, ResultStore
from flprivacy.attacks.scenario import Scenario
from flprivacy.core.progress import Progress, progress
from flprivacy.models.registry import TargetModel

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

ACCESS = "finetune"
# Whole volumes pass through the trunk and back: a batch of the heads' size would not fit into memory.
LARGEST_BATCH = 16


class TrunkAndHeads(keras.Model):  # type: ignore[misc]
    """A trunk with one head per attribute on it, trained together.

    Inputs: ``volumes`` (scan, depth, height, width, 1) and those of :class:`StackedHeads` but ``features``.
    """

    def __init__(self, trunk: keras.Model, heads: StackedHeads, **kwargs: Any) -> None:
        """Join the two; both keep their weights."""
        super().__init__(**kwargs)
        self.trunk, self.heads = trunk, heads
        self.built = True

    def call(self, inputs: dict[str, Any], training: bool = False) -> Any:
        """Return (1, 1, attribute, scan, class) logits."""
        features = self.trunk(inputs["volumes"], training=False)[None, None, None]
        rest = {name: value for name, value in inputs.items() if name != "volumes"}
        return self.heads(rest | {"features": features})

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """Return the sum of the attributes' losses."""
        return self.heads.compute_loss(x=x, y=y, y_pred=y_pred)


class FinetuneAttack:
    """Fine-tuning attacks on a target's models, one after another, each result kept as soon as it is finished."""

    def __init__(
        self,
        scenario: Scenario,
        frozen: FrozenAttack,
        load: Callable[[str], TargetModel],
        *,
        target: str,
        work: Path,
    ) -> None:
        """Prepare attacks that start from ``frozen``'s features; ``load`` gives a model with its own weights."""
        self._scenario, self._frozen, self._load, self._target = scenario, frozen, load, target
        self._store = ResultStore(work / "results")
        config = scenario.config
        self._config = dataclasses.replace(
            config, epochs=config.finetune_epochs, batch_size=min(config.batch_size, LARGEST_BATCH)
        )
        self._networks: dict[int, _Network] = {}  # exposed scans -> network, see FrozenAttack

    def run(self, sources: Sequence[Source]) -> list[Finished]:
        """Run what is missing and return everything, by model, fraction and seed."""
        attacks = [
            (source, exposure.only(seed))
            for source in sources
            for exposure in self._scenario.exposures
            for seed in exposure.seeds
        ]
        with progress(f"fine-tuning of {self._target}", len(attacks) * self._config.epochs) as counter:
            for source, exposure in attacks:
                if self._key(source, exposure) in self._store:
                    counter.advance(self._config.epochs)
                else:
                    self._attack(source, exposure, counter)
        return [self._finished(source, exposure) for source, exposure in attacks]

    def _attack(self, source: Source, exposure: Exposure, counter: Progress) -> None:
        table = self._frozen.table([source], "features")
        model = self._load(source.model)
        size = exposure.rows.shape[1]
        if size not in self._networks:
            self._networks[size] = _Network(self._scenario, self._config, model, features=table.exposed.shape[-1])
        result = self._networks[size].attack(table, exposure, counter)
        done = Finished(
            model=source.model,
            access=ACCESS,
            fraction=exposure.fraction,
            seeds=exposure.seeds,
            scores=result.by_attribute(0, self._scenario.labels),
            curves=result.curves[0],
        )
        self._store.save(self._key(source, exposure), done)

    def _key(self, source: Source, exposure: Exposure) -> str:
        return self._scenario.key(ACCESS, source.digest, exposure.fraction, exposure.seeds[0])

    def _finished(self, source: Source, exposure: Exposure) -> Finished:
        return self._store.load(
            self._key(source, exposure),
            model=source.model,
            access=ACCESS,
            fraction=exposure.fraction,
            seeds=exposure.seeds,
        )


class _Network:
    """Trunk and heads with their compiled steps, built and traced once for all attacks of one size."""

    def __init__(self, scenario: Scenario, config: AttackConfig, model: TargetModel, *, features: int) -> None:
        self._scenario, self._config, self._features = scenario, config, features
        self._views = scenario.views()
        self._grid = HeadGrid(scenario.config, scenario.labels, models=1, seeds=1, features=features)
        self._forward = model_forward(model)
        self._joined = TrunkAndHeads(model.trunk, self._grid.heads)
        self._joined.compile(optimizer=keras.optimizers.Adam(config.finetune_learning_rate), jit_compile=False)
        self._joined.optimizer.build(self._joined.trainable_variables)  # else the first step is traced twice

    def attack(self, table: FeatureTable, exposure: Exposure, counter: Progress) -> GridResult:
        """Train heads on the frozen features, then everything; one model, one seed, all attributes."""
        self._grid.train(table, exposure, self._scenario.measure)
        reset_optimizer(self._joined.optimizer)
        scale = reciprocal_spread(reference_sample(table, np.searchsorted(table.rows, exposure.rows)))
        batches = Batches(exposure, self._scenario.labels, self._config, views=self._views.views)
        curves = []
        for _ in range(self._config.epochs):
            test = self._test_inputs(exposure, scale)
            curves.append(self._scenario.measure(self._grid.scores(test, exposure)))
            self._epoch(batches, exposure, scale)
            counter.advance()
        scores = self._grid.scores(self._test_inputs(exposure, scale), exposure)
        return GridResult(scores=scores, curves=np.stack([*curves, self._scenario.measure(scores)], axis=-1))

    def _epoch(self, batches: Batches, exposure: Exposure, scale: FloatArray) -> None:
        steps = list(batches.epoch(features=self._features))
        for batch, volumes in zip(steps, ahead(lambda b: self._volumes(b, exposure), steps), strict=True):
            self._joined.train_on_batch({"volumes": volumes, "scale": scale, **batch.keep}, batch.y)

    def _volumes(self, batch: Batch, exposure: Exposure) -> FloatArray:
        """Return the network inputs of a batch, each scan in the view drawn for it."""
        rows, numbers = exposure.rows[0, batch.scans[0]], batch.views[0]
        volumes = np.empty((len(rows), *self._scenario.cohort.meta.shape, 1), np.float32)
        for view in np.unique(numbers).tolist():
            volumes[numbers == view] = self._views.load(view, rows[numbers == view])
        return volumes

    def _test_inputs(self, exposure: Exposure, scale: FloatArray) -> dict[str, FloatArray]:
        views = [self._answers(view, exposure.rows[0]) for view in range(self._views.views)]
        reference, test = np.concatenate(views), self._answers(TEST_VIEW, self._views.test)
        return {"features": test[None, None, None], "reference": reference[None, None, None], "scale": scale}

    def _answers(self, view: int, rows: IntArray) -> FloatArray:
        """Return (scan, feature) of the trunk as it is now."""
        parts = batched(
            rows,
            batch_size=self._config.extraction_batch_size,
            load=lambda some: self._views.load(view, some),
            forward=self._forward,
        )
        return np.concatenate([part["features"] for part in parts])
