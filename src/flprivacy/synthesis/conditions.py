"""What a scan is generated for: its site, disease class, the patient's sex and age band."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from flprivacy.core.array_types import Float32Array, IntArray
from flprivacy.core.cohort import SEXES, Cohort
from flprivacy.core.errors import ConfigError

AGE_EDGES_YEARS = (40.0, 50.0, 60.0, 70.0)
AGE_BANDS = ("under 40", "40 to 49", "50 to 59", "60 to 69", "70 and over", "unknown")
SEX_CATEGORIES = (*SEXES, "unknown")


@dataclass(frozen=True, kw_only=True, eq=False)
class Conditions:
    """What each of n scans is generated for.

    Attributes:
        site: (n,) index into the cohort's site names.
        label: (n,) index into its class names.
        sex: (n,) index into SEX_CATEGORIES; None where a generator is not conditioned on it.
        age_band: (n,) index into AGE_BANDS; None likewise.
    """

    site: IntArray
    label: IntArray
    sex: IntArray | None = None
    age_band: IntArray | None = None

    def __len__(self) -> int:
        return len(self.site)

    def take(self, indices: npt.ArrayLike) -> "Conditions":
        """Return the conditions of some scans, in the order asked."""
        chosen = np.asarray(indices, dtype=np.int64)
        site, label, *rest = (None if a is None else a[chosen] for a in self._columns())
        if site is None or label is None:
            raise ConfigError("site and label are always known; give both")
        return Conditions(site=site, label=label, sex=rest[0], age_band=rest[1])

    def _columns(self) -> tuple[IntArray | None, ...]:
        return self.site, self.label, self.sex, self.age_band


@dataclass(frozen=True, kw_only=True)
class Categories:
    """How many categories each condition of a generator has, in the order of ``names``."""

    names: tuple[str, ...]
    counts: tuple[int, ...]

    @property
    def width(self) -> int:
        """Length of a scan's encoding."""
        return sum(self.counts)

    def encode(self, conditions: Conditions) -> Float32Array:
        """Return float32 (n, width): one-hot vectors of the conditions, side by side.

        Raises:
            ConfigError: a condition that the generator needs is missing, or an index out of range.
        """
        found = {"site": conditions.site, "label": conditions.label, "sex": conditions.sex, "age": conditions.age_band}
        parts = [np.zeros((len(conditions), 0), dtype=np.float32)]
        for name, count in zip(self.names, self.counts, strict=True):
            index = found[name]
            if index is None:
                raise ConfigError(f"the generator is conditioned on {name}, which is missing; give one for each scan")
            if index.shape != (len(conditions),) or (len(index) and not 0 <= index.min() <= index.max() < count):
                raise ConfigError(f"{name} is {index.tolist()[:8]}; give one of 0 to {count - 1} for each scan")
            parts.append(np.eye(count, dtype=np.float32)[index])
        return np.concatenate(parts, axis=1)

    def mistaken(
        self, encoded: Float32Array, generator: np.random.Generator, *, one_site: bool = False
    ) -> Float32Array:
        """Return encoded conditions of scans, each with one condition of its neighbour's in place of its own.

        Where all are of one site, no neighbour is of another: the mistaken site is any other one.
        """
        if not self.names:
            return encoded
        wrong, ends = encoded.copy(), np.cumsum(self.counts)
        chosen = generator.integers(len(self.names), size=len(encoded))
        for number, (start, end) in enumerate(zip(ends - self.counts, ends, strict=True)):
            others = np.roll(encoded[:, start:end], 1, axis=0)
            if one_site and self.names[number] == "site":
                away = generator.integers(1, max(2, self.counts[number]), size=len(encoded))
                site = encoded[:, start:end].argmax(axis=1)
                others = np.eye(self.counts[number], dtype=np.float32)[(site + away) % self.counts[number]]
            wrong[chosen == number, start:end] = others[chosen == number]
        return wrong

    def uniform(self, n: int, generator: np.random.Generator, *, site: int | None = None) -> Conditions:
        """Draw the conditions of n scans, each category as likely as any other, of one site where one is named.

        What a generator is not conditioned on is 0 (site, label) or None.
        """
        drawn = {name: generator.integers(k, size=n) for name, k in zip(self.names, self.counts, strict=True)}
        if site is not None:
            drawn["site"] = np.full(n, site)
        nothing = np.zeros(n, dtype=np.int64)
        return Conditions(
            site=drawn.get("site", nothing),
            label=drawn.get("label", nothing),
            sex=drawn.get("sex"),
            age_band=drawn.get("age"),
        )


def categories(names: Sequence[str], *, sites: int, classes: int) -> Categories:
    """Return the categories of a generator that is conditioned on ``names``."""
    counts = {"site": sites, "label": classes, "sex": len(SEX_CATEGORIES), "age": len(AGE_BANDS)}
    return Categories(names=tuple(names), counts=tuple(counts[name] for name in names))


def conditions_of(cohort: Cohort, rows: npt.NDArray[np.integer], names: Sequence[str]) -> Conditions:
    """Return the conditions of a cohort's scans, (n,) row numbers; sex and age only where ``names`` asks for them."""
    manifest = cohort.manifest.iloc[rows]
    sex, age = manifest["sex"], manifest["age_years"].to_numpy(dtype=np.float64)
    known = np.array([SEX_CATEGORIES.index(s) if s in SEXES else len(SEXES) for s in sex], dtype=np.int64)
    band = np.where(np.isnan(age), len(AGE_BANDS) - 1, np.digitize(age, AGE_EDGES_YEARS)).astype(np.int64)
    return Conditions(
        site=manifest["site_id"].to_numpy(dtype=np.int64),
        label=manifest["label"].to_numpy(dtype=np.int64),
        sex=known if "sex" in names else None,
        age_band=band if "age" in names else None,
    )


def histogram_of(cohort: Cohort, rows: npt.NDArray[np.integer]) -> tuple[tuple[int, ...], ...]:
    """Return (site, class, sex, age band, scans) for each mix of them that occurs, ascending: an auditors' matter."""
    found = conditions_of(cohort, rows, ("sex", "age"))
    columns = np.stack([c for c in (found.site, found.label, found.sex, found.age_band) if c is not None], axis=1)
    mixes, counts = np.unique(columns, axis=0, return_counts=True)
    return tuple((*mix, count) for mix, count in zip(mixes.tolist(), counts.tolist(), strict=True))
