"""Configuration of how a target is trained."""

import math
from dataclasses import dataclass
from typing import Any

from flprivacy.core.errors import check
from flprivacy.core.parsing import to_mapping
from flprivacy.core.vocabulary import BASELINE_TOPOLOGIES, PARTITIONS, PRETRAINED, TOPOLOGIES
from flprivacy.privacy.config import PrivacyConfig

MOST_SYNTHETIC = 20.0  # scans for each real one
CANARY_KINDS = ("gradient", "mislabelled", "blank-pattern")


@dataclass(frozen=True, kw_only=True)
class CanaryConfig:
    """Records put into the training data to see whether a privacy guarantee holds; each is in by a fair coin.

    Attributes:
        kind: ``gradient`` (a gradient of its own along one weight, in private training only), ``mislabelled`` (a real
            scan with a wrong class) or ``blank-pattern`` (an empty scan with a pattern of its own).
        count: canaries, in and out together.
        norm: length of a gradient canary over the clip norm; clipping must cut it to 1.
        seed: draws canaries and coins.
    """

    kind: str = "gradient"
    count: int = 1000
    norm: float = 10.0
    seed: int = 0

    def __post_init__(self) -> None:
        check(self.kind in CANARY_KINDS, "kind", self.kind, f"must be one of {', '.join(CANARY_KINDS)}")
        check(self.count >= 10, "count", self.count, "must be at least 10; some 1000 prove something")
        check(0.0 < self.norm < math.inf, "norm", self.norm, "must be positive and finite")
        check(self.seed >= 0, "seed", self.seed, "must not be negative")


@dataclass(frozen=True, kw_only=True)
class SyntheticConfig:
    """Synthetic scans among those that a target is trained on, out of a cohort that a generator made.

    Attributes:
        multiple: synthetic scans for each real training scan, above 0 and at most 20: a generator knows no more than
            the scans that it was trained on, and beyond that its scans take time and show nothing new.
        alone: whether the target is trained on them and on no real scan.
        seed: draws them where the cohort holds more.
    """

    multiple: float = 1.0
    alone: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        rule = f"must be above 0 and at most {MOST_SYNTHETIC:g}; more of one generator show nothing new"
        check(0.0 < self.multiple <= MOST_SYNTHETIC, "multiple", self.multiple, rule)
        check(self.seed >= 0, "seed", self.seed, "must not be negative")

    @property
    def share(self) -> float:
        """Fraction of synthetic scans in the training data, in (0, 1]."""
        return 1.0 if self.alone else self.multiple / (1.0 + self.multiple)

    def count(self, real: int) -> int:
        """Return how many synthetic scans come with ``real`` training scans."""
        return max(1, round(self.multiple * real))


@dataclass(frozen=True, kw_only=True)
class TargetConfig:
    """How one target (a model under investigation, or the untrained baseline) comes about.

    Attributes:
        topology: ``untrained``, ``siloed`` (a model per site), ``central`` or ``federated`` (FedAvg); or
            ``pretrained``: the public weights that training started from, a baseline.
        architecture: name in the model registry; ``custom`` for the fresh weights of a network of your own.
        weights: of a ``pretrained`` baseline: the weights file, a path, URI or MLflow URI, with facts about it
            (:class:`~flprivacy.core.target_source.TargetSource`); of ``custom``: the target whose network it is.
        epochs: passes over the data (``siloed``, ``central``).
        rounds: FedAvg rounds.
        local_epochs: passes over a client's data in each round.
        client_fraction: fraction of the clients drawn in each round, in (0, 1].
        partition: which scans a federated client holds: ``natural`` (its site's) or ``iid`` (those of patients that
            a keyed hash deals out).
        batch_size: scans a step.
        learning_rate: Adam's learning rate, or that of the optimizer which ``privacy`` names.
        augment: whether scans are flipped and shifted anew in each pass; without, every pass sees the view that is
            scored, and a model of few scans learns them by heart sooner.
        initialisations: how many fresh weights an ``untrained`` target holds.
        seed: draws initial weights, batches and clients.
        privacy: differential privacy; None where training is not private.
        canaries: records to insert and score; None for none. A model trained with canaries is for
            checking its training, not for use.
        synthetic: synthetic scans to train on; None for none. Each joins the client of the site that it was made for,
            or the whole. Not together with privacy, whose epsilon would say nothing of how the generator was trained.
    """

    topology: str
    architecture: str = "cnn3d_small"
    epochs: int = 10
    rounds: int = 10
    local_epochs: int = 1
    client_fraction: float = 1.0
    partition: str = "natural"
    batch_size: int = 16
    learning_rate: float = 1e-3
    augment: bool = True
    initialisations: int = 10
    seed: int = 0
    privacy: PrivacyConfig | None = None
    canaries: CanaryConfig | None = None
    weights: str = ""
    synthetic: SyntheticConfig | None = None

    def __post_init__(self) -> None:
        known = (*TOPOLOGIES, PRETRAINED)
        check(self.topology in known, "topology", self.topology, f"must be one of {', '.join(known)}")
        given = self.topology == PRETRAINED or self.architecture == "custom"
        check(bool(self.weights) == given, "weights", self.weights, "belongs to pretrained baselines, which need it")
        fits = self.architecture != "custom" or self.topology in BASELINE_TOPOLOGIES
        check(fits, "architecture", self.architecture, "networks of your own are audited, not trained here")
        check(self.partition in PARTITIONS, "partition", self.partition, f"must be one of {', '.join(PARTITIONS)}")
        for name in ("epochs", "rounds", "local_epochs", "batch_size", "initialisations"):
            check(getattr(self, name) >= 1, name, getattr(self, name), "must be at least 1")
        check(0.0 < self.client_fraction <= 1.0, "client_fraction", self.client_fraction, "must be in (0, 1]")
        check(self.learning_rate > 0.0, "learning_rate", self.learning_rate, "must be positive")
        check(self.seed >= 0, "seed", self.seed, "must not be negative")
        self._check_privacy()
        self._check_synthetic()

    def _check_privacy(self) -> None:
        if self.privacy is not None:
            check(
                self.topology not in BASELINE_TOPOLOGIES,
                "privacy",
                self.privacy.unit,
                "an untrained target needs none; leave it out",
            )
            fits = self.privacy.unit != "site" or self.topology == "federated"
            check(fits, "privacy.unit", self.privacy.unit, f"a {self.topology} target protects scan or patient")
            apart = self.privacy.unit != "site" or self.partition == "natural"
            check(apart, "partition", self.partition, "must be natural where sites are protected: no client is a site")
        if self.canaries is not None:
            fits = self.topology == "central" or (self.topology == "federated" and self.canaries.kind == "gradient")
            check(fits, "topology", self.topology, "canaries are for central targets, gradient ones for federated too")
            observed = self.privacy is not None and (self.privacy.unit == "site" or self.privacy.optimizer == "sgd")
            check(
                self.canaries.kind != "gradient" or observed,
                "canaries.kind",
                self.canaries.kind,
                "gradient canaries need privacy with optimizer sgd, whose updates show the noised gradient as it is",
            )

    def _check_synthetic(self) -> None:
        if self.synthetic is None:
            return
        trained = self.topology not in BASELINE_TOPOLOGIES
        check(trained, "synthetic", self.topology, "a baseline is trained on nothing; leave it out")
        check(
            self.privacy is None,
            "synthetic",
            self.synthetic.multiple,
            "epsilon of a private target would not cover what synthetic scans tell of those that their generator was "
            "trained on; train the generator privately and the target, without privacy, on its scans alone",
        )
        check(
            self.canaries is None, "synthetic", self.synthetic.multiple, "canaries check training on real scans alone"
        )


def training_mapping(config: TargetConfig) -> dict[str, Any]:
    """Return a configuration as a mapping, without privacy, canaries, given weights and synthetic scans if it has none.

    So keys and digests of training that is not private are what they were before it could be.
    """
    mapping = to_mapping(config)
    return {k: v for k, v in mapping.items() if v or k not in ("privacy", "canaries", "weights", "synthetic")}
