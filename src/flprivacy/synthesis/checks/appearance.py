"""The checks that are about quality: fidelity, diversity, agreement with the conditions, anatomy."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from flprivacy.attacks.arrays import attack_features
from flprivacy.attacks.baselines import block_means
from flprivacy.core.array_types import Float32Array, IntArray, Volumes
from flprivacy.core.errors import AttackError, AuditError
from flprivacy.core.generator_audit import Agreement, AnatomyCheck, Diversity, Fidelity
from flprivacy.synthesis.checks.agreement import measure_agreement
from flprivacy.synthesis.checks.anatomy import compare_anatomy, measure_anatomy
from flprivacy.synthesis.checks.diversity import density_and_coverage
from flprivacy.synthesis.checks.fidelity import measure_fidelity, principal_components
from flprivacy.synthesis.checks.judge import ARCHITECTURE, Judge, Seen, train_judge
from flprivacy.synthesis.checks.resampling import even_samples
from flprivacy.synthesis.checks.subject import Subject

R = TypeVar("R")

COLUMNS = {"site": "site_id", "class": "label"}  # condition -> column of the manifest
BY_NETWORK, BY_APPEARANCE = f"a {ARCHITECTURE}", "learners from low resolution"
_FEATURES = f"principal components of the features of a {ARCHITECTURE} that learnt site and class from other patients"
FIDELITY, DIVERSITY, AGREEMENT, ANATOMY = "Frechet distance", "density and coverage", "agreement", "lungs and outline"
CHECKS = (FIDELITY, DIVERSITY, AGREEMENT, ANATOMY)
_MOST_COMPARED, _MOST_LEARNT, _LEAST = 400, 600, 4  # scans
_CELLS = (4, 8, 8)  # of a scan at low resolution
_COARSE_AT_ONCE = 16  # scans
_SCANS_PER_COMPONENT, _COMPONENTS, _NEIGHBOURS = 8, 32, 5


@dataclass(frozen=True, kw_only=True, eq=False)
class Appearance:
    """What the checks of quality found, and which so few scans do not allow, and why."""

    fidelity: Fidelity | None = None
    diversity: Diversity | None = None
    diversity_of_real: Diversity | None = None
    agreement: tuple[Agreement, ...] = ()
    anatomy: tuple[AnatomyCheck, ...] = ()
    unchecked: dict[str, str]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Sides:
    """Real scans to learn from, others that were trained on, held-out ones, and samples, with their volumes."""

    learnt: IntArray  # rows
    trained: IntArray  # rows, of other patients
    held_out: IntArray  # rows
    places: IntArray  # among the samples
    volumes: dict[str, Volumes]


@dataclass(frozen=True, kw_only=True, eq=False)
class Learnt:
    """A network that learnt from half of the training patients, and the scans that it is to compare."""

    sides: _Sides
    known: dict[str, IntArray]  # condition -> (scan,) true class of those that it learnt from
    classes: dict[str, int]  # condition -> how many there are
    judge: Judge


def learn_appearance(subject: Subject, *, seed: int) -> Learnt | str:
    """Train the network that samples are compared with held-out scans by; return why not where it cannot learn."""
    sides = _sides(subject, seed)
    meta = subject.cohort.meta
    asked = {"site": len(meta.site_names), "class": len(meta.class_names)}
    classes = {name: count for name, count in asked.items() if count > 1}
    reason = _too_few(sides) if classes else "all scans are of one site and class, from which nothing can be learnt"
    if reason:
        return reason
    known = {name: subject.truth(COLUMNS[name])[sides.learnt] for name in classes}
    judge = train_judge(sides.volumes["learnt"], known, classes, seed=seed)
    return Learnt(sides=sides, known=known, classes=classes, judge=judge)


def measure_appearance(subject: Subject, learnt: Learnt | str, *, seed: int) -> Appearance:
    """Compare samples with held-out scans, by what :func:`learn_appearance` returned and by eye."""
    if isinstance(learnt, str):
        return Appearance(unchecked=dict.fromkeys(CHECKS, learnt))
    sides, judge = learnt.sides, learnt.judge
    seen = {name: judge.look(sides.volumes[name]) for name in ("trained", "held_out", "samples")}
    unchecked = {
        f"{AGREEMENT}, {name}": f"all scans are of one {name}" for name in COLUMNS.keys() - learnt.classes.keys()
    }

    def by_both() -> tuple[Agreement, ...]:
        by_network = seen["samples"].classes, seen["held_out"].classes
        return (
            *_agreement(subject, sides, BY_NETWORK, *by_network),
            *_agreement(subject, sides, BY_APPEARANCE, *_by_appearance(learnt, subject, seed)),
        )

    near = _tried(unchecked, DIVERSITY, lambda: _diversity(seen))
    return Appearance(
        fidelity=_tried(unchecked, FIDELITY, lambda: _fidelity(subject, sides, seen, seed)),
        diversity=near[0] if near else None,
        diversity_of_real=near[1] if near else None,
        agreement=_tried(unchecked, AGREEMENT, by_both) or (),
        anatomy=_anatomy(subject, sides, seed),
        unchecked=unchecked,
    )


def _tried(unchecked: dict[str, str], name: str, check: Callable[[], R]) -> R | None:
    """Return what a check finds; None, and why, if the scans do not allow it."""
    try:
        return check()
    except (AuditError, AttackError) as error:
        unchecked[name] = str(error)
        return None


def _too_few(sides: _Sides) -> str:
    """Return why nothing can be compared; empty if something can."""
    groups = {"training": sides.learnt, "other training": sides.trained, "held-out": sides.held_out}
    counts = {name: len(rows) for name, rows in groups.items()} | {"synthetic": len(sides.places)}
    if min(counts.values()) >= _LEAST:
        return ""
    counted = ", ".join(f"{count} {name}" for name, count in counts.items())
    return f"{counted} scans: a comparison needs {_LEAST} of each; train on more patients, and hold out more"


def _fidelity(subject: Subject, sides: _Sides, seen: dict[str, Seen], seed: int) -> Fidelity:
    return measure_fidelity(
        seen["samples"].features,
        seen["held_out"].features,
        seen["trained"].features,
        held_out_patients=subject.patients[sides.held_out],
        training_patients=subject.patients[sides.trained],
        features=_FEATURES,
        seed=seed,
    )


def _anatomy(subject: Subject, sides: _Sides, seed: int) -> tuple[AnatomyCheck, ...]:
    samples, held_out, trained = (
        measure_anatomy(sides.volumes[name], subject.cohort.meta.window_hu)
        for name in ("samples", "held_out", "trained")
    )
    return compare_anatomy(
        samples,
        held_out,
        trained,
        held_out_patients=subject.patients[sides.held_out],
        training_patients=subject.patients[sides.trained],
        seed=seed,
    )


def _sides(subject: Subject, seed: int) -> _Sides:
    rng = np.random.default_rng([seed, 5])
    members = np.unique(subject.patients[subject.training])
    half = np.zeros(subject.patients.max() + 1, dtype=bool)
    half[rng.permutation(members)[: len(members) // 2]] = True
    of_half = half[subject.patients]
    learnt, trained, held_out = (
        _some(subject, np.flatnonzero(chosen), most, seed)
        for chosen, most in (
            (of_half & subject.training, _MOST_LEARNT),
            (~of_half & subject.training, _MOST_COMPARED),
            (~subject.training, _MOST_COMPARED),
        )
    )
    places = np.arange(len(subject.samples))  # all: to tell agreement from chance takes many
    volumes = {
        "learnt": subject.real_volumes(learnt),
        "trained": subject.real_volumes(trained),
        "held_out": subject.real_volumes(held_out),
        "samples": subject.sample_volumes(places),
    }
    return _Sides(learnt=learnt, trained=trained, held_out=held_out, places=places, volumes=volumes)


def _some(subject: Subject, rows: IntArray, most: int, seed: int) -> IntArray:
    return rows[even_samples(subject.patients[rows], most, seed)]


def _diversity(seen: dict[str, Seen]) -> tuple[Diversity, Diversity]:
    """Return the density and coverage of samples among held-out scans, and of as many training scans."""
    n = min(len(one.features) for one in seen.values())
    real = np.concatenate([seen[name].features for name in ("held_out", "trained")]).astype(np.float64)
    project = principal_components(real, min(_COMPONENTS, max(2, n // _SCANS_PER_COMPONENT)))
    held_out, made, trained = (
        project(seen[name].features[:n].astype(np.float64)) for name in ("held_out", "samples", "trained")
    )
    k = min(_NEIGHBOURS, n - 1)
    return density_and_coverage(held_out, made, k=k), density_and_coverage(held_out, trained, k=k)


def _by_appearance(learnt: Learnt, subject: Subject, seed: int) -> tuple[dict[str, IntArray], dict[str, IntArray]]:
    """Return what learners from scans at low resolution see in samples and in held-out scans, by condition."""
    sides, classes = learnt.sides, learnt.classes
    coarse = {name: _coarse(volumes) for name, volumes in sides.volumes.items() if name != "trained"}
    both = np.concatenate([coarse["samples"], coarse["held_out"]])
    patients = subject.patients[sides.learnt]
    samples, held_out = {}, {}
    for name, truth in learnt.known.items():
        said = attack_features(coarse["learnt"], truth, both, (seed,), n_classes=classes[name], patients=patients)[
            0
        ].argmax(axis=1)
        samples[name], held_out[name] = said[: len(sides.places)], said[len(sides.places) :]
    return samples, held_out


def _coarse(volumes: Volumes) -> Float32Array:
    """Return (scan, cell) means of (scan, depth, height, width), a few scans at a time: what fits a cache is quick."""
    parts = (volumes[start : start + _COARSE_AT_ONCE] for start in range(0, len(volumes), _COARSE_AT_ONCE))
    means = [block_means(part.astype(np.float32) / np.float32(255.0), _CELLS) for part in parts]
    return np.concatenate(means).astype(np.float32)


def _agreement(
    subject: Subject, sides: _Sides, classifier: str, samples: dict[str, IntArray], held_out: dict[str, IntArray]
) -> list[Agreement]:
    return [
        measure_agreement(
            name,
            classifier,
            seen=samples[name],
            asked=subject.asked(COLUMNS[name])[sides.places],
            seen_in_real=held_out[name],
            real=subject.truth(COLUMNS[name])[sides.held_out],
            real_patients=subject.patients[sides.held_out],
        )
        for name in samples
    ]
