"""Leaks of unusual kinds, and harmless targets that look unusual, from arrays to verdict.

Every network tells a little of everybody: its features are random projections of what a scan shows. A planted target
has its leak in the place of a few of them. Attackers hold 350 scans, and are tried on 500 others.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from flprivacy.attacks.arrays import attack_features
from flprivacy.auditing.arrays import AttributeResult, audit_attribute
from flprivacy.auditing.config import AuditConfig
from flprivacy.core.audit import INCONCLUSIVE, LEAK

HELD_OUT, POOL, WIDTH, FRESH = 500, 700, 24, 5
SHARES = (0.3, 0.3, 0.22, 0.15, 0.03)  # of the hospitals
FloatArray = npt.NDArray[np.float64]


class World:
    """Patients of five hospitals, and networks that were never trained."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng([31, seed])
        self.scans = HELD_OUT + POOL
        self.site = self.rng.choice(len(SHARES), self.scans, p=SHARES)
        self.sex = self.rng.integers(0, 2, self.scans)
        self.age = self.rng.uniform(25, 92, self.scans)
        shown = np.column_stack([0.6 * np.eye(len(SHARES))[self.site], 0.5 * self.sign, 0.5 * self.aged])
        self.shown = np.column_stack([shown, np.zeros((self.scans, 13))]) + self.noise(20)
        self.fresh = [self.network() for _ in range(FRESH)]
        self._baselines: dict[str, FloatArray] = {}

    @property
    def sign(self) -> FloatArray:
        """(scan,) -1 or 1 by the patient's sex."""
        return 2.0 * self.sex - 1.0

    @property
    def aged(self) -> FloatArray:
        """(scan,) the age, centred and of spread 1."""
        return (self.age - 58.5) / 19.3

    def noise(self, *columns: int) -> FloatArray:
        return self.rng.normal(size=(self.scans, *columns))

    def directions(self) -> FloatArray:
        """(scan, 3) points on a sphere."""
        drawn = self.noise(3)
        return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)

    def network(self) -> FloatArray:
        features = np.tanh(self.shown @ self.rng.normal(size=(20, WIDTH)) / 4.5 + 0.3 * self.rng.normal(size=WIDTH))
        return (features - features.mean(axis=0)) / features.std(axis=0)

    def put(self, *columns: FloatArray) -> FloatArray:
        """Return a network's features, the first of which are replaced."""
        own = np.column_stack(columns)
        return np.column_stack([own, self.network()[:, own.shape[1] :]])

    def attack(self, features: npt.ArrayLike, attribute: str) -> FloatArray:
        x, truth = np.asarray(features), getattr(self, attribute.removesuffix("_years"))
        kind = "years" if attribute == "age_years" else "classes"
        return attack_features(x[:POOL], truth[:POOL], x[POOL:], range(5), kind=kind, exposed_fraction=0.5)

    def audit(self, features: npt.ArrayLike, attribute: str) -> AttributeResult:
        if attribute not in self._baselines:
            self._baselines[attribute] = np.stack([self.attack(one, attribute) for one in self.fresh])
        own, fresh = self.attack(features, attribute), self._baselines[attribute]
        if attribute == "age_years":
            own, fresh = own[..., 0], fresh[..., 0]
        return audit_attribute(
            getattr(self, attribute.removesuffix("_years"))[POOL:], own, baselines={"untrained": fresh},
            patients=np.arange(HELD_OUT), attribute=attribute, config=AuditConfig(bootstrap=200),
        )  # fmt: skip


@pytest.fixture(scope="module")
def world() -> World:
    return World(1)


def product(world: World, told: FloatArray) -> FloatArray:
    """Two features whose product alone tells something."""
    signs = np.sign(world.noise())
    return world.put((np.abs(world.noise()) + 0.3) * signs, told * signs)


def ratio(world: World, told: FloatArray) -> FloatArray:
    """Two features over several decades whose ratio alone tells something."""
    common = 3.0 * world.noise()
    return world.put(np.exp(0.5 * told + common), np.exp(common))


def with_gross_errors(world: World, features: FloatArray) -> FloatArray:
    """Each feature is far off in some thirty scans, in others than the next."""
    off = world.rng.random(features.shape) < 0.025
    return np.where(off, 1e6 * world.rng.normal(size=features.shape), features)


PLANTS: dict[str, tuple[str, Callable[[World], FloatArray]]] = {
    "one hospital of five": ("site", lambda w: w.put(4.0 * (w.site == 2) + w.noise())),
    "a hospital of 3% of the patients": ("site", lambda w: w.put(4.0 * (w.site == 4) + w.noise())),
    "the hospital of men": ("site", lambda w: w.put(w.sex[:, None] * 3.0 * np.eye(5)[w.site] + w.noise(5))),
    "the hospital's number in one feature": (
        "site",
        lambda w: w.put(np.array([3, 0, 4, 1, 2])[w.site] + 0.15 * w.noise()),
    ),
    "the age of women": ("age_years", lambda w: w.put(np.where(w.sex, 0.0, 2.0 * w.aged) + 0.4 * w.noise())),
    "ages above 70": ("age_years", lambda w: w.put(np.maximum(w.age - 70.0, 0.0) / 3.0 + 0.3 * w.noise())),
    "years by a product": ("age_years", lambda w: product(w, w.aged + 0.2 * w.noise())),
    "years by a length": ("age_years", lambda w: w.put(w.directions() * w.age[:, None] / 50.0)),
    "the sex of 60% of the patients": (
        "sex",
        lambda w: w.put(np.where(w.rng.random(w.scans) < 0.6, 3.0 * w.sign, 0.0) + w.noise()),
    ),
    "the sex by a sign, whatever the size": ("sex", lambda w: w.put(w.sign * 10.0 ** w.rng.uniform(-6, 6, w.scans))),
    "the sex by a ratio": ("sex", lambda w: ratio(w, w.sign + 0.5 * w.noise())),
    "years by a ratio": ("age_years", lambda w: ratio(w, w.aged + 0.2 * w.noise())),
    "the hospital by a power of ten": (
        "site",
        lambda w: w.put(10.0 ** (3.0 * np.array([3, 0, 4, 1, 2])[w.site] + w.noise())),
    ),
    "beside gross errors in every feature": ("sex", lambda w: with_gross_errors(w, w.put(2.0 * w.sign + w.noise()))),
    "gross errors beside units that are mostly silent": (
        "sex",
        lambda w: with_gross_errors(w, np.maximum(w.put(*(2.0 * w.sign[:, None] + w.noise(4)).T) - 1.5, 0.0)),
    ),
    "a feature that is silent or far on either side": (
        "sex",
        lambda w: w.put(np.where(w.sex, 2.0 * np.sign(w.noise()), 0.0) + 0.8 * w.noise()),
    ),
    "the hospital by a length": ("site", lambda w: w.put(w.directions()[:, :2] * (1.0 + w.site)[:, None])),
    "the sex by a product": ("sex", lambda w: product(w, (np.abs(w.noise()) + 0.3) * w.sign)),
    "the sex by a length": ("sex", lambda w: w.put(w.directions() * np.where(w.sex, 1.0, 2.2)[:, None])),
    "the sex by the size of all features": ("sex", lambda w: w.network() * np.where(w.sex, 1.5, 1.0)[:, None]),
    "the sex by eight weak bits": (
        "sex",
        lambda w: np.column_stack([w.network(), w.rng.random((w.scans, 8)) < np.where(w.sex, 0.65, 0.35)[:, None]]),
    ),
    "a small feature beside huge ones": (
        "sex",
        lambda w: np.column_stack([1e8 * w.network(), 1e-6 * (2.0 * w.sign + w.noise())]),
    ),
    "whole numbers": ("sex", lambda w: np.rint(3.0 * w.put(2.0 * w.sign + w.noise())).astype(np.int16)),
    "half precision": ("sex", lambda w: w.put(2.0 * w.sign + w.noise()).astype(np.float16)),
    "40 of 2,000 features": (
        "sex",
        lambda w: np.column_stack([w.network() @ w.rng.normal(size=(WIDTH, 1960)) / 5.0 + 0.7 * w.noise(1960),
                                   0.5 * w.sign[:, None] + w.noise(40)])[:, w.rng.permutation(2000)],
    ),
}  # fmt: skip
HARMLESS: dict[str, tuple[str, Callable[[World], FloatArray]]] = {
    "another network that was never trained": ("sex", lambda w: w.network()),
    "every feature three times": ("site", lambda w: np.tile(w.network(), (1, 3))),
    "features that hardly vary": ("sex", lambda w: np.column_stack([w.network(), 1.0 + 1e-7 * w.noise(8)])),
    "heavy tails": (
        "age_years",
        lambda w: np.column_stack([w.network() ** 5, w.rng.standard_cauchy((w.scans, 4))]),
    ),
    "gross errors in every feature": ("sex", lambda w: with_gross_errors(w, w.network())),
    "signs and sizes of nobody": ("sex", lambda w: w.put(*(w.noise(4) * 10.0 ** w.rng.uniform(-6, 6, (w.scans, 4))).T)),
    "huge features, far from 0": ("site", lambda w: 1e8 * w.network() + 3e8),
    "a random mix": ("age_years", lambda w: w.network() @ w.rng.normal(size=(WIDTH, WIDTH))),
    "what leaks of other patients": (
        "site",
        lambda w: w.put((3.0 * np.eye(5)[w.site] + w.noise(5))[w.rng.permutation(w.scans)]),
    ),
    "40 features of noise more": ("sex", lambda w: np.column_stack([w.network(), w.noise(40)])),
    "dead and one-sided units": (
        "site",
        lambda w: np.where(np.arange(WIDTH) % 2, np.maximum(w.network(), 0.0), 0.0),
    ),
    "marks of who was trained on": (
        "sex",
        lambda w: w.put(*(3.0 * w.noise(4) * (np.arange(w.scans) < POOL)[:, None]).T),
    ),
}


@pytest.mark.parametrize("name", PLANTS)
def test_a_plant_is_called_a_leak(world: World, name: str) -> None:
    attribute, planted = PLANTS[name]
    found = world.audit(planted(world), attribute)
    assert found.verdict == LEAK, found.reason


@pytest.mark.parametrize("name", HARMLESS)
def test_what_is_harmless_is_not(world: World, name: str) -> None:
    attribute, made = HARMLESS[name]
    found = world.audit(made(world), attribute)
    assert found.verdict != LEAK, found.reason


def test_a_leak_of_the_hospital_leaks_the_sex_where_hospitals_tell_it() -> None:
    """Whoever learns the hospital learns the sex of nine in ten: that is a gain, and it is no larger than that."""
    tied = World(2)
    tied.sex = np.where(tied.rng.random(tied.scans) < 0.8, tied.site % 2, tied.sex)
    found = tied.audit(tied.put(*(4.0 * np.eye(5)[tied.site] + tied.noise(5)).T), "sex")
    assert found.verdict == LEAK, found.reason
    (strength,) = [m.value for m in found.metrics if (m.attack.target, m.metric) == ("target", "f1_weighted")]
    by_hospital = float((tied.site[POOL:] % 2 == tied.sex[POOL:]).mean())
    assert strength < by_hospital + 0.03, "and no more than the hospital tells"


def test_too_few_patients_are_not_cleared_of_a_weak_leak(world: World) -> None:
    """Sixty held-out patients of a leak that is found with five hundred: open, not harmless."""
    x = world.put(0.6 * world.sign + world.noise())
    own = world.attack(x, "sex")[:, :60]
    world.audit(x, "sex")
    fresh = world._baselines["sex"][:, :, :60]
    found = audit_attribute(
        world.sex[POOL : POOL + 60], own, baselines={"untrained": fresh}, patients=np.arange(60), attribute="sex",
        config=AuditConfig(bootstrap=200),
    )  # fmt: skip
    assert found.verdict == INCONCLUSIVE
