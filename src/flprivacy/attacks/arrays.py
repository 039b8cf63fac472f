"""The attribute attack on arrays: no file, no model and no pipeline in sight.

The attacks on targets answer by the same function, :func:`flprivacy.attacks.answering.answer`.
"""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from flprivacy.attacks.answering import Known, answer
from flprivacy.attacks.config import LearnerConfig
from flprivacy.attacks.heads import Head
from flprivacy.cohorts.sampling import check_exposure, draw_exposed
from flprivacy.core.array_types import Float32Array, FloatArray
from flprivacy.core.attributes import AGE_YEARS, SITE
from flprivacy.core.errors import AttackError, check

_LARGEST = 1e18  # whose square still is a float32


def attack_features(
    train_x: npt.ArrayLike,
    train_y: npt.ArrayLike,
    test_x: npt.ArrayLike,
    seeds: Iterable[int] = range(5),
    *,
    kind: str = "classes",
    n_classes: int | None = None,
    exposed_fraction: float = 1.0,
    patients: npt.ArrayLike | None = None,
    config: LearnerConfig | None = None,
) -> Float32Array:
    """Learn an attribute from the features of exposed scans and score held-out scans: the attribute attack.

    The features are whatever the attacker sees of a model - activations of its trunk, its logits - or of the scans
    themselves. For every seed a small family of learners competes by cross-validation on the exposed scans, and the
    best are averaged (:mod:`flprivacy.attacks.family.choice`). The same arrays, options and seeds give the same scores.

    A score above chance does not yet show that the *model* leaks: the attribute may be plain to see in every scan.
    Attack the features of untrained weights and of the pixels too and compare
    (:func:`flprivacy.audit_attribute`).

    Args:
        train_x: (scan, feature) features of the scans that the attacker could hold, finite.
        train_y: (scan,) their attribute: class indices from 0, or years.
        test_x: (held-out scan, feature) features of the scans to score, finite. An attacker learns from what they look
            like, too, so an answer may depend on which other scans are asked about.
        seeds: attacker seeds, each 0 or more and different; each draws its exposed scans and folds. At least 5 for
            honest intervals.
        kind: ``classes`` (site, sex, an age band ...) or ``years`` (age or any other number, in its own unit).
        n_classes: number of classes; None: one more than the highest of ``train_y``.
        exposed_fraction: share of the training scans that the attacker of each seed holds, in (0, 1]. They are drawn
            from each class, at least one of each; the scans of a smaller fraction are among those of a larger one.
        patients: (scan,) pseudonym or number of each training scan's patient, whose scans cross-validation keeps
            together; every scan is a patient of its own if None.
        config: how the reference study's network is trained, which then competes, too, at many times the cost of the
            others; None: it does not.

    Returns:
        (seed, held-out scan, class) probabilities, float32; for years (seed, held-out scan, 1) predicted years,
        within the range of the exposed ones.

    Raises:
        AttackError: arrays of the wrong shape, values that are not finite or beyond 1e18, labels out of range, or fewer
            than two different labels among the exposed scans.
        ConfigError: an option out of range, or seeds that repeat.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> site = rng.integers(0, 3, 200)
        >>> features = rng.normal(size=(200, 16)) + site[:, None]
        >>> scores = attack_features(features[:100], site[:100], features[100:], seeds=range(2))
        >>> scores.shape
        (2, 100, 3)
        >>> bool((scores.argmax(axis=-1) == site[100:]).mean() > 0.8)
        True
    """
    check(kind in ("classes", "years"), "kind", kind, "must be classes or years")
    numbers = tuple(int(seed) for seed in seeds)
    check_exposure((exposed_fraction,), numbers)
    train, test = _features("train_x", train_x), _features("test_x", test_x)
    if train.shape[1] != test.shape[1]:
        raise AttackError(f"train_x has {train.shape[1]} features, test_x {test.shape[1]}; give the same ones of both")
    values, head = _targets(train_y, len(train), kind, n_classes)
    strata = np.zeros(len(train), np.int64) if head.attribute.is_regression else values.astype(np.int64)
    names = _patients(patients, len(train))
    scores = []
    for seed in numbers:
        rows = draw_exposed(strata, fraction=exposed_fraction, seed=seed)
        if len(np.unique(values[rows])) < 2:
            raise AttackError(
                f"train_y: the {len(rows)} exposed scan(s) of seed {seed} share one label and an attack needs at "
                "least 2 different ones; give more scans or a larger exposed_fraction"
            )
        known = Known(heads=(head,), values=values[None, rows], patients=names[rows], seed=seed)
        scores.append(answer(train[None, rows], test, known, network=config)[0].scores)
    return np.stack(scores)


def _patients(patients: npt.ArrayLike | None, scans: int) -> npt.NDArray[np.generic]:
    names = np.arange(scans) if patients is None else np.asarray(patients)
    if names.shape != (scans,):
        raise AttackError(f"patients has shape {names.shape}; must be ({scans},), one for each row of train_x")
    return names


def _features(name: str, values: npt.ArrayLike) -> Float32Array:
    array = np.asarray(values)
    if array.ndim != 2 or 0 in array.shape or array.dtype.kind not in "fiub":
        raise AttackError(
            f"{name} has shape {array.shape} and type {array.dtype}; must be (scan, feature) numbers, at least one each"
        )
    if not (np.abs(array.astype(np.float64)) < _LARGEST).all():
        raise AttackError(
            f"{name} holds values that are not finite or beyond {_LARGEST:g}; leave those scans or features out, or "
            "divide the features by a constant"
        )
    return array.astype(np.float32)


def _targets(train_y: npt.ArrayLike, scans: int, kind: str, n_classes: int | None) -> tuple[FloatArray, Head]:
    array = np.asarray(train_y)
    if array.shape != (scans,) or array.dtype.kind not in "fiub":
        raise AttackError(
            f"train_y has shape {array.shape} and type {array.dtype}; must be ({scans},) numbers, one for each row of "
            "train_x"
        )
    values = array.astype(np.float64)
    if not np.isfinite(values).all():
        raise AttackError("train_y holds values that are not finite; leave out scans whose attribute is unknown")
    if kind == AGE_YEARS.kind:
        return values, Head(attribute=AGE_YEARS, n_classes=0)
    classes = int(values.max()) + 1 if n_classes is None else n_classes
    check(classes >= 2, "n_classes", classes, "an attack needs at least 2 classes")
    if (values != np.floor(values)).any() or values.min() < 0 or values.max() >= classes:
        raise AttackError(
            f"train_y ranges from {values.min():g} to {values.max():g}; must be whole numbers from 0 to {classes - 1}, "
            'the indices of the classes; for ages give kind="years"'
        )
    return values, Head(attribute=SITE, n_classes=classes)
