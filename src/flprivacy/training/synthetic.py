"""Synthetic scans in the training data: behind the real ones in the pool, each with the client that it was made for.

They are part of what a model is trained on and of nothing else. Members, whom attacks look for, are the real training
scans, for they are whom the generator learnt from; utility is measured on real held-out scans alone.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from flprivacy.core.cohort import Cohort
from flprivacy.core.errors import TrainingError
from flprivacy.training.config import TargetConfig
from flprivacy.training.draws import patient_client, synthetic_generator
from flprivacy.training.pool import Indices, Pool, joined, rows_pool


@dataclass(frozen=True, kw_only=True, eq=False)
class SyntheticScans:
    """Synthetic scans in a run's pool.

    Attributes:
        first: index into the pool of the first; they are its last ones.
        sites: (n,) the site that each was made for.
        names: (n,) what tells them apart.
        digest: of the cohort that they are from.
        alone: whether models are trained on them and on no real scan.
    """

    first: int
    sites: npt.NDArray[np.int64]
    names: tuple[str, ...]
    digest: str
    alone: bool

    def beside(self, parts: tuple[Indices, ...], config: TargetConfig) -> tuple[Indices, ...]:
        """Return what each client trains on: the real scans that it holds and its synthetic ones, or these alone.

        Raises:
            TrainingError: a client has none.
        """
        clients = self._clients(len(parts), config)
        places = [self.first + np.flatnonzero(clients == number) for number in range(len(parts))]
        for number, own in enumerate(places):
            if self.alone and not len(own):
                raise TrainingError(
                    f"client site-{number:02d} has no synthetic scan to train on; raise synthetic.multiple, or ask the "
                    "generator for scans of every site"
                )
        if self.alone:
            return tuple(places)
        return tuple(np.concatenate([part, own]) for part, own in zip(parts, places, strict=True))

    def _clients(self, n: int, config: TargetConfig) -> npt.NDArray[np.int64]:
        """Return (n,) the client of each: its site, or the one of n that a keyed hash deals it out to."""
        if config.topology == "central":
            return np.zeros_like(self.sites)
        if config.topology == "federated" and config.partition == "iid":
            return np.array([patient_client(name, n, config.seed) for name in self.names], dtype=np.int64)
        return self.sites


def with_synthetic(
    pool: Pool, config: TargetConfig, cohort: Cohort, synthetic: Cohort | None
) -> tuple[Pool, SyntheticScans | None]:
    """Return the pool of a cohort's training scans with the synthetic ones that a target is trained on behind them.

    Raises:
        TrainingError: they are missing or too few, nobody asked for them, or they were made from another cohort.
    """
    if config.synthetic is None:
        if synthetic is not None:
            raise TrainingError(
                f"{synthetic.folder}: the target is trained on no synthetic scan; add 'synthetic' to it"
            )
        return pool, None
    if synthetic is None:
        raise TrainingError(
            "the target is trained on synthetic scans, and there are none; add a 'generator' to the study"
        )
    check_made_from(synthetic, cohort)
    asked, there = config.synthetic.count(len(pool.labels)), len(synthetic.manifest)
    if asked > there:
        raise TrainingError(
            f"{synthetic.folder}: holds {there} synthetic scans, and the target is trained on {asked}; make more, or "
            "lower synthetic.multiple"
        )
    rows = np.sort(synthetic_generator(config.synthetic.seed).permutation(there)[:asked])
    chosen = synthetic.manifest.iloc[rows]
    scans = SyntheticScans(
        first=len(pool.labels),
        sites=chosen["site_id"].to_numpy(dtype=np.int64),
        names=tuple(map(str, chosen["scan_id"])),
        digest=synthetic.meta.digest,
        alone=config.synthetic.alone,
    )
    return joined(pool, rows_pool(synthetic, rows, protocol=pool.protocol)), scans


def check_made_from(synthetic: Cohort, cohort: Cohort) -> None:
    """Refuse synthetic scans that do not fit a cohort.

    Raises:
        TrainingError: their generator was trained on another cohort, or they are of other sites, classes, shape or
            intensities, or no synthetic scans.
    """
    origin, where = synthetic.meta.synthetic_from, synthetic.folder
    if origin is None:
        raise TrainingError(
            f"{where}: holds scans of patients; give a synthetic cohort, as synthesize_cohort writes it"
        )
    if not origin.cohort:
        raise TrainingError(
            f"{where}: was published, and does not say which cohort its generator was trained on; give the synthetic "
            "cohort that the store keeps"
        )
    if origin.cohort != cohort.meta.digest:
        raise TrainingError(
            f"{where}: its generator was trained on cohort {origin.cohort[:12]}, not on {cohort.meta.name!r} "
            f"({cohort.meta.digest[:12]}); train a generator on this one"
        )
    for name in ("shape", "window_hu", "site_names", "class_names"):
        found, wanted = getattr(synthetic.meta, name), getattr(cohort.meta, name)
        if found != wanted:
            raise TrainingError(
                f"{where}: {name} is {found}, and {cohort.meta.name!r} has {wanted}; make its scans again"
            )
