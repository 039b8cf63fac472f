"""The sites: the reference study's heavy-tailed sizes, each site's scanner and the patients that it sees."""

from dataclasses import dataclass

import numpy as np

from flprivacy.cohorts.phantom.config import PhantomConfig
from flprivacy.cohorts.phantom.patients import AGE_MEAN_YEARS, BMI_MEAN, CLASS_SHARES, FEMALE_SHARE, CaseMix
from flprivacy.cohorts.phantom.scanner import Scanner, draw_scanner

# Scans of the 21 hospitals of arXiv:2303.13567, in the order of that study.
REFERENCE_SITE_SIZES = (
    4167, 304, 60, 234, 74, 250, 61, 90, 319, 764, 174, 1110, 272, 51, 237, 433, 91, 169, 807, 203, 1366,
)  # fmt: skip
MIN_SITE_SCANS = 4

# Spread between sites at case-mix strength 1.
CLASS_LOG_SD = 2.2
FEMALE_LOGIT_SD = 0.30
AGE_MEAN_SD_YEARS = 5.0
BMI_MEAN_SD = 1.5

_SITE_STREAM = 1


@dataclass(frozen=True, kw_only=True)
class Site:
    """One site."""

    name: str  # name of the site and of its volume file
    scans: int
    scanner: Scanner
    mix: CaseMix


def site_sizes(scans: int, sites: int) -> tuple[int, ...]:
    """Scale the first ``sites`` reference sizes to a total of ``scans``, each at least MIN_SITE_SCANS.

    Largest remainders are rounded up, so that the total is exact and the order of the sizes is kept.
    """
    weights = np.array(REFERENCE_SITE_SIZES[:sites], dtype=np.float64)
    small = np.zeros(sites, dtype=bool)
    while True:
        left = scans - MIN_SITE_SCANS * int(small.sum())
        quota = np.where(small, MIN_SITE_SCANS, weights / max(weights[~small].sum(), 1.0) * left)
        below = ~small & (quota < MIN_SITE_SCANS)
        if not below.any():
            break
        small |= below
    sizes = np.floor(quota + 1e-9).astype(np.int64)
    order = np.argsort(-(quota - sizes), kind="stable")
    sizes[order[: scans - int(sizes.sum())]] += 1
    return tuple(int(size) for size in sizes)


def draw_case_mix(rng: np.random.Generator, strength: float) -> CaseMix:
    """Draw a site's patients; at ``strength`` 0 they are everyone's."""
    tilt = strength * CLASS_LOG_SD * rng.standard_normal(len(CLASS_SHARES))
    shares = np.array(CLASS_SHARES) * np.exp(tilt)
    shares /= shares.sum()
    logit = np.log(FEMALE_SHARE / (1.0 - FEMALE_SHARE)) + strength * FEMALE_LOGIT_SD * rng.standard_normal()
    return CaseMix(
        class_shares=tuple(float(s) for s in shares),
        female_share=float(1.0 / (1.0 + np.exp(-logit))),
        age_mean_years=float(
            np.clip(AGE_MEAN_YEARS + strength * AGE_MEAN_SD_YEARS * rng.standard_normal(), 35.0, 78.0)
        ),
        bmi_mean=float(np.clip(BMI_MEAN + strength * BMI_MEAN_SD * rng.standard_normal(), 21.0, 34.0)),
    )


def draw_sites(config: PhantomConfig) -> tuple[Site, ...]:
    """Draw all sites. A site depends on the seed and its own place alone, not on how many others there are."""
    drawn = []
    for index, size in enumerate(site_sizes(config.scans, config.sites)):
        of_scanner, of_mix = (np.random.default_rng((config.seed, _SITE_STREAM, index, part)) for part in (0, 1))
        drawn.append(
            Site(
                name=f"site-{index:02d}",
                scans=size,
                scanner=draw_scanner(of_scanner, config.signature_strength),
                mix=draw_case_mix(of_mix, config.case_mix_strength),
            )
        )
    return tuple(drawn)
