"""Small phantoms: real scans of patients, and fresh ones of the same hospitals."""

import functools
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from flprivacy.cohorts.phantom.config import PhantomConfig
from flprivacy.cohorts.phantom.generate import plan_scans, render_plan
from flprivacy.cohorts.phantom.sites import draw_sites
from tests.synthesis.checks.latent_patients import FloatArray

Volumes = npt.NDArray[np.uint8]

SHAPE = (8, 32, 32)


class Scans:
    """Scans with their patients, sites, classes and whether they are trained on."""

    def __init__(self, volumes: Volumes, owners: list[str], sites: list[int], labels: list[int]) -> None:
        self.volumes = volumes
        _, self.patients = np.unique(owners, return_inverse=True)
        self.sites, self.labels = np.array(sites), np.array(labels)
        rng = np.random.default_rng(0)
        held_out = np.zeros(self.patients.max() + 1, dtype=bool)
        for site in np.unique(self.sites):
            mine = np.unique(self.patients[self.sites == site])
            held_out[rng.permutation(mine)[: -(-len(mine) // 4)]] = True
        self.training = ~held_out[self.patients]

    def read(self, rows: npt.NDArray[np.int64]) -> Volumes:
        return self.volumes[rows]


@functools.cache
def phantoms(seed: int, scans: int = 120, shape: tuple[int, int, int] = SHAPE) -> Scans:
    """Render scans of 4 sites, which are the same for every seed."""
    config = PhantomConfig(scans=scans, sites=4, shape=shape, seed=1)
    plans = plan_scans(draw_sites(config), 1000 + seed)
    return Scans(
        np.stack([render_plan(replace(plan), shape) for plan in plans]),
        [plan.patient_id for plan in plans],
        [plan.site for plan in plans],
        [plan.patient.label for plan in plans],
    )


def as_floats(volumes: Volumes) -> FloatArray:
    return volumes.reshape(len(volumes), -1).astype(np.float64)
