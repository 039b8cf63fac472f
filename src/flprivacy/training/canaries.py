"""Canaries among the training scans: inserted by fair coins before training, scored after it.

Scores go into a small table beside the weights; what they prove is :mod:`flprivacy.auditing.epsilon`'s question.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pandas as pd

from flprivacy.core.array_types import Volumes
from flprivacy.core.errors import TrainingError
from flprivacy.privacy.events import SITE
from flprivacy.training.config import CanaryConfig, TargetConfig
from flprivacy.training.gradient_canaries import GradientCanaries, gradient_canaries
from flprivacy.training.pool import Indices, Pool
from flprivacy.training.utility import class_probabilities

GRADIENT, MISLABELLED, BLANK = "gradient", "mislabelled", "blank-pattern"
_PATTERN = (2, 4, 4)  # blocks along (depth, height, width) that a pattern is made of
_BRIGHT = 255


@dataclass(frozen=True, kw_only=True, eq=False)
class Canaries:
    """Canaries in place.

    Attributes:
        included: (canary,) whether its coin put it in.
        members: indices into the pool that are trained on; gradient canaries that are in stand behind it.
        scans: (canary,) index of each into the pool; empty for gradient canaries.
        gradient: gradient canaries; None for other kinds.
    """

    config: CanaryConfig
    included: npt.NDArray[np.bool_]
    pool: Pool
    members: Indices
    scans: Indices
    gradient: GradientCanaries | None = None

    @property
    def scan_members(self) -> Indices:
        """Members that are scans: those of gradient canaries left out."""
        return self.members[: len(self.members) - (self.gradient.count if self.gradient else 0)]


def insert_canaries(config: TargetConfig, pool: Pool, model: keras.Model, *, sites: int = 1) -> Canaries | None:
    """Return the canaries of a run, or None where none were asked for.

    ``sites`` are the cohort's: clients of a federated target share its gradient canaries, unless sites are protected:
    then each canary is a site.

    Raises:
        TrainingError: more mislabelled canaries than scans, or more gradient canaries than weights.
    """
    if config.canaries is None:
        return None
    wanted, everyone = config.canaries, np.arange(len(pool.labels))
    if wanted.kind == GRADIENT:
        clip_norm = config.privacy.clip_norm if config.privacy else 1.0
        shared = config.topology == "federated" and config.privacy is not None and config.privacy.unit != SITE
        drawn = gradient_canaries(wanted, model, clip_norm=clip_norm, clients=sites if shared else 1)
        members = np.concatenate([everyone, len(everyone) + np.arange(drawn.count)])
        none = np.empty(0, dtype=np.int64)
        return Canaries(config=wanted, included=drawn.included, pool=pool, members=members, scans=none, gradient=drawn)
    return _mislabelled(wanted, pool) if wanted.kind == MISLABELLED else _blank(wanted, pool)


def _mislabelled(config: CanaryConfig, pool: Pool) -> Canaries:
    """Give some scans a wrong class; those whose coin says out are left out of the training."""
    n = len(pool.labels)
    if config.count > n:
        raise TrainingError(f"{config.count} mislabelled canaries of {n} training scans; lower canaries.count")
    rng = np.random.default_rng([8, config.seed])
    scans = np.sort(rng.choice(n, size=config.count, replace=False))
    included = rng.random(config.count) < 0.5
    labels = pool.labels.copy()
    labels[scans] = (labels[scans] + rng.integers(1, pool.n_classes, config.count)) % pool.n_classes
    members = np.setdiff1d(np.arange(n), scans[~included])
    return Canaries(config=config, included=included, pool=replace(pool, labels=labels), members=members, scans=scans)


def _blank(config: CanaryConfig, pool: Pool) -> Canaries:
    """Add empty scans with a pattern of blocks, each of its own, and a class drawn for each."""
    n = len(pool.labels)
    rng = np.random.default_rng([9, config.seed])
    included = rng.random(config.count) < 0.5
    labels = rng.integers(0, pool.n_classes, config.count)
    blocks = rng.random((config.count, *_PATTERN)) < 0.5
    shape = pool.read(np.zeros(1, dtype=np.int64)).shape[1:]

    def read(indices: Indices) -> Volumes:
        volumes = np.empty((len(indices), *shape), dtype=np.uint8)
        real = indices < n
        if real.any():
            volumes[real] = pool.read(indices[real])
        for place in np.flatnonzero(~real).tolist():
            volumes[place] = _pattern(blocks[indices[place] - n], shape)
        return volumes

    scans = n + np.arange(config.count)
    extended = replace(
        pool,
        read=read,
        labels=np.concatenate([pool.labels, labels]),
        keys=np.concatenate([pool.keys, rng.integers(0, 2**63, config.count).astype(np.uint64)]),
    )
    members = np.concatenate([np.arange(n), scans[included]])
    return Canaries(config=config, included=included, pool=extended, members=members, scans=scans)


def _pattern(blocks: npt.NDArray[np.bool_], shape: Sequence[int]) -> Volumes:
    """Return an empty volume (depth, height, width) with the blocks that are set bright."""
    grid = [np.arange(size) * count // size for size, count in zip(shape, blocks.shape, strict=True)]
    return (_BRIGHT * blocks[np.ix_(*grid)]).astype(np.uint8)


def score_table(
    canaries: Canaries, *, model: keras.Model, before: Sequence[Any], after: Sequence[Any], memory: Sequence[Any]
) -> pd.DataFrame:
    """Return one row a canary: ``included``, and its scores, higher for likelier in.

    ``model`` is a network of the architecture, whose weights are overwritten; ``memory`` what the method remembered.
    """
    if canaries.gradient is not None:
        scores = canaries.gradient.scores(np.asarray(memory[0]))
    else:
        gain = _log_likelihood(canaries, model, after) - _log_likelihood(canaries, model, before)
        # How much likelier the canary's class became; the network's opinion before is no mark of training.
        scores = {"released": gain}
    return pd.DataFrame({"included": canaries.included, **scores})


def _log_likelihood(canaries: Canaries, model: keras.Model, weights: Sequence[Any]) -> npt.NDArray[np.float64]:
    model.set_weights(list(weights))
    p = class_probabilities(model, canaries.pool, canaries.scans)
    own = p[np.arange(len(p)), canaries.pool.labels[canaries.scans]].astype(np.float64)
    return np.log(np.maximum(own, 1e-12))
