"""Who holds which training scans."""

import numpy as np

from flprivacy.core.cohort import TRAIN, Cohort
from flprivacy.core.errors import TrainingError
from flprivacy.training.draws import partition_generator
from flprivacy.training.pool import Indices


def natural_partition(cohort: Cohort) -> tuple[Indices, ...]:
    """Return, for each site, the indices into the training pool of its own scans, ascending.

    Raises:
        TrainingError: a site of the cohort has no training scan.
    """
    sites = cohort.manifest["site_id"].to_numpy()[cohort.rows(TRAIN)]
    parts = tuple(np.flatnonzero(sites == site) for site in range(len(cohort.meta.site_names)))
    for name, part in zip(cohort.meta.site_names, parts, strict=True):
        if not len(part):
            raise TrainingError(
                f"{cohort.folder}: site {name!r} has no training scan, so it cannot train a model or be a client; "
                "give it training scans or remove it from the cohort"
            )
    return parts


def iid_partition(cohort: Cohort, *, seed: int) -> tuple[Indices, ...]:
    """Return, for each site, a random share of the training pool of the site's size, ascending.

    Shares are drawn by scan: scans of one patient may fall to several clients. Together they are the whole pool.

    Raises:
        TrainingError: a site of the cohort has no training scan.
    """
    sizes = [len(part) for part in natural_partition(cohort)]
    order = partition_generator(seed).permutation(sum(sizes))
    return tuple(np.sort(part) for part in np.split(order, np.cumsum(sizes)[:-1]))


def partition(cohort: Cohort, *, kind: str, seed: int) -> tuple[Indices, ...]:
    """Return each federated client's scans under the ``natural`` or ``iid`` partition."""
    return natural_partition(cohort) if kind == "natural" else iid_partition(cohort, seed=seed)
