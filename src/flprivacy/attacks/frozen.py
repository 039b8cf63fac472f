"""Attacks from features that do not change: a frozen trunk's, a model's answers, or a scan's own pixels."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from flprivacy.attacks.cache import Arrays
from flprivacy.attacks.exposure import Exposure
from flprivacy.attacks.features import Extraction, Forward, answer_features, extract
from flprivacy.attacks.grid import FeatureTable, GridResult, HeadGrid
from flprivacy.attacks.results import Finished, ResultStore
from flprivacy.attacks.scenario import Scenario
from flprivacy.core.progress import Progress, progress

FloatArray = npt.NDArray[np.float32]

# Models are stacked until the largest array of a grid holds this many numbers (16 MiB): more is no faster.
_LARGEST_ARRAY = 1 << 22


@dataclass(frozen=True, kw_only=True, eq=False)
class Source:
    """Where features come from.

    Attributes:
        model: name of the model within its target.
        digest: of everything that the features depend on besides the scans.
        forward: makes the function that computes them; called only if something is missing.
    """

    model: str
    digest: str
    forward: Callable[[], Forward]


def seen_by(access: str, arrays: Arrays) -> FloatArray:
    """Return what an attacker with ``access`` sees of extracted arrays: the last axis is what a head takes."""
    return answer_features(arrays["outputs"]) if access == "outputs" else arrays["features"]


class FrozenAttack:
    """Attacks on several sources at once, all accesses, fractions, seeds and attributes."""

    def __init__(self, scenario: Scenario, sources: Sequence[Source], *, target: str, work: Path) -> None:
        """Prepare attacks on ``sources``; what was finished before a kill is found in ``work``."""
        self._scenario, self._sources, self._target = scenario, tuple(sources), target
        self._work, self._store = work, ResultStore(work / "results")
        self._views = scenario.views()

    def run(self, accesses: Sequence[str]) -> list[Finished]:
        """Train and score what is missing and return everything, by source, access and fraction."""
        fractions = self._scenario.config.fractions
        missing = [a for a in accesses if any(self._lacks(a, self._sources, f) for f in fractions)]
        if missing:
            for source in self._sources:
                self.extraction(source)
            with progress(f"heads of {self._target}", self._epochs(missing)) as counter:
                for access in missing:
                    self._attack(access, counter)
        return [
            self._load(access, source, fraction)
            for source in self._sources
            for access in accesses
            for fraction in fractions
        ]

    def extraction(self, source: Source) -> Extraction:
        """Return what ``source`` computes for every needed scan and view, from the cache as far as it goes."""
        return extract(
            source.forward,
            source.digest,
            self._views,
            batch_size=self._scenario.config.extraction_batch_size,
            work=self._work,
            description=f"features of {self._target}, {source.model}",
        )

    def table(self, sources: Sequence[Source], access: str) -> FeatureTable:
        """Return the features that ``access`` gives, of several sources."""
        parts = [self.extraction(source) for source in sources]
        return FeatureTable(
            rows=self._views.exposed,
            exposed=np.stack([seen_by(access, part.exposed) for part in parts]),
            test=np.stack([seen_by(access, part.test) for part in parts]),
        )

    def _attack(self, access: str, counter: Progress) -> None:
        # One for every size, as TensorFlow computes a size that it met second by other kernels than one it met first:
        # what was finished before a kill must not show in the rest.
        grids: dict[tuple[int, int], HeadGrid] = {}
        for group in self._groups(access):
            lacking = [e for e in self._scenario.exposures if self._lacks(access, group, e.fraction)]
            counter.advance(self._scenario.config.epochs * (len(self._scenario.exposures) - len(lacking)))
            if not lacking:
                continue
            table = self.table(group, access)
            for exposure in lacking:
                size = (len(group), exposure.rows.shape[1])
                if size not in grids:
                    grids[size] = self._grid(len(group), table.exposed.shape[-1])
                result = grids[size].train(table, exposure, self._scenario.measure, on_epoch=counter.advance)
                self._save(access, group, exposure, result)

    def _save(self, access: str, group: Sequence[Source], exposure: Exposure, result: GridResult) -> None:
        for place, source in enumerate(group):
            done = Finished(
                model=source.model,
                access=access,
                fraction=exposure.fraction,
                seeds=exposure.seeds,
                scores=result.by_attribute(place, self._scenario.labels),
                curves=result.curves[place],
            )
            self._store.save(self._key(access, source, exposure.fraction), done)

    def _grid(self, models: int, features: int) -> HeadGrid:
        config = self._scenario.config
        return HeadGrid(config, self._scenario.labels, models=models, seeds=len(config.seeds), features=features)

    def _groups(self, access: str) -> list[tuple[Source, ...]]:
        """Cut the sources into groups whose heads train together. Depends on sizes alone, so a resumed run agrees."""
        width = max(seen_by(access, self.extraction(self._sources[0]).test).shape[-1], self._scenario.config.hidden)
        largest = max(exposure.rows.shape[1] for exposure in self._scenario.exposures) * self._views.views
        heads = len(self._scenario.config.seeds) * len(self._scenario.labels)
        size = max(1, _LARGEST_ARRAY // (heads * max(largest, len(self._scenario.test)) * width))
        return [self._sources[i : i + size] for i in range(0, len(self._sources), size)]

    def _epochs(self, accesses: Sequence[str]) -> int:
        per_group = len(self._scenario.exposures) * self._scenario.config.epochs
        return sum(len(self._groups(access)) for access in accesses) * per_group

    def _key(self, access: str, source: Source, fraction: float) -> str:
        return self._scenario.key(access, source.digest, fraction)

    def _lacks(self, access: str, sources: Sequence[Source], fraction: float) -> bool:
        return any(self._key(access, source, fraction) not in self._store for source in sources)

    def _load(self, access: str, source: Source, fraction: float) -> Finished:
        return self._store.load(
            self._key(access, source, fraction),
            model=source.model,
            access=access,
            fraction=fraction,
            seeds=self._scenario.config.seeds,
        )
