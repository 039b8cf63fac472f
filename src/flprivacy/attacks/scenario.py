"""What is the same for every model under attack: labels, exposed samples, held-out scans."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from flprivacy.attacks.config import AttackConfig
from flprivacy.attacks.features import Views
from flprivacy.attacks.labels import AttributeLabels, attribute_labels, check_learnable, check_scorable
from flprivacy.attacks.samples import Sample
from flprivacy.cohorts.sampling import exposed_rows
from flprivacy.core.checks import check
from flprivacy.core.cohort import TEST, Cohort
from flprivacy.core.digests import digest_json
from flprivacy.core.metrics import confusion_matrices, f1_weighted, mean_absolute_error
from flprivacy.core.vocabulary import PROTOCOLS

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

_FORMAT = 2
# These change speed and memory or choose among results; they are no part of a single result.
_NOT_IN_KEYS = ("accesses", "fractions", "extraction_batch_size")


@dataclass(frozen=True, kw_only=True, eq=False)
class Exposure:
    """What the attacker of one seed holds."""

    fraction: float  # of the training scans, in (0, 1]
    rows: IntArray  # (scan,) row numbers in the cohort, ascending
    sample: Sample  # what is known of these scans


@dataclass(frozen=True, kw_only=True, eq=False)
class Scenario:
    """One cohort under one attack configuration."""

    config: AttackConfig
    cohort: Cohort
    protocol: str
    labels: tuple[AttributeLabels, ...]
    exposures: tuple[Exposure, ...]  # by fraction and seed; those of one fraction are of the same size
    test: IntArray  # (scan,) held-out rows, ascending

    def views(self) -> Views:
        """Return which scans must be seen, and how: those that any seed of any fraction exposes, and the held-out."""
        return Views(
            cohort=self.cohort,
            protocol=self.protocol,
            exposed=np.unique(np.concatenate([exposure.rows for exposure in self.exposures])),
            test=self.test,
            views=self.config.views,
        )

    def scored(self, labels: AttributeLabels) -> npt.NDArray[np.bool_]:
        """Return (held-out scan,) whether it has a value for the attribute."""
        known: npt.NDArray[np.bool_] = ~np.isnan(labels.values[self.test])
        return known

    def strength(self, scores: FloatArray) -> npt.NDArray[np.float64]:
        """Return (attribute,) strengths of scores (attribute, held-out scan, column), by each one's first metric."""
        return np.array([self._strength(*pair) for pair in zip(self.labels, scores, strict=True)])

    def _strength(self, labels: AttributeLabels, scores: FloatArray) -> float:
        known = self.scored(labels)
        truth, some = labels.values[self.test][known], scores[known, : labels.head.width]
        if labels.attribute.is_regression:
            return float(mean_absolute_error(truth, some[:, 0]))
        return float(f1_weighted(confusion_matrices(truth, some.argmax(axis=-1), labels.head.width)))

    def key(self, *parts: object) -> str:
        """Return a digest of all that a result depends on, ``parts`` naming the result within the scenario."""
        config = {k: v for k, v in dataclasses.asdict(self.config).items() if k not in _NOT_IN_KEYS}
        return digest_json([_FORMAT, self.cohort.meta.digest, self.protocol, config, list(parts)])[:32]


def prepare(config: AttackConfig, cohort: Cohort, *, protocol: str) -> Scenario:
    """Check that every attack of the grid can be trained and scored, and draw all exposed samples.

    Raises:
        ConfigError: an unknown protocol.
        AttackError: a site without exposed scan, or an attribute with one value only among exposed or held-out scans.
    """
    check(protocol in PROTOCOLS, "protocol", protocol, f"must be one of {', '.join(PROTOCOLS)}")
    labels = attribute_labels(cohort, attributes=config.attributes, age_edges_years=config.age_edges_years)
    for one in labels:
        check_scorable(cohort, one)
    return Scenario(
        config=config,
        cohort=cohort,
        protocol=protocol,
        labels=labels,
        exposures=tuple(
            _draw(cohort, labels, fraction, seed) for fraction in config.fractions for seed in config.seeds
        ),
        test=cohort.rows(TEST),
    )


def _draw(cohort: Cohort, labels: Sequence[AttributeLabels], fraction: float, seed: int) -> Exposure:
    """Draw the exposed sample of a seed, which all attributes share."""
    rows = exposed_rows(cohort, fraction=fraction, seed=seed)
    for one in labels:
        check_learnable(one, rows, fraction=fraction, seed=seed)
    values = np.stack([one.values[rows] for one in labels])
    return Exposure(fraction=fraction, rows=rows, sample=Sample.of([one.head for one in labels], values, seed=seed))
