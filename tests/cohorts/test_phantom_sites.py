"""Site sizes, scanners and case mix."""

import numpy as np
import pytest
from scipy import stats

from flprivacy.cohorts.phantom.config import PhantomConfig
from flprivacy.cohorts.phantom.generate import plan_scans
from flprivacy.cohorts.phantom.patients import CLASS_SHARES, CaseMix
from flprivacy.cohorts.phantom.scanner import TRAITS
from flprivacy.cohorts.phantom.sites import REFERENCE_SITE_SIZES, draw_sites, site_sizes
from flprivacy.core.errors import ConfigError


def _sites(signature: float, mix: float, *, seed: int = 0, sites: int = 21, scans: int = 1600):  # type: ignore[no-untyped-def]
    config = PhantomConfig(scans=scans, sites=sites, signature_strength=signature, case_mix_strength=mix, seed=seed)
    return draw_sites(config)


@pytest.mark.parametrize(
    ("scans", "sites"), [(84, 21), (90, 21), (1600, 21), (11236, 21), (20000, 21), (12, 3), (100, 1), (777, 5)]
)
def test_sizes_have_the_exact_total_and_keep_the_order(scans: int, sites: int) -> None:
    sizes = np.array(site_sizes(scans, sites))
    reference = np.array(REFERENCE_SITE_SIZES[:sites])
    assert sizes.sum() == scans
    assert sizes.min() >= 4
    for i in range(sites):
        assert (sizes[reference > reference[i]] >= sizes[i]).all()


def test_sizes_at_the_reference_total_are_the_references() -> None:
    assert sum(REFERENCE_SITE_SIZES) == 11236
    assert site_sizes(11236, 21) == REFERENCE_SITE_SIZES


def test_sizes_without_small_sites_are_within_one_of_the_exact_share() -> None:
    sizes = site_sizes(5000, 21)
    shares = np.array(REFERENCE_SITE_SIZES) / 11236 * 5000
    assert np.abs(sizes - shares).max() < 1.0
    # Largest remainders: whoever was rounded up had a remainder no smaller than whoever was rounded down.
    up, remainder = np.array(sizes) > shares, shares - np.floor(shares)
    assert remainder[up].min() >= remainder[~up].max()


@pytest.mark.parametrize(("scans", "sites"), [(83, 21), (100, 22), (100, 0)])
def test_sizes_that_cannot_be_are_refused(scans: int, sites: int) -> None:
    with pytest.raises(ConfigError, match=r"at least 4 per site|between 1 and 21"):
        PhantomConfig(scans=scans, sites=sites)


def test_without_strength_every_site_is_the_common_one() -> None:
    for site in _sites(0.0, 0.0):
        assert site.scanner == (0.0,) * len(TRAITS)
        assert site.mix.class_shares == pytest.approx(CLASS_SHARES)
        assert (site.mix.female_share, site.mix.age_mean_years, site.mix.bmi_mean) == pytest.approx(
            (CaseMix().female_share, CaseMix().age_mean_years, CaseMix().bmi_mean)
        )


def test_scanners_scale_with_the_strength_and_ignore_the_case_mix() -> None:
    one, half, other = _sites(1.0, 1.0), _sites(0.5, 0.0), _sites(1.0, 1.0, seed=1)
    for a, b in zip(one, half, strict=True):
        np.testing.assert_allclose(np.array(a.scanner) / 2.0, b.scanner)
    assert len({site.scanner for site in one}) == 21
    assert one[0].scanner != other[0].scanner


def test_a_site_does_not_depend_on_how_many_others_there_are() -> None:
    many, few = _sites(1.0, 1.0), _sites(1.0, 1.0, sites=3, scans=90)
    assert [(s.name, s.scanner, s.mix) for s in many[:3]] == [(s.name, s.scanner, s.mix) for s in few]


def test_case_mix_is_a_distribution_and_stays_in_range_at_full_strength() -> None:
    for seed in range(20):
        for site in _sites(3.0, 3.0, seed=seed):
            assert sum(site.mix.class_shares) == pytest.approx(1.0)
            assert 0.0 < site.mix.female_share < 1.0
            assert 30.0 < site.mix.age_mean_years < 80.0


def _p_values(signature: float, mix: float, seed: int) -> dict[str, float]:
    """Do the three largest sites differ in who they see and how they scan? Kruskal-Wallis over first scans."""
    plans = [p for p in plan_scans(_sites(signature, mix, seed=seed, scans=900), seed) if p.repeat == 0]
    groups = [[p for p in plans if p.site == site] for site in (0, 20, 11)]

    def p_value(get) -> float:  # type: ignore[no-untyped-def]
        return float(stats.kruskal(*[[get(p) for p in group] for group in groups]).pvalue)

    return {
        "age": p_value(lambda p: p.patient.age_years),
        "sex": p_value(lambda p: float(p.patient.sex == "F")),
        "label": p_value(lambda p: float(p.patient.label == 1)),
        "noise": p_value(lambda p: p.acquisition.noise_hu),
        "sharpness": p_value(lambda p: p.acquisition.sharpness),
        "table": p_value(lambda p: p.acquisition.table_curve_mm),
        "offset": p_value(lambda p: p.acquisition.offset_hu),
    }


def test_sites_are_exchangeable_at_strength_zero_and_differ_at_one() -> None:
    null = [_p_values(0.0, 0.0, seed) for seed in range(4)]
    values = np.array([list(p.values()) for p in null]).ravel()  # 28 p-values, uniform if sites are exchangeable
    assert values.min() > 0.001
    assert stats.kstest(values, "uniform").pvalue > 0.01
    scanners = _p_values(1.0, 0.0, 0)
    assert max(scanners[name] for name in ("noise", "sharpness", "table")) < 1e-4
    assert min(scanners[name] for name in ("age", "sex", "label")) > 0.001
    patients = _p_values(0.0, 1.0, 0)
    assert min(patients[name] for name in ("age", "sex", "label")) < 1e-3
    assert min(patients[name] for name in ("noise", "sharpness", "table", "offset")) > 0.001
