"""How often the test for copies flags generators of fresh phantoms, and how often copiers, over 100 cohorts.

Every repetition has patients of its own, at the same hospitals: a cohort of real phantoms, of which a quarter of each
hospital's patients is held out, and as many fresh ones. Generators return the fresh ones, copies of training scans
(as they are, shifted, mirrored, blurred; also turned, warped and zoomed, which the space is not made for), copies of 5%
of 1,000 samples among fresh ones, and copies of 20 patients alone.

    python tests/benchmarks/bench_memorisation.py [--repetitions 100] [--scans 240] [--edge 32] [--only NAME ...]

Repetitions that are done are kept in the file, one line each, and are not made again.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from flprivacy.cohorts.phantom.config import PhantomConfig
from flprivacy.cohorts.phantom.generate import ScanPlan, plan_scans, render_plan
from flprivacy.cohorts.phantom.sites import draw_sites
from flprivacy.cohorts.sampling import split_patients
from flprivacy.core.array_types import Volumes
from flprivacy.core.generator_audit import COPIES
from flprivacy.core.tensorflow_environment import available_cores
from flprivacy.synthesis.checks import planting
from flprivacy.synthesis.checks.likeness import Likeness, fit_likeness
from flprivacy.synthesis.checks.memorisation import Evidence, find_copies
from flprivacy.synthesis.checks.planting import plant

Way = Callable[[Volumes, np.random.Generator], Volumes]
IntArray = npt.NDArray[np.int64]

FRESH, FEW, TWENTY = "fresh", "5% of 1,000", "20 patients"
_MANY = 1000  # samples


def _moved(volume: Volumes, matrix: npt.NDArray[np.float64]) -> Volumes:
    """Return a volume under a map of the slice plane around its centre; what comes in is as its edge."""
    centre = (np.array(volume.shape[1:]) - 1.0) / 2.0
    offset = centre - matrix @ centre
    planes = [ndimage.affine_transform(p.astype(np.float32), matrix, offset, order=1, mode="nearest") for p in volume]
    return np.rint(np.stack(planes)).astype(np.uint8)


def turned(volume: Volumes, rng: np.random.Generator) -> Volumes:
    """Turn by 5 degrees one way or the other."""
    angle = np.deg2rad(5.0) * rng.choice([-1.0, 1.0])
    return _moved(volume, np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]))


def zoomed(volume: Volumes, rng: np.random.Generator) -> Volumes:
    """Make larger or smaller by 5%."""
    return _moved(volume, np.eye(2) * (1.0 + 0.05 * rng.choice([-1.0, 1.0])))


def warped(volume: Volumes, rng: np.random.Generator) -> Volumes:
    """Move every place of the slice plane smoothly, by 3% of its edge on average."""
    size = volume.shape[1]
    field = np.stack([ndimage.gaussian_filter(rng.normal(size=volume.shape[1:]), size / 6.0) for _ in range(2)])
    field *= 0.03 * size / np.sqrt(np.square(field).mean())
    places = np.mgrid[: volume.shape[1], : volume.shape[2]] + field
    planes = [ndimage.map_coordinates(p.astype(np.float32), places, order=1, mode="nearest") for p in volume]
    return np.rint(np.stack(planes)).astype(np.uint8)


WAYS: dict[str, Way] = {
    "copies": planting.same,
    "shifted": planting.shifted,
    "mirrored": planting.mirrored,
    "blurred": planting.blurred,
    "turned": turned,
    "zoomed": zoomed,
    "warped": warped,
}

NAMES = (FRESH, *WAYS, FEW, TWENTY)


def _rendered(plans: Sequence[ScanPlan], shape: tuple[int, int, int]) -> Volumes:
    return np.stack([render_plan(plan, shape) for plan in plans])


class Cohort:
    """Real phantoms and fresh ones of the same hospitals, rendered."""

    def __init__(self, seed: int, scans: int, edge: int, sites: int = 10) -> None:
        shape = (edge // 4, edge, edge)
        drawn = draw_sites(PhantomConfig(scans=scans, sites=sites, shape=shape, seed=1))
        plans, others = plan_scans(drawn, 10_000 + seed), plan_scans(drawn, 20_000 + seed)
        more = [plan for extra in range(4) for plan in plan_scans(drawn, 30_000 + 1000 * extra + seed)]
        self.volumes = _rendered(plans, shape)
        self.fresh = _rendered(others, shape)
        self._more = partial(_rendered, more[: _MANY - len(others)], shape)
        names, self.sites = [plan.patient_id for plan in plans], np.array([plan.site for plan in plans])
        split = np.asarray(split_patients(names, self.sites.tolist(), test_fraction=0.25, seed=seed))
        self.training = split == "train"
        _, self.patients = np.unique(names, return_inverse=True)

    def more(self) -> Volumes:
        """Render more fresh ones, so that there are 1,000."""
        return self._more()


def generators(cohort: Cohort, seed: int) -> dict[str, Callable[[], Volumes]]:
    """Return name -> what each generator makes, rendered when asked for."""
    rng = np.random.default_rng(seed)
    members, n = np.flatnonzero(cohort.training), len(cohort.fresh)
    patients = rng.permutation(np.unique(cohort.patients[members]))[:20]
    twenty = np.flatnonzero(np.isin(cohort.patients, patients))

    def copied(rows: IntArray, way: Way) -> Volumes:
        return np.stack([way(cohort.volumes[row], rng) for row in rows])

    def among(made: Volumes) -> Volumes:
        copies = round(0.05 * len(made))
        return np.concatenate([copied(rng.choice(members, copies, replace=False), planting.shifted), made[copies:]])

    found: dict[str, Callable[[], Volumes]] = {FRESH: lambda: cohort.fresh}
    found |= {name: partial(lambda way: copied(rng.choice(members, n // 2), way), way) for name, way in WAYS.items()}
    found[FEW] = lambda: among(np.concatenate([cohort.fresh, cohort.more()]))
    found[TWENTY] = lambda: copied(rng.choice(twenty, n // 2), planting.blurred)
    return found


def repetition(seed: int, scans: int, edge: int, wanted: Sequence[str]) -> dict[str, list[float]]:
    """Return generator -> [flagged, p-value, suspects] in one cohort."""
    cohort = Cohort(seed, scans, edge)
    likeness = fit_likeness(lambda rows: cohort.volumes[rows], len(cohort.volumes))
    evidence = _evidence(cohort, likeness, seed)
    made = generators(cohort, seed)
    found = {name: find_copies(evidence(made[name]()), seed=seed) for name in wanted}
    return {name: [float(one.verdict == COPIES), one.p_value, one.suspects] for name, one in found.items()}


def _evidence(cohort: Cohort, likeness: Likeness, seed: int) -> Callable[[Volumes], Evidence]:
    first = np.unique(cohort.patients, return_index=True)[1]
    sources = np.random.default_rng([seed, 9]).choice(np.flatnonzero(cohort.training), 40, replace=False)
    planted = plant(cohort.volumes[sources], seed=seed)

    def near(volumes: Volumes, own: IntArray | None = None):  # type: ignore[no-untyped-def]
        return likeness.neighbours(lambda rows: volumes[rows], len(volumes), cohort.patients, own)

    real, copies = near(cohort.volumes, cohort.patients), near(planted)
    return lambda made: Evidence(
        synthetic=near(made),
        real=real,
        owners=cohort.patients,
        training=cohort.training[first],
        strata=cohort.sites[first],
        planted=copies,
        planted_sources=cohort.patients[sources],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=100)
    parser.add_argument("--scans", type=int, default=240)
    parser.add_argument("--edge", type=int, default=32, help="Pixels of a slice's edge; 64 as in the demo.")
    parser.add_argument("--out", type=Path, default=Path("bench_memorisation.jsonl"))
    parser.add_argument("--only", nargs="*", default=NAMES, choices=NAMES, help="Generators to try; all if left out.")
    asked = parser.parse_args()
    size, done = [asked.scans, asked.edge], dict[int, dict[str, list[float]]]()
    for row in map(json.loads, asked.out.read_text().splitlines() if asked.out.exists() else []):
        if row["size"] == size:
            done.setdefault(row["seed"], {}).update(row["found"])
    todo = [seed for seed in range(asked.repetitions) if not set(asked.only) <= set(done.get(seed, {}))]
    make = partial(repetition, scans=asked.scans, edge=asked.edge, wanted=asked.only)
    with ProcessPoolExecutor(available_cores(), get_context("spawn")) as pool, asked.out.open("a") as stream:
        for seed, found in zip(todo, pool.map(make, todo), strict=True):
            done.setdefault(seed, {}).update(found)
            stream.write(json.dumps({"seed": seed, "size": size, "found": found}) + "\n")
            stream.flush()
    print(f"cohorts of {asked.scans} scans with slices of {asked.edge} x {asked.edge}")
    for name in NAMES:
        rows = np.array([found[name] for found in done.values() if name in found])
        if len(rows):
            flagged, usual = rows[:, 0].sum(), np.sum(rows[:, 1] <= 0.05)
            print(f"{name:14} {len(rows):4} cohorts   flagged {flagged:4.0f}   p <= .05 {usual:4}")


if __name__ == "__main__":
    main()
