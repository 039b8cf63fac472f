"""A simulated population of patients and attackers, whose true leakage is known.

A patient's scans are alike, attackers share the exposed sample of a seed, models differ by luck, and each attacker errs
on scans of its own: every component of variance that the audit has to account for, each with an effect that no
method in ``flprivacy.auditing`` assumes the shape of.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from flprivacy.auditing.config import PolicyRule
from flprivacy.auditing.estimates import estimate_cell
from flprivacy.auditing.measures import measure
from flprivacy.auditing.runs import AttackRuns, HeldOut
from flprivacy.auditing.uncertainty import resample_patients
from flprivacy.auditing.verdicts import judge
from flprivacy.core.attributes import AttackKey, attribute_of
from flprivacy.core.audit import ExcessEstimate, MetricEstimate

# Sizes of the reference study's 21 sites.
SITE_SIZES = (
    (4167, 304, 60, 234, 74, 250, 61, 90, 319, 764, 174, 1110, 272, 51, 237, 433, 91, 169, 807, 203, 1366)
)  # fmt: skip
SECOND_SCAN = 0.3
FRACTION = 0.25


def heavy_tailed(n_classes: int, tail: float = 1.0) -> np.ndarray:
    """Return class frequencies: evenly spaced order statistics of the reference study's site sizes, to a power."""
    sizes = np.sort(SITE_SIZES)[::-1][np.linspace(0, 20, n_classes).round().astype(int)].astype(float) ** tail
    return sizes / sizes.sum()


@dataclass(frozen=True, kw_only=True)
class Attacker:
    """How strong an attack is and how it varies.

    Attributes:
        strength: signal about the true class (or share of the age's deviation from the mean that is recovered).
        model_spread: how much models differ (bias towards classes or years, and strength).
        model_patient_spread: how much models differ on a patient.
        seed_spread: how much attacker seeds differ, the same for every attacker of the same seed.
        own_seed_spread: how much they differ for this model alone.
        noise: how much they differ on a scan.
        gross: share of patients about whose age the attack errs by 20 to 60 years.
        decimals: of the scores, so that many are tied; None: all.
    """

    strength: float = 1.5
    model_spread: float = 0.0
    model_patient_spread: float = 0.3
    seed_spread: float = 0.3
    own_seed_spread: float = 0.3
    noise: float = 0.7
    gross: float = 0.0
    decimals: int | None = None


class Draw:
    """One study: held-out patients, and attacker seeds that all attackers share."""

    def __init__(
        self,
        rng: np.random.Generator,
        *,
        attribute: str = "site",
        frequencies: Sequence[float] = (),
        patients: int,
        seeds: int = 5,
        fixed_sizes: bool = False,
        scans: int = 0,
    ) -> None:
        self.rng, self.seeds, self.attribute = rng, seeds, attribute
        self.regression = attribute == "age_years"
        self.frequencies = np.asarray(frequencies)
        if self.regression:
            of_patient = rng.normal(60.0, 13.0, patients)
        elif fixed_sizes:
            sizes = np.maximum(1, np.round(self.frequencies * patients)).astype(int)
            of_patient = np.repeat(np.arange(len(sizes)), sizes)
        else:
            of_patient = rng.choice(len(self.frequencies), size=patients, p=self.frequencies)
        of_each = np.full(len(of_patient), scans) if scans else 1 + (rng.random(len(of_patient)) < SECOND_SCAN)
        self.patients = np.repeat(np.arange(len(of_patient)), of_each)
        self.truth = of_patient[self.patients].astype(float)
        self.width = 1 if self.regression else len(self.frequencies)
        self.unit = 6.0 if self.regression else 1.0
        # Some patients are hard for every attacker, and a seed's exposed sample misleads every attacker.
        self.shared = self.normal(len(of_patient), self.width)[self.patients] + 0.5 * self.normal(len(self.truth), 1)
        self.ease = 1.0 + 0.3 * self.normal(len(of_patient), 1)[self.patients]
        self.by_seed = self.normal(seeds, 1, self.width)

    def normal(self, *shape: int) -> np.ndarray:
        """Return standard normal numbers."""
        return self.rng.standard_normal(shape, dtype=np.float32)

    def scores(self, attacker: Attacker, models: int = 1) -> np.ndarray:
        """Return (model, seed, scan, column) scores of one attacker."""
        n, n_patients, a = len(self.truth), self.patients[-1] + 1, attacker
        own = a.model_patient_spread * self.normal(models, 1, n_patients, self.width)[:, :, self.patients]
        of_model = a.model_spread * self.normal(models, 1, 1, self.width)
        of_seed = a.seed_spread * self.by_seed + a.own_seed_spread * self.normal(models, self.seeds, 1, self.width)
        error = self.shared + own + of_model + of_seed + a.noise * self.normal(models, self.seeds, n, self.width)
        strength = a.strength * (1.0 + 0.3 * a.model_spread * self.normal(models, 1, 1, 1))
        if a.gross:
            far = (self.rng.random(n_patients) < a.gross) * self.rng.uniform(20.0, 60.0, n_patients)
            error += (far / self.unit)[self.patients, None]
        scores = self._signal(strength * self.ease) + self.unit * error
        return scores if a.decimals is None else scores.round(a.decimals)

    def _signal(self, strength: np.ndarray) -> np.ndarray:
        if self.regression:
            return 60.0 + np.minimum(strength, 1.0) * (self.truth[:, None] - 60.0)
        prior = 0.5 * np.log(self.frequencies)
        return strength * (self.truth[:, None] == np.arange(self.width)) + prior

    def held_out(self) -> HeldOut:
        """Return the scans as the audit knows them."""
        scans = np.array([f"scan-{i:06d}" for i in range(len(self.truth))])
        patients = np.array([f"patient-{i:06d}" for i in self.patients])
        return HeldOut(
            attribute=attribute_of(self.attribute),
            class_names=() if self.regression else tuple(f"class {i}" for i in range(self.width)),
            scan_ids=scans,
            patient_ids=patients,
            patients=self.patients,
            truth=self.truth,
        )

    def majority(self) -> np.ndarray:
        """Return the scores of an attacker who always guesses the most frequent class, or the mean age."""
        guess = np.array([60.0]) if self.regression else self.frequencies
        return np.broadcast_to(guess, (1, self.seeds, len(self.truth), self.width))

    def runs(self, held_out: HeldOut, name: str, scores: np.ndarray) -> AttackRuns:
        """Return scores as an attack on the target ``name``."""
        role = "target" if name == "target" else "baseline"
        access = "none" if name in ("pixels", "majority") else "features"
        prefix = "model" if len(scores) == 1 else "init"
        return AttackRuns(
            attack=AttackKey(target=name, attribute=self.attribute, access=access, fraction=FRACTION),
            role=role,
            models=tuple(f"{prefix}-{i}" for i in range(len(scores))),
            seeds=tuple(range(self.seeds)),
            held_out=held_out,
            scores=np.asarray(scores, dtype=np.float32),
        )


def audit_draw(
    draw: Draw, scores: dict[str, np.ndarray], *, replicates: int, confidence: float = 0.95
) -> tuple[list[MetricEstimate], list[ExcessEstimate]]:
    """Estimate metrics of all attacks and the excess of ``target`` over all others, as the audit does."""
    held_out = draw.held_out()
    resampling = resample_patients(held_out.patients, replicates=replicates, seed=0)
    cell = [draw.runs(held_out, name, values) for name, values in scores.items()]
    others = [runs for runs in cell if runs.attack.target != "target"]
    found = estimate_cell(cell, lambda *_: others, resampling, confidence=confidence)
    return found.metrics, found.excesses


@dataclass(frozen=True, kw_only=True)
class Study:
    """A whole simulated study: who attacks whom, on which patients.

    ``untrained`` is drawn ``initialisations`` times (0: left out), the target ``models`` times. A target equal to
    ``untrained`` is harmless: just more draws of fresh weights. ``tail`` is 1 for the reference study's class
    frequencies, 0 for equal ones; ``shares`` are the classes' in their place. ``scans`` is how many each patient has, 0
    for one or two.
    """

    target: Attacker
    untrained: Attacker
    pixels: Attacker
    attribute: str = "site"
    n_classes: int = 8
    tail: float = 1.0
    patients: int = 300
    seeds: int = 5
    models: int = 1
    initialisations: int = 5
    fixed_sizes: bool = False
    shares: tuple[float, ...] = ()
    scans: int = 0

    @property
    def frequencies(self) -> np.ndarray:
        """Frequencies of the classes."""
        if self.attribute == "age_years":
            return np.array([])
        return np.array(self.shares) if self.shares else heavy_tailed(self.n_classes, self.tail)

    def audit(self, rng: np.random.Generator, replicates: int) -> tuple[list[MetricEstimate], list[ExcessEstimate]]:
        """Draw the study once and audit it."""
        draw = Draw(
            rng,
            attribute=self.attribute,
            frequencies=self.frequencies,
            patients=self.patients,
            seeds=self.seeds,
            fixed_sizes=self.fixed_sizes,
            scans=self.scans,
        )
        scores = {
            "target": draw.scores(self.target, self.models),
            "pixels": draw.scores(self.pixels),
            "majority": draw.majority(),
        }
        if self.initialisations:
            scores["untrained"] = draw.scores(self.untrained, self.initialisations)
        return audit_draw(draw, scores, replicates=replicates)


def count_verdicts(
    study: Study, *, thresholds: Sequence[float], repetitions: int, seed: int, replicates: int = 100
) -> list[Counter]:
    """Return, for each threshold, how often each verdict fell, by the default metric of the attribute."""
    metric = "mae_years" if study.attribute == "age_years" else "f1_weighted"
    counts: list[Counter] = [Counter() for _ in thresholds]
    for repetition in range(repetitions):
        metrics, excesses = study.audit(np.random.default_rng([seed, repetition]), replicates)
        for counter, threshold in zip(counts, thresholds, strict=True):
            rules = {study.attribute: PolicyRule(metric=metric, threshold=threshold)}
            counter.update(verdict.verdict for verdict in judge(metrics, excesses, rules))
    return counts


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """How often intervals covered the truth. ``above`` counts those that lay wholly above it."""

    covered: int
    above: int
    repetitions: int
    mean_width: float


def measure_coverage(
    study: Study, *, repetitions: int, seed: int, replicates: int = 100, draws: int = 150
) -> dict[tuple[str, str], Coverage]:
    """Return (what, metric) -> coverage; ``what`` is ``target``, ``untrained`` or ``target - pixels``."""
    kind = {"attribute": study.attribute, "frequencies": study.frequencies, "draws": draws}
    attackers = {"target": study.target, "pixels": study.pixels}
    if study.initialisations:
        attackers["untrained"] = study.untrained
    truths = {name: true_metrics(attacker, **kind) for name, attacker in attackers.items()}
    rows: dict[tuple[str, str], list[tuple[bool, bool, float]]] = {}
    for repetition in range(repetitions):
        metrics, excesses = study.audit(np.random.default_rng([seed, repetition]), replicates)
        for m in metrics:
            if m.attack.target in truths and not m.of_class:
                rows.setdefault((m.attack.target, m.metric), []).append(_covers(m, truths[m.attack.target][m.metric]))
        for e in excesses:
            if e.baseline == "pixels" and not e.of_class:
                truth = truths["target"][e.metric] - truths["pixels"][e.metric]
                sign = -1.0 if e.metric == "mae_years" else 1.0
                rows.setdefault(("target - pixels", e.metric), []).append(_covers(e, sign * truth))
    return {
        key: Coverage(
            covered=sum(row[0] for row in found),
            above=sum(row[1] for row in found),
            repetitions=repetitions,
            mean_width=float(np.mean([row[2] for row in found])),
        )
        for key, found in rows.items()
    }


def _covers(estimate: MetricEstimate | ExcessEstimate, truth: float) -> tuple[bool, bool, float]:
    low, high = estimate.ci_low, estimate.ci_high
    return low <= truth <= high, low > truth, high - low


def true_metrics(
    attacker: Attacker, *, attribute: str = "site", frequencies: Sequence[float] = (), draws: int = 150
) -> dict[str, float]:
    """Return the metrics of an attacker over a huge population, many seeds and many models."""
    rng, total = np.random.default_rng(20240229), {}
    models = 3 if attacker.model_spread else 1
    for _ in range(draws):
        draw = Draw(rng, attribute=attribute, frequencies=frequencies, patients=2000, seeds=4)
        whole = resample_patients(draw.patients, replicates=2, seed=0)
        values = measure(draw.runs(draw.held_out(), "target", draw.scores(attacker, models)), whole).values
        for metric, value in values.items():
            total[metric] = total.get(metric, 0.0) + float(value[0].mean()) / draws
    return total
