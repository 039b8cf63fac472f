"""How an attacker learns from features: the heads of one model and one attacker seed, from labels to scores.

:func:`attack_features` is the attack on arrays; the attacks on targets train the same heads by :func:`train_heads`.
"""

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from flprivacy.attacks.config import LearnerConfig
from flprivacy.attacks.heads import Adam, FloatArray, Head, HeadStack
from flprivacy.attacks.samples import Batches, Sample
from flprivacy.cohorts.sampling import check_exposure, draw_exposed
from flprivacy.core.attributes import AGE_YEARS, SITE
from flprivacy.core.checks import check
from flprivacy.core.errors import AttackError

# Matrices of this size lose by threads, and bits must not depend on how many there are.
ONE_THREAD = functools.partial(threadpool_limits, limits=1, user_api="blas")
Strength = Callable[[FloatArray], npt.NDArray[np.float64]]

# A column that varies by less than this share of its mean over the exposed sample is rounding noise.
_CONSTANT = 1e-6
_DENSE_EPOCHS = 4  # a curve has each of the first epochs, then every fourth, and the last
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
    config: LearnerConfig | None = None,
) -> FloatArray:
    """Learn an attribute from the features of exposed scans and score held-out scans: the attribute attack.

    The features are whatever the attacker sees of a model - activations of its trunk, its logits - or of the scans
    themselves. For every seed a small network (normalisation, dropout, one hidden layer and a linear shortcut) is
    trained from fresh weights. The same arrays, options and seeds give the same scores.

    A score above chance does not yet show that the *model* leaks: the attribute may be plain to see in every scan.
    Attack the features of untrained weights and of the pixels too and compare
    (:func:`flprivacy.audit_attribute`).

    Args:
        train_x: (scan, feature) features of the scans that the attacker could hold, finite.
        train_y: (scan,) their attribute: class indices from 0, or years.
        test_x: (held-out scan, feature) features of the scans to score, finite.
        seeds: attacker seeds, each 0 or more and different; each draws its exposed scans, initial weights, batches
            and dropout. At least 5 for honest intervals.
        kind: ``classes`` (site, sex, an age band ...) or ``years`` (age or any other number, in its own unit).
        n_classes: number of classes; None: one more than the highest of ``train_y``.
        exposed_fraction: share of the training scans that the attacker of each seed holds, in (0, 1]. They are drawn
            from each class, at least one of each; the scans of a smaller fraction are among those of a larger one.
        config: how the heads are trained.

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
    scores = []
    for seed in numbers:
        rows = draw_exposed(strata, fraction=exposed_fraction, seed=seed)
        if len(np.unique(values[rows])) < 2:
            raise AttackError(
                f"train_y: the {len(rows)} exposed scan(s) of seed {seed} share one label and an attack needs at "
                "least 2 different ones; give more scans or a larger exposed_fraction"
            )
        sample = Sample.of((head,), values[None, rows], seed=seed)
        scores.append(train_heads(train[None, rows], test, sample, config or LearnerConfig()).scores[0])
    return np.stack(scores)


def _features(name: str, values: npt.ArrayLike) -> FloatArray:
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


def _targets(
    train_y: npt.ArrayLike, scans: int, kind: str, n_classes: int | None
) -> tuple[npt.NDArray[np.float64], Head]:
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


@dataclass(frozen=True, kw_only=True, eq=False)
class Trained:
    """Trained heads and what they say."""

    stack: HeadStack
    scale: FloatArray  # (feature,) factors of their inputs
    scores: FloatArray  # (head, held-out scan, column) after the last epoch: class probabilities, or years in column 0
    curves: npt.NDArray[np.float64]  # (head, point) strength after curve_epochs epochs; empty if not asked


def train_heads(
    exposed: FloatArray,
    held_out: FloatArray,
    sample: Sample,
    config: LearnerConfig,
    *,
    strength: Strength | None = None,
    on_epoch: Callable[[], None] = lambda: None,
) -> Trained:
    """Train the heads of one seed from fresh weights on features that do not change, and score the held-out scans.

    Args:
        exposed: (view, scan, feature) of the scans of ``sample``.
        held_out: (held-out scan, feature).
        sample: what is known of the exposed scans.
        config: epochs, batches and so on.
        strength: (head, held-out scan, column) scores -> (head,) points of the curves.
        on_epoch: called after each epoch.
    """
    scale, features = reciprocal_spread(exposed), exposed.shape[-1]
    scaled, test = exposed * scale, held_out * scale
    stack = HeadStack(sample.heads, seed=sample.seed, features=features, hidden=config.hidden)
    adam, batches = Adam(stack.weights.flat.size, config.learning_rate), Batches(sample, config, views=len(exposed))
    curves, points = [], curve_epochs(config.epochs) if strength is not None else ()

    def answers() -> FloatArray:
        return sample.in_units(stack.scores(test, scaled.reshape(-1, features)))

    with ONE_THREAD():
        for epoch in range(config.epochs):
            if strength is not None and epoch in points:
                curves.append(strength(answers()))
            for scans, views, batch in batches.epoch(features=features):
                stack.backward(scaled[views, scans], batch)
                adam.apply(stack.weights.flat, stack.gradient.flat)
            on_epoch()
        scores = answers()
    if strength is not None:
        curves.append(strength(scores))
    curve = np.stack(curves, axis=-1) if curves else np.empty((len(sample.heads), 0))
    return Trained(stack=stack, scale=scale, scores=scores, curves=curve)


def curve_epochs(epochs: int) -> tuple[int, ...]:
    """Return after how many of so many epochs an attack is scored for its curve: densely where it learns fastest."""
    return tuple(sorted({*range(min(epochs, _DENSE_EPOCHS)), *range(0, epochs, _DENSE_EPOCHS), epochs}))


def reciprocal_spread(exposed: FloatArray) -> FloatArray:
    """Return (feature,) factors that bring features (view, scan, feature) to unit variance over the exposed sample.

    A feature that does not vary there gets 0: nothing can be learnt from it, and its held-out values could be
    anything.
    """
    mean, spread = (of(exposed, axis=(0, 1), dtype=np.float64) for of in (np.mean, np.std))
    varies = spread > np.maximum(_CONSTANT * np.abs(mean), np.finfo(np.float32).tiny)
    return np.where(varies, 1.0 / np.where(varies, spread, 1.0), 0.0).astype(np.float32)
