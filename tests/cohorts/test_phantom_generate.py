"""The cohort: deterministic for any number of workers, whole, and null where it must be."""

from pathlib import Path

import numpy as np
import pytest

from flprivacy.cohorts.format import read_volumes, verify_cohort
from flprivacy.cohorts.phantom import generate
from flprivacy.cohorts.phantom.config import PhantomConfig
from flprivacy.cohorts.phantom.generate import phantom_cohort, plan_scans, render_plan
from flprivacy.cohorts.phantom.sites import draw_sites, site_sizes
from flprivacy.core.cohort import Cohort
from flprivacy.core.errors import ConfigError

CONFIG = PhantomConfig(scans=40, sites=3, shape=(9, 32, 48), seed=5)
BLOCKS = [  # mean grey levels of one scan over 3 slices x 8 rows x 8 columns
    [
        [3.76, 4.21, 7.59, 9.26, 4.32, 4.09],
        [18.69, 106.54, 115.16, 115.14, 111.90, 22.28],
        [67.34, 174.92, 144.46, 155.83, 168.75, 65.42],
        [12.22, 15.12, 16.77, 16.86, 15.29, 12.22],
    ],
    [
        [3.80, 26.67, 36.72, 43.07, 29.76, 4.20],
        [56.21, 101.16, 121.29, 129.49, 100.49, 57.56],
        [68.62, 116.58, 130.26, 150.10, 115.20, 63.15],
        [12.09, 15.16, 16.88, 16.60, 15.34, 12.31],
    ],
    [
        [4.27, 25.99, 51.88, 54.28, 30.60, 4.14],
        [79.09, 141.83, 161.32, 164.00, 121.26, 83.90],
        [91.08, 131.19, 153.72, 162.86, 121.05, 84.08],
        [12.10, 14.89, 16.01, 16.55, 15.15, 12.04],
    ],
]


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return phantom_cohort(CONFIG, tmp_path_factory.mktemp("phantom") / "cohort")


def test_cohort_is_whole_and_says_what_it_holds(cohort: Cohort) -> None:
    again = verify_cohort(cohort.folder)
    assert again.meta == cohort.meta
    assert again.meta.shape == (9, 32, 48)
    assert again.meta.window_hu == (-1000.0, 400.0)
    assert again.meta.spacing_mm is None
    assert again.meta.site_names == ("site-00", "site-01", "site-02")
    assert again.meta.class_names == ("normal", "covid", "pneumonia")
    counts = again.manifest["site_id"].value_counts().sort_index()
    assert tuple(counts) == site_sizes(40, 3)
    assert again.manifest["site_id"].is_monotonic_increasing
    assert again.manifest["sex"].isin(["F", "M"]).all()
    assert again.manifest["age_years"].between(18, 94).all()
    for _, site in again.manifest.groupby("site_id"):
        assert set(site["split"]) == {"train", "test"}


def test_no_patient_is_in_both_splits_and_some_have_two_scans(cohort: Cohort) -> None:
    patients = cohort.manifest.groupby("patient_id")
    assert (patients["split"].nunique() == 1).all()
    assert patients.size().max() == 2
    assert (patients[["sex", "age_years", "label", "site_id"]].nunique() == 1).all().all()


def test_repeat_scans_share_the_anatomy_but_not_the_noise(cohort: Cohort) -> None:
    twice = cohort.manifest["patient_id"].duplicated(keep=False)
    rows = cohort.manifest[twice].groupby("patient_id").groups.values()
    volumes = [read_volumes(cohort, np.asarray(r, dtype=np.int64)).astype(float) for r in rows]
    assert volumes
    assert all((v[0] != v[1]).mean() > 0.2 for v in volumes)
    sites = draw_sites(PhantomConfig(scans=40, sites=3, signature_strength=1.0, case_mix_strength=1.0, seed=5))
    plans = {(p.patient_id, p.repeat): p for p in plan_scans(sites, 5)}
    for patient in {p for p, repeat in plans if repeat == 1}:
        first, second = plans[patient, 0], plans[patient, 1]
        assert first.patient == second.patient
        assert first.patient_seeds == second.patient_seeds
        assert first.scan_seeds != second.scan_seeds
        assert first.acquisition != second.acquisition


def test_about_an_eighth_of_the_patients_have_two_scans() -> None:
    sites = draw_sites(PhantomConfig(scans=1500, sites=21, signature_strength=1.0, case_mix_strength=1.0, seed=0))
    plans = plan_scans(sites, 0)
    assert len(plans) == 1500
    patients = {p.patient_id for p in plans}
    assert 0.10 < sum(p.repeat for p in plans) / len(patients) < 0.15


def test_any_number_of_workers_gives_the_same_bytes(
    cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generate, "_WORTH_VOXELS", 0)  # so that processes start for this small cohort too
    pooled = phantom_cohort(CONFIG, tmp_path / "cohort", workers=2)
    assert pooled.meta.digest == cohort.meta.digest
    assert list(pooled.manifest["sha256"]) == list(cohort.manifest["sha256"])


def test_the_seed_decides_and_the_name_does_not() -> None:
    def first(seed: int) -> np.ndarray:
        sites = draw_sites(PhantomConfig(scans=12, sites=3, signature_strength=1.0, case_mix_strength=1.0, seed=seed))
        return render_plan(plan_scans(sites, seed)[0], (8, 32, 32))

    np.testing.assert_array_equal(first(1), first(1))
    assert (first(1) != first(2)).mean() > 0.2


def test_no_worker_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="workers is 0; must be at least 1"):
        phantom_cohort(CONFIG, tmp_path / "cohort", workers=0)
    assert not (tmp_path / "cohort").exists()


def _statistics(volumes: np.ndarray) -> np.ndarray:
    """(scan, statistic): brightness, contrast, grain along each axis and what lies under the body."""
    v = volumes.astype(np.float64)
    grain = [np.abs(np.diff(v, n=2, axis=axis)).mean(axis=(1, 2, 3)) for axis in (1, 2, 3)]
    table = v[:, :, -8:].mean(axis=(1, 2, 3))
    return np.stack([v.mean(axis=(1, 2, 3)), v.std(axis=(1, 2, 3)), *grain, table], axis=1)


def _between(values: np.ndarray, sites: np.ndarray) -> float:
    """Share of the variance that lies between sites, mean over statistics."""
    means = np.stack([values[sites == s].mean(axis=0) for s in np.unique(sites)])
    weights = np.unique(sites, return_counts=True)[1][:, None]
    between = (weights * (means - values.mean(axis=0)) ** 2).sum(axis=0)
    return float((between / ((values - values.mean(axis=0)) ** 2).sum(axis=0)).mean())


def _permutation_p(signature: float, mix: float, seed: int) -> float:
    sites = draw_sites(
        PhantomConfig(scans=130, sites=21, signature_strength=signature, case_mix_strength=mix, seed=seed)
    )
    plans = [p for p in plan_scans(sites, seed) if p.repeat == 0 and p.site in (1, 9, 11, 20)]
    values = _statistics(np.stack([render_plan(p, (8, 32, 32)) for p in plans]))
    labels = np.array([p.site for p in plans])
    rng = np.random.default_rng(seed)
    null = [_between(values, rng.permutation(labels)) for _ in range(400)]
    return (1 + sum(n >= _between(values, labels) for n in null)) / 401


def test_images_of_sites_are_exchangeable_at_strength_zero_and_not_at_one() -> None:
    null = np.array([_permutation_p(0.0, 0.0, seed) for seed in range(5)])
    assert null.min() > 0.01
    assert null.max() > 0.2
    assert max(_permutation_p(1.0, 0.0, seed) for seed in range(2)) < 0.01


def test_faster_code_renders_the_same_scans() -> None:
    sites = draw_sites(PhantomConfig(scans=12, sites=3, signature_strength=1.0, case_mix_strength=1.0, seed=2))
    volume = render_plan(plan_scans(sites, 2)[1], (9, 32, 48)).astype(np.float64)
    blocks = volume.reshape(3, 3, 4, 8, 6, 8).mean(axis=(1, 3, 5))  # means, as rounding differs between processors
    np.testing.assert_allclose(blocks, BLOCKS, atol=0.05)
