import keras
import numpy as np
import pytest
from scipy import stats

from flprivacy.core.errors import ConfigError, TrainingError
from flprivacy.models.registry import ARCHITECTURES, build
from flprivacy.privacy.compatibility import freeze_batch_normalization
from flprivacy.privacy.config import DpSgdConfig
from flprivacy.privacy.gradients import DpSgdRule
from tests.privacy.small_networks import CLASSES, SHAPE, batch, clipped_sum, naive_gradients, network

HUGE = 1e6


def rule_for(model, optimizer=None, *, seed=0, **config):
    settings = {"clip_norm": 1.0, "noise_multiplier": 0.0, "expected_batch": 4.0} | config
    return DpSgdRule(model, optimizer or keras.optimizers.SGD(1.0), DpSgdConfig(**settings), seed=seed)


def summed(rule, x, y, mask=None, ends=None, scans=None):
    """Return the clipped sum of a chunk, without noise; ``scans`` are what random layers draw from, if not places."""
    mask = np.ones(len(x)) if mask is None else mask
    scans = np.arange(len(x)) if scans is None else scans
    rule.step(x, y, mask, key=(0,), scans=scans, ends=ends, last=False)
    sums = pending_sum(rule)
    forget_step(rule)
    return sums


def pending_sum(rule):
    accumulator = rule._accumulator
    return [part.numpy() for part in accumulator._split(accumulator._sum)]


def forget_step(rule):
    rule._pending = None
    rule._accumulator.reset()


def close(actual, expected, tolerance=1e-5):
    """Compare tensors to a tolerance relative to the largest entry of all of them together."""
    scale = max(np.abs(e).max() for e in expected)
    for a, e in zip(actual, expected, strict=True):
        assert np.abs(a - e).max() <= tolerance * max(scale, 1.0)


@pytest.mark.parametrize("norm", ["group", "none", "batch"])
def test_each_gradient_is_the_naive_loops(norm):
    model = network(norm=norm)
    freeze_batch_normalization(model)
    x, y = batch(5)
    rule = rule_for(model, clip_norm=HUGE)
    for i, expected in enumerate(naive_gradients(model, x, y)):
        close(summed(rule, x, y, mask=np.arange(5) == i), expected)


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_each_gradient_is_the_naive_loops_for_every_architecture(architecture):
    shape = ARCHITECTURES[architecture].minimal_shape
    model = build(architecture, shape=shape, n_classes=CLASSES, seed=1).model
    freeze_batch_normalization(model)
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0
    x, y = batch(2, shape=shape)
    rule = rule_for(model, clip_norm=HUGE)
    for i, expected in enumerate(naive_gradients(model, x, y)):
        close(summed(rule, x, y, mask=np.arange(2) == i), expected)


def test_sum_is_of_clipped_gradients():
    model = network()
    x, y = batch(23)
    mask = np.arange(23) % 7 != 2  # 20 scans: two groups that go through the network together, and four alone
    gradients = naive_gradients(model, x[mask], y[mask])
    norms = [np.sqrt(sum(np.square(g).sum() for g in gradient)) for gradient in gradients]
    clip_norm = float(np.median(norms))
    rule = rule_for(model, clip_norm=clip_norm)
    close(summed(rule, x, y, mask), clipped_sum(gradients, clip_norm))
    # Some are clipped and some are not, and clipping the mean (the microbatch mistake) is something else.
    result = rule.step(x, y, mask, key=(0,))
    assert result.clipped == 10 / 20
    mean = [np.mean(parts, axis=0) for parts in zip(*gradients, strict=True)]
    mistaken = clipped_sum([mean], clip_norm)
    assert np.abs(mistaken[0] * 20 - clipped_sum(gradients, clip_norm)[0]).max() > 1e-3


@pytest.mark.parametrize("gone", [0, 7, 12, 16])
def test_one_scan_more_moves_the_sum_by_no_more_than_the_clip_norm(gone):
    """Though it decides which of the others go through the network together."""
    model, (x, y) = network(), batch(17)
    rule = rule_for(model, clip_norm=0.3)
    mask = np.arange(17) != gone
    pairs = zip(summed(rule, x, y), summed(rule, x, y, mask), strict=True)
    moved = np.sqrt(sum(np.square(a - b, dtype=np.float64).sum() for a, b in pairs))
    assert 0.2 < moved <= 0.3 * (1 + 1e-5)


# Where patients' scans end: one who fills a group, one on both sides of the group's end, one with a single scan.
@pytest.mark.parametrize("ends", [[2, 5, 6], [8, 17, 18], [1, 2, 11, 19], [7, 8, 16, 21]])
def test_a_patients_scans_are_summed_before_they_are_clipped(ends):
    model = network()
    n = ends[-1]
    x, y = batch(n)
    gradients = naive_gradients(model, x, y)
    pairs = zip([0, *ends], ends, strict=False)
    patients = [[sum(p) for p in zip(*gradients[a:b], strict=True)] for a, b in pairs]
    stops = np.isin(np.arange(1, n + 1), ends).astype(float)
    rule = rule_for(model, clip_norm=0.5, unit="patient")
    close(summed(rule, x, y, ends=stops), clipped_sum(patients, 0.5))
    result = rule.step(x, y, np.ones(n), ends=stops, key=(0,))
    assert (result.scans, result.units) == (n, len(ends))


def whole_step(cuts, model):
    """Take one step over 19 scans of five patients, in chunks that end at ``cuts``."""
    x, y = batch(19)
    ends = np.isin(np.arange(19), [0, 7, 9, 15, 18]).astype(float)
    rule = rule_for(model, unit="patient", noise_multiplier=1.0)
    for start, stop in zip([0, *cuts], [*cuts, 19], strict=True):
        part = slice(start, stop)
        ones = np.ones(stop - start)
        result = rule.step(x[part], y[part], ones, ends=ends[part], key=(3,), last=stop == 19)
        assert (result is None) == (stop < 19)
    return result, model.get_weights()


def test_chunks_give_the_whole_step():
    """Wherever a step is cut; to the last bit at the same cuts, which a resumed run makes again."""
    expected, weights = whole_step([], network())
    for cuts in ([3], [8, 16], [1, 5, 14]):  # patients' scans lie on both sides of cuts
        result, cut = whole_step(cuts, network())
        assert result == pytest.approx(expected)
        close(cut, weights, 1e-6)
        _, again = whole_step(cuts, network())
        assert all(np.array_equal(a, b) for a, b in zip(cut, again, strict=True))


def test_update_divides_by_the_expected_batch_whatever_was_drawn():
    x, y = batch(6)
    model = network()
    gradients = naive_gradients(model, x, y)
    before = model.get_weights()
    rule = rule_for(model, expected_batch=2.5)
    for mask in ([1, 1, 1, 1, 1, 1], [0, 1, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0]):
        model.set_weights(before)
        drawn = [gradient for gradient, taken in zip(gradients, mask, strict=True) if taken]
        expected = clipped_sum(drawn, 1.0) if drawn else [np.zeros_like(w) for w in before]
        rule.step(x, y, mask, key=(0,))
        close([b - a for a, b in zip(model.get_weights(), before, strict=True)], [e / 2.5 for e in expected], 1e-6)


def released_noise(model, rule, steps, size=4):
    """Return (step, weight) what empty steps add to the weights under SGD of rate 1, times -1."""
    x, y = batch(size)
    draws = []
    for step in range(steps):
        before = model.get_weights()
        rule.step(x, y, np.zeros(size), key=(step,))
        after = model.get_weights()
        draws.append(np.concatenate([(a - b).ravel() for a, b in zip(before, after, strict=True)]))
    return np.array(draws)


def test_noise_has_the_stated_variance_once_a_step():
    model = network()
    settings = {"clip_norm": 0.7, "noise_multiplier": 1.3, "expected_batch": 5.0}
    draws = released_noise(model, rule_for(model, **settings), 100).astype(np.float64)
    deviation = 0.7 * 1.3 / 5.0
    n = draws.size
    assert n > 20_000
    low, high = stats.chi2.ppf([5e-4, 1 - 5e-4], n) / n
    assert low < np.square(draws / deviation).mean() < high
    assert abs(draws.mean()) < 4 * deviation / np.sqrt(n)
    assert stats.kstest(draws.ravel() / deviation, "norm").pvalue > 1e-3
    # Neither steps nor weights share noise.
    assert abs(np.corrcoef(draws[:-1].ravel(), draws[1:].ravel())[0, 1]) < 4 / np.sqrt(n)
    assert abs(np.corrcoef(draws[:, :-1].ravel(), draws[:, 1:].ravel())[0, 1]) < 4 / np.sqrt(n)


def test_noise_does_not_grow_with_the_batch():
    """Noise is added to the sum once: neither a scan nor a chunk brings noise of its own."""
    x, y = batch(4)
    model = network()
    rule = rule_for(model, noise_multiplier=2.0, seed=5)
    before = model.get_weights()
    noises = []
    for mask in ([0, 0, 0, 0], [1, 1, 1, 1]):
        model.set_weights(before)
        sums = summed(rule, x, y, mask)
        rule.step(x, y, mask, key=(1,))
        noises.append([4.0 * (b - a) - s for a, b, s in zip(model.get_weights(), before, sums, strict=True)])
    close(noises[0], noises[1])


def train(seed):
    model = network(dropout=0.5)
    rule = rule_for(model, keras.optimizers.Adam(1e-2), noise_multiplier=1.0, seed=seed)
    x, y = batch(6)
    for step in range(4):
        rule.step(x, y, np.arange(6) % 3 != step % 3, key=(0, step), scans=np.arange(6))
    return model.get_weights()


def test_a_seed_reproduces_a_run_bit_for_bit():
    first, again, other = train(11), train(11), train(12)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_each_scan_has_its_own_dropout():
    model = network(dropout=0.5)
    x, y = batch(1)
    rule = rule_for(model, clip_norm=HUGE)
    x, y = np.repeat(x, 2, axis=0), np.repeat(y, 2, axis=0)
    first, second = (summed(rule, x, y, mask)[-2] for mask in ([1, 0], [0, 1]))
    both = summed(rule, x, y)[-2]
    assert not np.array_equal(first, second)
    # Twice the same dropout would leave the same weights without gradient.
    assert ((both == 0).mean()) < ((first == 0).mean())


def test_a_scans_dropout_does_not_depend_on_who_else_takes_part():
    """With the last scan the sum differs by that scan's own gradient, wherever in the draw it stands."""
    rule = rule_for(network(dropout=0.5), clip_norm=HUGE)
    x, y = batch(4)
    alone = [summed(rule, x, y, np.arange(4) == i, scans=[4, 7, 2**63, 9]) for i in range(4)]
    for order in ([0, 1, 2, 3], [3, 0, 2, 1], [2, 0]):
        together = summed(rule, x[order], y[order], scans=np.uint64([4, 7, 2**63, 9])[order])
        close(together, [sum(parts) for parts in zip(*(alone[i] for i in order), strict=True)])


def test_steps_secrets_and_scans_draw_dropout_anew():
    model, (x, y) = network(dropout=0.5), batch(1)
    rules = [rule_for(model, clip_norm=HUGE, seed=seed) for seed in (0, 1)]
    one, again, other_scan = (summed(rules[0], x, y, scans=[scan])[-2] for scan in (5, 5, 6))
    rules[0].step(x, y, [1], key=(1,), scans=[5], last=False)
    drawn = [other_scan, summed(rules[1], x, y, scans=[5])[-2], pending_sum(rules[0])[-2]]
    assert np.array_equal(one, again)
    assert not any(np.array_equal(one, other) for other in drawn)


def test_random_layers_need_to_know_the_scans():
    x, y = batch(2)
    with pytest.raises(TrainingError, match="give a key for each scan"):
        rule_for(network(dropout=0.5)).step(x, y, np.ones(2), key=(0,))


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_sums_in_float32(policy):
    low, full = network(dtype=policy), network()
    low.set_weights(full.get_weights())
    x, y = batch(5)
    rule = rule_for(low, clip_norm=0.5, loss_scale=1024.0 if policy == "mixed_float16" else 1.0)
    sums = summed(rule, x, y)
    assert {s.dtype for s in sums} == {np.dtype(np.float32)}
    close(sums, clipped_sum(naive_gradients(full, x, y), 0.5), tolerance=0.05)
    assert rule.step(x, y, np.ones(5), key=(0,)).scans == 5


def test_loss_scale_changes_nothing_in_full_precision():
    model = network()
    x, y = batch(3)
    close(summed(rule_for(model, loss_scale=256.0), x, y), summed(rule_for(model), x, y), 1e-6)


@pytest.mark.parametrize("unit", ["scan", "patient"])
def test_a_gradient_that_is_not_finite_stops_the_step(unit):
    model = network()
    rule = rule_for(model, keras.optimizers.Adam(1e-2), noise_multiplier=1.0, unit=unit)
    x, y = batch(4)
    broken = x.copy()
    broken[1, 0, 0, 0, 0] = np.nan
    before = model.get_weights()
    with pytest.raises(TrainingError, match="a gradient is not finite; the step was not taken"):
        rule.step(broken, y, np.ones(4), key=(0,), ends=np.ones(4))
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    # Nothing of it is left for the next step.
    assert np.isfinite(rule.step(x, y, np.ones(4), key=(1,), ends=np.ones(4)).loss)
    assert all(np.isfinite(w).all() for w in model.get_weights())


def test_loss_and_accuracy_are_of_the_drawn_scans():
    model = network()
    x, y = batch(5)
    mask = np.array([1, 0, 1, 1, 0])
    probabilities = np.asarray(model(x[mask > 0]))
    truth = y[mask > 0]
    result = rule_for(model).step(x, y, mask, key=(0,))
    assert result.loss == pytest.approx(-np.log((probabilities * truth).sum(axis=1)).mean(), rel=1e-5)
    assert result.accuracy == pytest.approx((probabilities.argmax(1) == truth.argmax(1)).mean())
    assert rule_for(model).step(x, y, 0 * mask, key=(0,)) == (0.0, 0.0, 0, 0, 0.0)


def test_one_trace_serves_every_draw():
    rule = rule_for(network(), noise_multiplier=1.0)
    x, y = batch(6)
    for step in range(6):
        rule.step(x, y, np.arange(6) < step, key=(step,), last=step % 2 == 1 or step > 3)
        forget_step(rule)
    for function in (rule._accumulator._add, rule._accumulator._update):
        assert function.experimental_get_tracing_count() == 1


def test_a_contributed_gradient_is_clipped_like_any_other():
    model = network()
    rule = rule_for(model, clip_norm=0.5)
    ones = [np.ones(v.shape) for v in model.trainable_variables]
    rule.contribute(ones)
    norm = np.sqrt(sum(np.square(g).sum() for g in pending_sum(rule)))
    assert norm == pytest.approx(0.5, rel=1e-5)
    rule.contribute([1e-3 * o for o in ones])
    close(pending_sum(rule), clipped_sum([ones, [1e-3 * o for o in ones]], 0.5), 1e-6)
    x, y = batch(2)
    gradients = [ones, [1e-3 * o for o in ones], *naive_gradients(model, x, y)]
    before = model.get_weights()
    rule.step(x, y, np.ones(2), key=(0,))
    update = [4.0 * (b - a) for a, b in zip(model.get_weights(), before, strict=True)]
    close(update, clipped_sum(gradients, 0.5))
    with pytest.raises(TrainingError, match="does not fit"):
        rule.contribute(ones[:-1])
    with pytest.raises(TrainingError, match="not finite"):
        rule.contribute([np.nan * o for o in ones])


def test_optimizer_sees_the_noised_mean_only():
    """Adam's first step is the sign of its input; with noise alone that is the sign of the noise."""
    model = network()
    rule = rule_for(model, keras.optimizers.Adam(1e-3), noise_multiplier=1.0, seed=3)
    before = model.get_weights()
    x, y = batch(3)
    rule.step(x, y, np.zeros(3), key=(0,))
    # But for the few weights whose noise is near Adam's own epsilon.
    moved = np.concatenate([(b - a).ravel() for a, b in zip(model.get_weights(), before, strict=True)])
    assert np.quantile(np.abs(np.abs(moved) - 1e-3), 0.9) < 1e-6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mask": [1, 1]}, r"mask \(2,\)"),
        ({"mask": [1, 0.5, 0]}, "give a 0 or 1"),
        ({"mask": [1, 0, 0], "ends": [1, 1, 0]}, "ends differs from mask"),
    ],
)
def test_bad_chunks_are_refused(arguments, message):
    x, y = batch(3)
    with pytest.raises(TrainingError, match=message):
        rule_for(network()).step(x, y, key=(0,), **arguments)


def test_chunks_that_do_not_belong_together_are_refused():
    x, y = batch(3)
    rule = rule_for(network())
    rule.step(x, y, np.ones(3), key=(1,), last=False)
    with pytest.raises(TrainingError, match=r"chunk of step \(2,\) while step \(1,\) waits"):
        rule.step(x, y, np.ones(3), key=(2,))
    patients = rule_for(network(), unit="patient")
    with pytest.raises(TrainingError, match="ends is missing"):
        patients.step(x, y, np.ones(3), key=(0,))
    with pytest.raises(TrainingError, match="a unit ends at filling"):
        patients.step(x, y, [1, 0, 0], ends=[1, 1, 0], key=(0,))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"clip_norm": 0.0}, "clip_norm is 0.0"),
        ({"clip_norm": float("inf")}, "clip_norm is inf"),
        ({"noise_multiplier": -1.0}, "noise_multiplier is -1.0"),
        ({"expected_batch": 0.0}, "expected_batch is 0.0"),
        ({"unit": "site"}, "unit is 'site'"),
        ({"loss_scale": 0.0}, "loss_scale is 0.0"),
    ],
)
def test_bad_configuration_is_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        DpSgdConfig(**({"clip_norm": 1.0, "noise_multiplier": 1.0, "expected_batch": 4.0} | change))


def test_what_would_break_the_promise_is_refused():
    with pytest.raises(TrainingError, match="BatchNormalization that trains"):
        rule_for(network(norm="batch"))
    with pytest.raises(TrainingError, match="LossScaleOptimizer"):
        rule_for(network(), keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(1.0)))


def test_shape_is_anisotropic():
    assert len(set(SHAPE)) == 3
