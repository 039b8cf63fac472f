"""The target: a model under investigation, or a baseline that is a model."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flprivacy.core.parsing import from_mapping

TARGET_FILE = "target.json"
SCHEMA_VERSION = 1
_FORMERLY = ("members", "canaries")  # files that older versions named here and kept beside the weights


@dataclass(frozen=True, kw_only=True)
class Utility:
    """How well a model does the disease task on held-out patients.

    Attributes:
        accuracy: fraction of scans classified correctly, in [0, 1].
        f1_macro: mean F1 over the disease classes, in [0, 1].
        auc_ovr: mean one-vs-rest area under the ROC curve, in [0, 1]; None where a class has no held-out scan.
        n_scans: held-out scans scored.
    """

    accuracy: float
    f1_macro: float
    auc_ovr: float | None
    n_scans: int


@dataclass(frozen=True, kw_only=True)
class ModelRecord:
    """One of a target's models.

    Attributes:
        name: ``model``; ``site-03`` in a siloed target; ``init-2`` in an untrained one.
        weights: file name within the target's folder.
        sha256: of the weights file.
        n_train: scans it was trained on.
        utility: on all held-out patients of the cohort; None where not measured.
    """

    name: str
    weights: str
    sha256: str
    n_train: int
    utility: Utility | None = None


@dataclass(frozen=True, kw_only=True)
class PrivacyStatement:
    """What private training guarantees, as far as it was actually run.

    Attributes:
        unit: who is protected: ``scan``, ``patient`` or ``site``.
        epsilon: spent budget, the largest over clients (or a siloed target's models), by privacy loss distribution.
        epsilon_rdp: the same by Renyi differential privacy.
        delta: at which both hold.
        words: what is protected and how, in a sentence.
        caveats: what the guarantee does not cover, in sentences.
        patient_epsilon: of any one patient with all scans, by group privacy, where the unit is a scan; None where the
            unit is another, or where nothing finite can be said.
        scans_per_patient: most scans of one patient at one client.
        client_epsilons: each client's or siloed model's own budget; empty for central training and for sites.
        noise_multipliers: each client's noise over clip norm; the key is empty where there is one for all.
        clip_norm: bound on a unit's contribution.
        steps: private steps of the client that spent most.
    """

    unit: str
    epsilon: float
    epsilon_rdp: float
    delta: float
    words: str
    caveats: tuple[str, ...] = ()
    patient_epsilon: float | None = None
    scans_per_patient: int = 1
    client_epsilons: dict[str, float] = field(default_factory=dict)
    noise_multipliers: dict[str, float] = field(default_factory=dict)
    clip_norm: float = 1.0
    steps: int = 0


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Which foreign file a target was made from, and how that fits.

    Attributes:
        file: its name.
        format: in words.
        sha256: of its bytes.
        missing: trunk tensors that it lacked; they hold fresh weights.
        left_over: tensors of the file that nothing took, at most 1,000 of them.
        head: whether the head came from the file; if not, the model's answers are nobody's and are not attacked.
        feature_layer: of a network of the user's own: the layer whose output is its features.
        answers: what such a network's output is: ``probabilities``, ``logits``, ``probability`` or ``logit``.
    """

    file: str
    format: str
    sha256: str
    missing: tuple[str, ...] = ()
    left_over: tuple[str, ...] = ()
    head: bool = True
    feature_layer: str = ""
    answers: str = ""


@dataclass(frozen=True, kw_only=True)
class TargetRecord:
    """Contents of ``target.json``: what whoever holds the model may know. The rest is :class:`Lineage`.

    Attributes:
        name: name of the target.
        role: ``target``, or ``baseline`` for untrained and pretrained weights.
        topology: ``untrained``, ``pretrained``, ``siloed``, ``central`` or ``federated``; None where unknown.
        architecture: name in the model registry; ``custom`` for a network of the user's own.
        shape: (depth, height, width) that the model takes.
        n_classes: disease classes of its head.
        protocol: preprocessing that it was trained with.
        digest: SHA-256 over all weights files and how they were trained.
        models: the models that it releases.
        utility: of the one model, or the mean over a siloed target's models weighted by their training scans.
        training: the TargetConfig it was trained with, without its seeds.
        cohort_digest: of the cohort that it was trained on, in records of older versions, whose digest covers it;
            otherwise empty.
        partition: ``natural`` or ``iid`` where federated.
        epsilon: spent differential-privacy budget; None where not private.
        delta: of that budget.
        dp_events: what the training did, for the accountant.
        privacy: who is protected, in words and numbers; None where not private.
        synthetic_share: fraction of synthetic scans in the training data, in [0, 1].
        tensors_matched: trunk tensors found in the weights files.
        tensors_total: trunk tensors that the architecture has.
        origin: the foreign file that it was made from; None where it was trained here.
        schema_version: version of this format.
    """

    name: str
    role: str
    topology: str | None
    architecture: str
    shape: tuple[int, int, int]
    n_classes: int
    protocol: str
    digest: str
    models: tuple[ModelRecord, ...]
    utility: Utility | None = None
    training: dict[str, Any] = field(default_factory=dict)
    cohort_digest: str = ""
    partition: str | None = None
    epsilon: float | None = None
    delta: float | None = None
    dp_events: tuple[dict[str, Any], ...] = ()
    privacy: PrivacyStatement | None = None
    synthetic_share: float = 0.0
    tensors_matched: int = 0
    tensors_total: int = 0
    origin: Origin | None = None
    schema_version: int = SCHEMA_VERSION

    @classmethod
    def parse(cls, mapping: Any, where: str) -> "TargetRecord":
        """Read a record, of an older version too.

        Args:
            mapping: what the JSON holds.
            where: shown in errors.

        Raises:
            ConfigError: it is no such record.
        """
        if isinstance(mapping, Mapping):
            mapping = {name: value for name, value in mapping.items() if name not in _FORMERLY}
        return from_mapping(cls, mapping, where)


@dataclass(frozen=True, kw_only=True)
class Lineage:
    """What auditors keep of a target and nobody else gets: contents of ``private/lineage.json``.

    Attributes:
        target_digest: of the target that it belongs to.
        cohort_digest: of the cohort that the target was trained on.
        training: the whole TargetConfig that it was trained with, seeds among it.
        members: file of the scans that each model was trained on: model name -> SHA-256 of cohort digest + scan id.
        history: file of losses and accuracies on the training scans; empty where there is none.
        canaries: file of canary scores; empty where none were inserted.
    """

    target_digest: str
    cohort_digest: str
    training: dict[str, Any] = field(default_factory=dict)
    members: str = ""
    history: str = ""
    canaries: str = ""

    @property
    def files(self) -> tuple[str, ...]:
        """Names of the files that it names."""
        return tuple(name for name in (self.members, self.history, self.canaries) if name)
