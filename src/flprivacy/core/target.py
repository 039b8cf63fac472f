"""The target: a model under investigation, or a baseline that is a model."""

from dataclasses import dataclass, field
from typing import Any

TARGET_FILE = "target.json"
SCHEMA_VERSION = 1
KERAS2 = "Keras archive of Keras 2"  # format of a file that was translated


@dataclass(frozen=True, kw_only=True)
class Utility:
    """How well a model does the disease task on held-out patients."""

    accuracy: float  # fraction of scans classified correctly, in [0, 1]
    f1_macro: float  # mean F1 over the disease classes, in [0, 1]
    # mean one-vs-rest area under the ROC curve, in [0, 1]; None where a class has no held-out scan
    auc_ovr: float | None
    n_scans: int

    def metrics(self) -> dict[str, float]:
        """Return those numbers that there are, by the names of the fields."""
        found = {"accuracy": self.accuracy, "f1_macro": self.f1_macro}
        return found if self.auc_ovr is None else found | {"auc_ovr": self.auc_ovr}


@dataclass(frozen=True, kw_only=True)
class ModelRecord:
    """One of a target's models."""

    name: str  # ``model``; ``site-03`` in a siloed target; ``init-2`` in an untrained one
    weights: str  # file name within the target's folder
    sha256: str  # of the weights file
    n_train: int = 0  # scans it was trained on, where its owner states that or an audit knows it; else 0
    utility: Utility | None = None  # on all held-out patients of the cohort, where an audit knows it; else None


@dataclass(frozen=True, kw_only=True)
class Disclosure:
    """Something that whoever holds or watches a private target can see, or that auditors keep."""

    what: str
    covered: bool  # whether the guarantee says that it tells little about any one unit
    why: str  # in a sentence


@dataclass(frozen=True, kw_only=True)
class PrivacyStatement:
    """What private training guarantees, as far as it was actually run."""

    unit: str  # who is protected: ``scan``, ``patient`` or ``site``
    epsilon: float  # spent budget, the largest over clients (or a siloed target's models), by privacy loss distribution
    epsilon_rdp: float  # the same by Renyi differential privacy
    delta: float  # at which both hold
    words: str  # what is protected and how, in a sentence
    caveats: tuple[
        str, ...
    ] = ()  # what neighbouring data sets are, and what the guarantee does not cover, in sentences
    # of any one patient with all scans, by group privacy, where the unit is a scan; None where the unit is another, or
    # where nothing finite can be said
    patient_epsilon: float | None = None
    scans_per_patient: int | None = 1  # most scans of one patient at one client, where declared
    # each client's or siloed model's own budget; empty for central training and for sites
    client_epsilons: dict[str, float] = field(default_factory=dict)
    # each client's noise over clip norm; the key is empty where there is one for all
    noise_multipliers: dict[str, float] = field(default_factory=dict)
    clip_norm: float = 1.0  # bound on a unit's contribution
    steps: int = 0  # private steps of the client that spent most
    adjacency: str = ""  # ``add-remove`` or ``zero-out``; empty in statements of older versions
    disclosures: tuple[Disclosure, ...] = ()  # everything that training makes known, and whether it is covered


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Which foreign file a target was made from, and how that fits."""

    file: str
    format: str  # in words
    sha256: str  # of its bytes
    missing: tuple[str, ...] = ()  # trunk tensors that it lacked; they hold fresh weights
    left_over: tuple[str, ...] = ()  # tensors of the file that nothing took, at most 1,000 of them
    # whether the head came from the file; if not, the answers are those of fresh weights and are not attacked
    head: bool = True
    feature_layer: str = ""  # of a network of the user's own: the layer whose output is its features
    # what such a network's output is: ``probabilities``, ``logits``, ``labels``, ``probability`` or ``logit``
    answers: str = ""
    features: bool = True  # whether it shows features; arrays may hold outputs alone
    initialisations: int = 0  # of arrays: of the untrained twin among them; 0: there is none
    output: str = ""  # its output of that name; empty: its only one
    axes: str = ""  # order in which it takes the axes; empty: depth, height, width
    input_range: str = ""  # values that it takes; empty: 0..1
    # which of ``axes`` and ``input_range`` nobody stated and the file does not tell: the usual ones were assumed
    assumed: tuple[str, ...] = ()
    # which of the two, and of the ``shape`` of its scans, its owner states and its file does not tell
    stated: tuple[str, ...] = ()
    # of arrays: whether its owner compared some with what the network answers to the same scans in its own use
    input_checked: bool = False
    contradicted: str = ""  # the ``input_range`` that its first layers are made for, where its owner states another


@dataclass(frozen=True, kw_only=True)
class TargetRecord:
    """Contents of ``target.json``: what whoever holds the model may know. The rest is :class:`Lineage`."""

    name: str
    role: str  # ``target``, or ``baseline`` for untrained and pretrained weights
    topology: str | None  # ``untrained``, ``pretrained``, ``siloed``, ``central`` or ``federated``; None where unknown
    architecture: str  # name in the model registry; ``custom`` for a network of the user's own
    shape: tuple[int, int, int] | None  # (depth, height, width) that the model takes; None where only answers are known
    n_classes: int  # disease classes of its head
    protocol: str  # preprocessing that it was trained with
    digest: str  # SHA-256 over all weights files and how they were trained
    models: tuple[ModelRecord, ...]  # the models that it releases
    # of the one model, or the mean over a siloed target's models weighted by their training scans; where an audit knows
    utility: Utility | None = None
    training: dict[str, Any] = field(default_factory=dict)  # the TargetConfig it was trained with, without its seeds
    cohort_digest: str = ""  # of records of older versions, whose digest covers it; else empty
    partition: str | None = None  # ``natural`` or ``iid`` where federated
    epsilon: float | None = None  # spent differential-privacy budget; None where not private
    delta: float | None = None
    dp_events: tuple[dict[str, Any], ...] = ()  # what the training did, for the accountant
    privacy: PrivacyStatement | None = None  # who is protected, in words and numbers; None where not private
    synthetic_share: float = 0.0  # fraction of synthetic scans in the training data, in [0, 1]
    tensors_matched: int = 0  # trunk tensors found in the weights files
    tensors_total: int = 0  # trunk tensors that the architecture has
    origin: Origin | None = None  # the foreign file that it was made from; None where it was trained here
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True, kw_only=True)
class Lineage:
    """What auditors keep of a target and nobody else gets: contents of ``private/lineage.json``."""

    target_digest: str  # of the target that it belongs to
    cohort_digest: str  # of the cohort that the target was trained on
    # the whole TargetConfig that it was trained with, seeds among it
    training: dict[str, Any] = field(default_factory=dict)
    # file of the scans that each model was trained on: model name -> pseudonyms (HMAC-SHA256)
    members: str = ""
    # their key in hexadecimal. The message is the SHA-256 of cohort digest + scan id, which older versions, keyless,
    # listed itself
    members_key: str = ""
    n_train: dict[str, int] = field(default_factory=dict)  # model name -> number of scans that it was trained on
    utilities: dict[str, Utility] = field(default_factory=dict)  # model name -> utility on all held-out patients
    utility: Utility | None = None  # of the target, on them
    history: str = ""  # file of losses and accuracies on the training scans; empty where there is none
    canaries: str = ""  # file of canary scores; empty where none were inserted
    synthetic_digest: str = ""  # of the cohort of synthetic scans that it was trained on as well; empty for none

    @property
    def files(self) -> tuple[str, ...]:
        """Names of the files that it names."""
        return tuple(name for name in (self.members, self.history, self.canaries) if name)
