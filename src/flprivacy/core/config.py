"""Configuration of a whole study: frozen, keyword-only, validated when built, JSON-able."""

import math
from dataclasses import dataclass, field

from flprivacy.core.errors import ConfigError

TOPOLOGIES = ("untrained", "siloed", "central", "federated")
PRETRAINED = "pretrained"
BASELINE_TOPOLOGIES = ("untrained", PRETRAINED)
PARTITIONS = ("natural", "iid")
PROTOCOLS = ("standard", "flprivacy-2023")
ATTRIBUTES = ("site", "sex", "age")
ACCESSES = ("features", "outputs", "finetune")
PRIVACY_UNITS = ("scan", "patient", "site")
PRIVATE_OPTIMIZERS = ("adam", "sgd")
CANARY_KINDS = ("gradient", "mislabelled", "blank-pattern")
CLASSIFICATION_METRICS = ("f1_weighted", "f1_macro", "balanced_accuracy", "accuracy", "top3_accuracy")


def check(condition: bool, name: str, value: object, rule: str) -> None:
    """Raise ConfigError naming the field, the value received and the rule, unless ``condition`` holds."""
    if not condition:
        raise ConfigError(f"{name} is {value!r}; {rule}")


@dataclass(frozen=True, kw_only=True)
class PhantomConfig:
    """A procedural chest-CT cohort.

    Attributes:
        name: name of the cohort (the MLflow experiment).
        scans: total number of scans over all sites and both splits.
        sites: number of sites; their sizes follow the reference study's heavy tail.
        shape: (depth, height, width) in voxels, at most (24, 256, 256).
        signature_strength: how different the sites' scanners are; 0 makes them exchangeable.
        case_mix_strength: how different the sites' patients are (disease, age, sex, habitus); 0 makes them alike.
        test_fraction: fraction of the patients held out at each site.
        seed: draws everything.
    """

    name: str = "phantom"
    scans: int = 1600
    sites: int = 21
    shape: tuple[int, int, int] = (16, 64, 64)
    signature_strength: float = 1.0
    case_mix_strength: float = 1.0
    test_fraction: float = 0.25
    seed: int = 0

    def __post_init__(self) -> None:
        check(bool(self.name) and "/" not in self.name, "name", self.name, "give a name without '/'")
        check(1 <= self.sites <= 21, "sites", self.sites, "must be between 1 and 21")
        check(self.scans >= 4 * self.sites, "scans", self.scans, "must be at least 4 per site")
        low, high = (8, 32, 32), (24, 256, 256)
        inside = all(a <= s <= b for a, s, b in zip(low, self.shape, high, strict=True))
        check(inside, "shape", self.shape, f"must lie between {low} and {high} voxels")
        for name in ("signature_strength", "case_mix_strength"):
            check(0.0 <= getattr(self, name) <= 3.0, name, getattr(self, name), "must be between 0 and 3")
        check(0.05 <= self.test_fraction <= 0.5, "test_fraction", self.test_fraction, "must be between 0.05 and 0.5")
        check(self.seed >= 0, "seed", self.seed, "must not be negative")


@dataclass(frozen=True, kw_only=True)
class PrivacyConfig:
    """How a target is trained with differential privacy: DP-SGD for scans and patients, DP-FedAvg for sites.

    Give ``epsilon`` or ``noise_multiplier``, not both.

    Attributes:
        unit: who is protected: any one ``scan``, any one ``patient`` with all scans, or any one ``site`` with all its
            patients (federated training only).
        epsilon: target budget of each model or client; the noise multiplier is calibrated to it.
        noise_multiplier: noise standard deviation over ``clip_norm``; the budget follows from it.
        delta: of the guarantee, below 1 / n for n units in all clients together; None: the smaller of 1e-5 and
            1 / (10 n).
        clip_norm: bound on the L2 norm of one unit's gradient (of a site's whole update).
        sampling_rate: probability with which each unit takes part in a step (a site: in a round), in (0, 1], the same
            for clients of every size. None: ``batch_size`` units a step on average (for sites: ``client_fraction``).
        stop_after: epochs or rounds after which training stops although the noise was calibrated for all of them; the
            budget that is stated is that of the steps done. None: all of them.
        optimizer: ``adam`` or ``sgd``; it sees noised gradients only (sites train locally with Adam in any case).
        loss_scale: keeps the gradients of a ``mixed_float16`` network from vanishing; 1 for others.
        noise_seed: None: drawn from the operating system, kept with the checkpoints and gone with them. A number makes
            a run repeatable, and whoever knows it can subtract the noise: for tests and measurements only.
    """

    unit: str = "patient"
    epsilon: float | None = None
    noise_multiplier: float | None = None
    delta: float | None = None
    clip_norm: float = 1.0
    sampling_rate: float | None = None
    stop_after: int | None = None
    optimizer: str = "adam"
    loss_scale: float = 1.0
    noise_seed: int | None = None

    def __post_init__(self) -> None:
        check(self.unit in PRIVACY_UNITS, "unit", self.unit, f"must be one of {', '.join(PRIVACY_UNITS)}")
        both = (self.epsilon, self.noise_multiplier)
        check(None in both and both != (None, None), "(epsilon, noise_multiplier)", both, "give exactly one of the two")
        for name in ("epsilon", "noise_multiplier", "clip_norm", "loss_scale"):
            value = getattr(self, name)
            check(value is None or 0.0 < value < math.inf, name, value, "must be positive and finite")
        check(self.delta is None or 0.0 < self.delta < 1.0, "delta", self.delta, "must be between 0 and 1")
        rate = self.sampling_rate
        check(rate is None or 0.0 < rate <= 1.0, "sampling_rate", rate, "must be in (0, 1]")
        check(self.stop_after is None or self.stop_after >= 1, "stop_after", self.stop_after, "must be at least 1")
        known = ", ".join(PRIVATE_OPTIMIZERS)
        check(self.optimizer in PRIVATE_OPTIMIZERS, "optimizer", self.optimizer, f"must be one of {known}")
        check(self.noise_seed is None or self.noise_seed >= 0, "noise_seed", self.noise_seed, "must not be negative")


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
        partition: which scans a federated client holds: ``natural`` (its site's) or ``iid`` (a random share of
            the pool, of its site's size).
        batch_size: scans a step.
        learning_rate: Adam's learning rate, or that of the optimizer which ``privacy`` names.
        initialisations: how many fresh weights an ``untrained`` target holds.
        seed: draws initial weights, batches and clients.
        privacy: differential privacy; None where training is not private.
        canaries: records to insert and score (``central`` only); None for none. A model trained with canaries is for
            checking its training, not for use.
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
    initialisations: int = 5
    seed: int = 0
    privacy: PrivacyConfig | None = None
    canaries: CanaryConfig | None = None
    weights: str = ""

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
        if self.canaries is not None:
            check(self.topology == "central", "topology", self.topology, "canaries are for central targets")
            observed = self.privacy is not None and self.privacy.optimizer == "sgd"
            check(
                self.canaries.kind != "gradient" or observed,
                "canaries.kind",
                self.canaries.kind,
                "gradient canaries need privacy with optimizer sgd, whose updates show the noised gradient as it is",
            )


@dataclass(frozen=True, kw_only=True)
class AttackConfig:
    """The attribute attacks to run on every target: the whole grid of one audit.

    Attributes:
        attributes: any of ``site``, ``sex``, ``age`` (age is attacked as bands and as years).
        accesses: any of ``features``, ``outputs``, ``finetune``.
        fractions: exposed fractions of the training scans, each in (0, 1].
        seeds: attacker seeds; each draws its exposed sample, head and batches. At least 5 for honest intervals.
        epochs: passes of the attack's head over the exposed sample.
        batch_size: exposed scans a step.
        learning_rate: Adam's learning rate of the head.
        hidden: width of the head's hidden layer.
        views: augmented views of each exposed scan whose features are cached (1: the plain view only).
        age_edges_years: edges of the age bands; k edges make k + 1 bands.
        finetune_epochs: passes of a ``finetune`` attack, which trains the trunk too.
        finetune_learning_rate: Adam's learning rate of a ``finetune`` attack.
        extraction_batch_size: scans a forward pass of feature extraction; changes speed and memory only.
    """

    attributes: tuple[str, ...] = ATTRIBUTES
    accesses: tuple[str, ...] = ("features", "outputs")
    fractions: tuple[float, ...] = (0.1, 0.25)
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    epochs: int = 40
    batch_size: int = 64
    learning_rate: float = 5e-3
    hidden: int = 32
    views: int = 1
    age_edges_years: tuple[float, ...] = (45.0, 60.0, 75.0)
    finetune_epochs: int = 5
    finetune_learning_rate: float = 1e-4
    extraction_batch_size: int = 16

    def __post_init__(self) -> None:
        for name, known in (("attributes", ATTRIBUTES), ("accesses", ACCESSES)):
            values = getattr(self, name)
            check(bool(values) and set(values) <= set(known), name, values, f"choose from {', '.join(known)}")
            check(len(set(values)) == len(values), name, values, "must not repeat")
        check(bool(self.fractions), "fractions", self.fractions, "give at least one exposed fraction")
        for fraction in self.fractions:
            check(
                0.0 < fraction <= 1.0,
                "exposed fraction",
                fraction,
                "must be above 0 and at most 1 (a fraction, not percent)",
            )
        check(len(set(self.fractions)) == len(self.fractions), "fractions", self.fractions, "must not repeat")
        check(bool(self.seeds) and len(set(self.seeds)) == len(self.seeds), "seeds", self.seeds, "give different seeds")
        check(min(self.seeds) >= 0, "seeds", self.seeds, "must not be negative")
        for name in ("epochs", "batch_size", "hidden", "views", "finetune_epochs", "extraction_batch_size"):
            check(getattr(self, name) >= 1, name, getattr(self, name), "must be at least 1")
        for name in ("learning_rate", "finetune_learning_rate"):
            check(getattr(self, name) > 0.0, name, getattr(self, name), "must be positive")
        rising = all(a < b for a, b in zip(self.age_edges_years, self.age_edges_years[1:], strict=False))
        check(bool(self.age_edges_years) and rising, "age_edges_years", self.age_edges_years, "must rise")


@dataclass(frozen=True, kw_only=True)
class PolicyRule:
    """When an attack's excess counts as a leak.

    Attributes:
        metric: the metric whose excess decides (``f1_weighted`` ... or ``mae_years``, where lower is stronger
            and the excess is the reduction in years).
        threshold: excess over the best baseline that is tolerated, in the metric's own units.
        fraction: exposed fraction that decides; the largest audited one if None.
    """

    metric: str = "f1_weighted"
    threshold: float = 0.0
    fraction: float | None = None

    def __post_init__(self) -> None:
        known = (*CLASSIFICATION_METRICS, "mae_years")
        check(self.metric in known, "metric", self.metric, f"must be one of {', '.join(known)}")
        check(self.threshold >= 0.0, "threshold", self.threshold, "must not be negative")
        if self.fraction is not None:
            check(0.0 < self.fraction <= 1.0, "fraction", self.fraction, "must be in (0, 1]")


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What the hospital network tolerates: one rule per attribute (``site``, ``sex``, ``age_band``, ``age_years``)."""

    rules: dict[str, PolicyRule] = field(
        default_factory=lambda: {
            "site": PolicyRule(threshold=0.02),
            "sex": PolicyRule(threshold=0.02),
            "age_band": PolicyRule(threshold=0.02),
            "age_years": PolicyRule(metric="mae_years", threshold=0.5),
        }
    )
    fail_on_leak: bool = False

    def __post_init__(self) -> None:
        known = {"site", "sex", "age_band", "age_years"}
        check(set(self.rules) <= known, "rules", sorted(self.rules), f"rules are for {', '.join(sorted(known))}")
        for attribute, rule in self.rules.items():
            fits = (rule.metric == "mae_years") == (attribute == "age_years")
            check(
                fits, f"rules.{attribute}.metric", rule.metric, "mae_years is the metric of age_years and of it alone"
            )


@dataclass(frozen=True, kw_only=True)
class AuditConfig:
    """How score tables become numbers.

    Attributes:
        confidence: coverage of every interval.
        bootstrap: replicates over patients.
        seed: draws the replicates.
        policy: when an excess counts as a leak.
    """

    confidence: float = 0.95
    bootstrap: int = 1000
    seed: int = 0
    policy: Policy = field(default_factory=Policy)

    def __post_init__(self) -> None:
        check(0.5 <= self.confidence < 1.0, "confidence", self.confidence, "must be in [0.5, 1), such as 0.95")
        check(self.bootstrap >= 100, "bootstrap", self.bootstrap, "must be at least 100")


@dataclass(frozen=True, kw_only=True)
class DpCheckConfig:
    """A check of private training itself: train with canaries, and set what their scores prove against the claim.

    Attributes:
        target: what to train; private, with canaries.
        confidence: with which the lower bound on epsilon holds, over all ways that it is computed.
    """

    target: TargetConfig = field(
        default_factory=lambda: TargetConfig(
            topology="central",
            epochs=10,
            learning_rate=0.1,
            privacy=PrivacyConfig(unit="scan", noise_multiplier=1.2, sampling_rate=0.05, optimizer="sgd"),
            canaries=CanaryConfig(),
        )
    )
    confidence: float = 0.95

    def __post_init__(self) -> None:
        check(self.target.privacy is not None, "target.privacy", None, "the check is about private training; add it")
        check(self.target.canaries is not None, "target.canaries", None, "the check needs canaries; add them")
        check(0.5 < self.confidence < 1.0, "confidence", self.confidence, "must be between 0.5 and 1, such as 0.95")


@dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """A whole study: a phantom cohort, targets trained on it, the attacks and the audit.

    Attributes:
        name: name of the preset or file.
        cohort: the phantom cohort to make; None where a cohort is given.
        protocol: preprocessing, ``standard`` or ``flprivacy-2023``.
        targets: name -> how it is trained; an ``untrained`` one is the baseline of its architecture.
        attack: the grid of attribute attacks.
        audit: intervals and policy.
        dp_check: the training that pipeline ``dp_check`` checks on the same cohort.
    """

    name: str
    cohort: PhantomConfig | None = None
    protocol: str = "standard"
    targets: dict[str, TargetConfig]
    attack: AttackConfig = field(default_factory=AttackConfig)
    audit: AuditConfig = field(default_factory=AuditConfig)
    dp_check: DpCheckConfig = field(default_factory=DpCheckConfig)

    def __post_init__(self) -> None:
        check(self.protocol in PROTOCOLS, "protocol", self.protocol, f"must be one of {', '.join(PROTOCOLS)}")
        check(bool(self.targets), "targets", self.targets, "name at least one target")
        reserved = {"pixels", "majority"} & set(self.targets)
        check(not reserved, "targets", sorted(reserved), "these names belong to baselines; choose others")
        for name in self.targets:
            fits = name.replace("-", "").replace("_", "").isalnum() and name == name.lower()
            check(fits, "target name", name, "use lower-case letters, digits, '-' and '_'")
