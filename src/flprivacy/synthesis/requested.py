"""Which scans a generator is asked for, one by one: the conditions of each."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from flprivacy.core.array_types import FloatArray, IntArray
from flprivacy.core.cohort import CohortMeta
from flprivacy.core.errors import ConfigError
from flprivacy.synthesis.conditions import AGE_BANDS, SEX_CATEGORIES, Conditions
from flprivacy.synthesis.config import DEFAULT, TRAINING, UNIFORM, GeneratorConfig, SynthesisConfig
from flprivacy.synthesis.folder import GeneratorLineage, GeneratorRecord
from flprivacy.training.config import MOST_SYNTHETIC

Shares = FloatArray

_STREAM = 110


def requested(config: SynthesisConfig, lineage: GeneratorLineage) -> Conditions:
    """Return the conditions of the scans to make, sorted by site and class, each mix as often as it was asked for.

    Numbers of each site and class are rounded so that their sum is ``config.scans`` (largest remainders). Sex and age
    band are drawn as they occur among the training scans of that site and class, or uniformly.

    Raises:
        ConfigError: a site or class that the generator does not know, more scans than make sense, a generator whose
            scans have no class, or a private generator that is asked for the mix of its training scans.
    """
    record = lineage.generator
    asked = config if config.scans else replace(config, scans=lineage.n_train)
    check_request(asked, record.config, record, n_train=lineage.n_train)
    known = np.array(lineage.histogram, dtype=np.int64).reshape(-1, 5)
    private = record.config.privacy is not None
    uniform = config.mix == UNIFORM or (config.mix == DEFAULT and private)
    shares = _shares(config, record, known, uniform=uniform)
    counts = _rounded(shares.ravel() / shares.sum(), asked.scans).reshape(shares.shape)
    site, label = (np.repeat(index.ravel(), counts.ravel()) for index in np.indices(counts.shape))
    rng = np.random.default_rng([_STREAM, config.seed])
    people = _people(site, label, known, rng, uniform=uniform or private)
    return Conditions(
        site=site,
        label=label,
        sex=people[:, 0] if "sex" in record.conditions else None,
        age_band=people[:, 1] if "age" in record.conditions else None,
    )


def check_request(
    config: SynthesisConfig, generator: GeneratorConfig, known: CohortMeta | GeneratorRecord, *, n_train: int
) -> None:
    """Refuse scans that a generator cannot make, or that make no sense; also before it is trained.

    Args:
        config: the scans, with their number.
        generator: how the generator is trained.
        known: what names its sites and classes.
        n_train: scans that it is trained on.

    Raises:
        ConfigError: what is wrong, and what to do.
    """
    for kind, shares, names in (
        ("site", config.sites, known.site_names),
        ("class", config.classes, known.class_names),
    ):
        unknown = sorted(set(shares) - set(names))
        if unknown:
            raise ConfigError(f"the generator knows no {kind} {unknown[0]!r}; it is trained on {', '.join(names)}")
    if "label" not in generator.conditions:
        raise ConfigError("the generator's scans have no class to train on; train it with 'label' among its conditions")
    most = int(MOST_SYNTHETIC * n_train)
    if config.scans > most:
        raise ConfigError(
            f"{config.scans} synthetic scans of a generator that is trained on {n_train}: at most {most} make sense, "
            f"{MOST_SYNTHETIC:g} for each; it knows no more than those that it was trained on, so further ones show "
            "nothing new and are as many more chances that one repeats a patient's; ask for fewer"
        )
    if config.mix == TRAINING and generator.privacy is not None:
        raise ConfigError(
            "the generator is private, and its epsilon does not cover how many training scans each site and class has; "
            "ask for mix 'uniform', or for shares that are public"
        )


def _shares(config: SynthesisConfig, record: GeneratorRecord, known: IntArray, *, uniform: bool) -> Shares:
    """Return (site, class) shares, of any sum."""
    shares = np.zeros((len(record.site_names), len(record.class_names)))
    np.add.at(shares, (known[:, 0], known[:, 1]), known[:, 4])
    of_site = shares.sum(axis=1)
    if uniform:
        shares, of_site = np.ones_like(shares), np.ones_like(of_site)
    within = shares / np.maximum(shares.sum(axis=1, keepdims=True), 1e-300)
    if config.classes:
        within = np.tile(_named(config.classes, record.class_names), (len(of_site), 1))
    if config.sites:
        of_site = _named(config.sites, record.site_names)
    joint: Shares = of_site[:, None] * within
    return joint


def _named(shares: Mapping[str, float], names: Sequence[str]) -> Shares:
    found = np.array([shares.get(name, 0.0) for name in names])
    normed: Shares = found / found.sum()
    return normed


def _rounded(shares: Shares, n: int) -> IntArray:
    """Return whole numbers in proportion to shares of sum 1, of sum n: the largest remainders are rounded up."""
    counts = np.floor(shares * n + 1e-9).astype(np.int64)
    order = np.argsort(-(shares * n - counts), kind="stable")
    counts[order[: n - counts.sum()]] += 1
    return counts


def _people(site: IntArray, label: IntArray, known: IntArray, rng: np.random.Generator, *, uniform: bool) -> IntArray:
    """Return (n, 2) sex and age band of each scan: those of a random training scan of its site and class."""
    known_ones = len(SEX_CATEGORIES) - 1, len(AGE_BANDS) - 1  # the last category is that of who is not known
    found = rng.integers(known_ones, size=(len(site), 2))
    if uniform:
        return found
    for one in np.unique(np.stack([site, label], axis=1), axis=0):
        chosen = ((site == one[0]) & (label == one[1])).nonzero()[0]
        alike = known[(known[:, :2] == one).all(axis=1)]
        if len(alike):
            found[chosen] = alike[rng.choice(len(alike), size=len(chosen), p=alike[:, 4] / alike[:, 4].sum()), 2:4]
    return found
