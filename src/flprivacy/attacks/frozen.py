"""Attacks from features that do not change: a frozen trunk's, a model's answers, or a scan's own pixels."""

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from flprivacy.attacks.answering import answer
from flprivacy.attacks.cache import Arrays
from flprivacy.attacks.features import Extraction, answer_features, check_answers, extract, looked_up
from flprivacy.attacks.learner import Trained, train_heads
from flprivacy.attacks.relation import MOST_SCANS, check_related, looks
from flprivacy.attacks.results import Finished, Job, Outcome, ResultStore, Source
from flprivacy.attacks.scenario import Exposure, Scenario
from flprivacy.cohorts.format import read_volumes
from flprivacy.core.array_types import Float32Array, FloatArray, IntArray


class FrozenAttack:
    """Attacks on several sources: all accesses, fractions, seeds and attributes."""

    def __init__(
        self, scenario: Scenario, sources: Sequence[Source], *, target: str, work: Path, results: Path | None = None
    ) -> None:
        """Prepare attacks on ``sources``; what was finished before a kill is found in ``work``, or in ``results``."""
        self.scenario, self.sources, self.target = scenario, tuple(sources), target
        self.store, self.views = ResultStore(results or work / "results"), scenario.views()
        self._work = work
        self._latest: tuple[str, Extraction] | None = None

    def run(self, accesses: Sequence[str]) -> list[Finished]:
        """Train and score what is missing and return everything, by source, access, fraction and seed."""
        exposures = self.scenario.exposures
        jobs = [Job(source, access, one) for source in self.sources for access in accesses for one in exposures]
        if any(self.store.lacks(self.scenario, job) for job in jobs):
            for source in self.sources:
                self.extraction(source)
        return self.store.complete(
            self.scenario,
            jobs,
            self._attack,
            description=f"attacks on {self.target}",
            steps=self.scenario.config.epochs if self.scenario.config.network else 1,
        )

    def extraction(self, source: Source) -> Extraction:
        """Return what ``source`` computes for every needed scan and view, from the cache as far as it goes."""
        if self._latest is None or self._latest[0] != source.digest:
            found = self._computed(source) if source.recorded is None else looked_up(source.recorded, self.views)
            check_answers(found, f"{self.target}, {source.model}")
            if source.recorded is not None and "features" in found.scored:
                some, looked = self._looked
                check_related(found.scored["features"][some], looked, f"{self.target}, {source.model}")
            self._latest = (source.digest, found)
        return self._latest[1]

    @cached_property
    def _looked(self) -> tuple[IntArray, FloatArray]:
        """Positions among the scored scans of some of them, and what these look like."""
        rows = self.views.scored
        some = np.sort(np.random.default_rng(0).permutation(len(rows))[:MOST_SCANS])
        return some, looks(read_volumes(self.scenario.cohort, rows[some]))

    def _computed(self, source: Source) -> Extraction:
        return extract(
            source.forward,
            source.digest,
            self.views,
            batch_size=self.scenario.config.extraction_batch_size,
            work=self._work,
            description=f"features of {self.target}, {source.model}",
        )

    def train(
        self, source: Source, access: str, exposure: Exposure, *, on_epoch: Callable[[], None] = lambda: None
    ) -> Trained:
        """Train and score the network of one attacker seed on what ``access`` shows of one source."""
        exposed, scored = self._seen(source, access, exposure)
        learner, strength = self.scenario.config.learner, self.scenario.strength
        return train_heads(exposed, scored, exposure.sample, learner, strength=strength, on_epoch=on_epoch)

    def _attack(self, job: Job, on_step: Callable[[], None]) -> Outcome:
        """Answer for one attacker seed; with the network's curve where it competes."""
        config = self.scenario.config
        curves = np.empty((len(self.scenario.labels), 0))
        if config.network:
            curves = self.train(*job, on_epoch=on_step).curves
        network = config.learner if config.network else None
        answers = answer(*self._seen(*job), job.exposure.known, network=network)
        if not config.network:
            on_step()
        return Outcome(answers, curves)

    def _seen(self, source: Source, access: str, exposure: Exposure) -> tuple[Float32Array, Float32Array]:
        """Return what ``access`` shows of the exposed scans, (view, scan, feature), and of the scored ones."""
        found = self.extraction(source)
        positions = np.searchsorted(self.views.exposed, exposure.rows)
        return seen_by(access, found.exposed)[:, positions], seen_by(access, found.scored)


def seen_by(access: str, arrays: Arrays) -> Float32Array:
    """Return what an attacker with ``access`` sees of extracted arrays: the last axis is what a head takes."""
    return answer_features(arrays["outputs"]) if access == "outputs" else arrays["features"]
