"""What is the same for every model under attack: labels, exposed samples, held-out scans."""

import dataclasses
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from flprivacy.attacks.config import AttackConfig
from flprivacy.attacks.exposure import Exposure, draw_exposure, needed_rows
from flprivacy.attacks.features import Views
from flprivacy.attacks.labels import AttributeLabels, attribute_labels, left_out, scored_rows
from flprivacy.core.checks import check
from flprivacy.core.cohort import TEST, Cohort
from flprivacy.core.digests import digest_json
from flprivacy.core.metrics import confusion_matrices, f1_weighted, mean_absolute_error
from flprivacy.core.vocabulary import PROTOCOLS

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

_FORMAT = 1
# These change speed and memory or choose among results; they are no part of a single result.
_NOT_IN_KEYS = ("accesses", "fractions", "extraction_batch_size")


@dataclass(frozen=True, kw_only=True, eq=False)
class Scenario:
    """One cohort under one attack configuration.

    Attributes:
        config: the grid of attacks.
        cohort: where exposed and held-out scans come from.
        protocol: preprocessing.
        labels: what is attacked.
        exposures: exposed samples, one entry a fraction.
        test: (scan,) held-out rows, ascending.
    """

    config: AttackConfig
    cohort: Cohort
    protocol: str
    labels: tuple[AttributeLabels, ...]
    exposures: tuple[Exposure, ...]
    test: IntArray

    def views(self) -> Views:
        """Return which scans must be seen, and how."""
        return Views(
            cohort=self.cohort,
            protocol=self.protocol,
            exposed=needed_rows(self.exposures),
            test=self.test,
            views=self.config.views,
        )

    def scored(self, labels: AttributeLabels) -> npt.NDArray[np.bool_]:
        """Return (held-out scan,) whether it has a value for the attribute."""
        known: npt.NDArray[np.bool_] = ~np.isnan(labels.values[self.test])
        return known

    def measure(self, scores: FloatArray) -> npt.NDArray[np.float64]:
        """Return the strength of every head: weighted F1, or mean absolute error in years for ``age_years``.

        Args:
            scores: (model, seed, attribute, held-out scan, column).

        Returns:
            (model, seed, attribute).
        """
        return np.stack([self._strength(one, scores[:, :, a]) for a, one in enumerate(self.labels)], axis=-1)

    def _strength(self, labels: AttributeLabels, scores: FloatArray) -> npt.NDArray[np.float64]:
        known = self.scored(labels)
        truth, some = labels.values[self.test][known], scores[:, :, known, : labels.width]
        if labels.regression:
            return mean_absolute_error(truth, some[..., 0])
        return f1_weighted(confusion_matrices(truth.astype(np.int64), some.argmax(axis=-1), labels.width))

    def key(self, *parts: object) -> str:
        """Return a digest of all that a result depends on, ``parts`` naming the result within the scenario."""
        config = {k: v for k, v in dataclasses.asdict(self.config).items() if k not in _NOT_IN_KEYS}
        return digest_json([_FORMAT, self.cohort.meta.digest, self.protocol, config, list(parts)])[:32]

    def class_names(self) -> dict[str, tuple[str, ...]]:
        """Return attribute -> class names, empty for ``age_years``."""
        return {one.name: one.class_names for one in self.labels}

    def left_out(self) -> dict[str, int]:
        """Return attribute -> held-out scans without a value."""
        return left_out(self.cohort, self.labels)


def prepare(config: AttackConfig, cohort: Cohort, *, protocol: str) -> Scenario:
    """Check that every attack of the grid can be trained and scored, and draw all exposed samples.

    Raises:
        ConfigError: an unknown protocol.
        AttackError: a site without exposed scan, or an attribute with one value only among exposed or held-out scans.
    """
    check(protocol in PROTOCOLS, "protocol", protocol, f"must be one of {', '.join(PROTOCOLS)}")
    labels = attribute_labels(cohort, attributes=config.attributes, age_edges_years=config.age_edges_years)
    for one in labels:
        scored_rows(cohort, one)
    return Scenario(
        config=config,
        cohort=cohort,
        protocol=protocol,
        labels=labels,
        exposures=tuple(draw_exposure(cohort, labels, fraction=f, seeds=config.seeds) for f in config.fractions),
        test=cohort.rows(TEST),
    )
