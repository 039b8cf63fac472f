import numpy as np
import pytest
from scipy import stats

from flprivacy.core.errors import ConfigError
from flprivacy.privacy.sampling import patient_chunks, physical_batch, poisson_sample, scan_chunks


def draws(n, rate, steps, seed=0):
    """Return (step, unit) who took part."""
    taken = np.zeros((steps, n))
    for step in range(steps):
        taken[step, poisson_sample(n, rate, seed=seed, key=(step,))] = 1.0
    return taken


def test_each_unit_takes_part_with_the_rate():
    n, rate, steps = 40, 0.15, 4000
    taken = draws(n, rate, steps)
    counts = taken.sum(axis=0)
    # Chi-square over units: each count is binomial.
    statistic = (np.square(counts - rate * steps) / (rate * (1 - rate) * steps)).sum()
    assert stats.chi2.ppf(5e-4, n) < statistic < stats.chi2.ppf(1 - 5e-4, n)


def test_batch_size_is_binomial_and_units_are_independent():
    n, rate, steps = 40, 0.15, 4000
    taken = draws(n, rate, steps)
    sizes = taken.sum(axis=1)
    assert sizes.var() == pytest.approx(n * rate * (1 - rate), rel=0.1)
    assert stats.chisquare(
        [(sizes <= 4).sum(), (sizes == 5).sum(), (sizes == 6).sum(), (sizes == 7).sum(), (sizes >= 8).sum()],
        steps * np.diff([0, *stats.binom.cdf([4, 5, 6, 7], n, rate), 1]),
    ).pvalue > 1e-3  # fmt: skip
    between_units = np.corrcoef(taken.T)[np.triu_indices(n, 1)]
    between_steps = [np.corrcoef(taken[:-1, u], taken[1:, u])[0, 1] for u in range(n)]
    assert abs(between_units.mean()) < 4 / np.sqrt(steps * len(between_units))
    assert abs(np.mean(between_steps)) < 4 / np.sqrt(steps * n)


def test_shuffled_batches_would_not_pass():
    """The known leak of the test above: batches of one size have no variance."""
    sizes = np.full(4000, 6.0)
    assert sizes.var() != pytest.approx(40 * 0.15 * 0.85, rel=0.1)


def test_a_draw_is_named_by_seed_and_key():
    first = poisson_sample(100, 0.3, seed=1, key=(0, 2, 5))
    assert first.tolist() == poisson_sample(100, 0.3, seed=1, key=(0, 2, 5)).tolist()
    assert first.tolist() != poisson_sample(100, 0.3, seed=1, key=(1, 2, 5)).tolist()
    assert first.tolist() != poisson_sample(100, 0.3, seed=2, key=(0, 2, 5)).tolist()
    assert poisson_sample(7, 1.0, seed=0, key=(0,)).tolist() == list(range(7))


def put_together(chunks):
    """Return the scans and unit ends of a step, without filling."""
    for chunk in chunks:
        assert ((chunk.indices >= 0) & (chunk.ends <= chunk.mask)).all()
    assert [c.last for c in chunks] == [False] * (len(chunks) - 1) + [True]
    scans = np.concatenate([c.indices[c.mask > 0] for c in chunks])
    return scans, np.concatenate([c.ends[c.mask > 0] for c in chunks])


@pytest.mark.parametrize("physical", [3, 8, 64])
def test_chunks_leave_nothing_out(physical):
    chunks = list(scan_chunks(60, 0.3, physical=physical, seed=2, key=(9,)))
    scans, ends = put_together(chunks)
    assert scans.tolist() == poisson_sample(60, 0.3, seed=2, key=(9,)).tolist()
    assert (ends == 1).all()
    assert {len(c.indices) for c in chunks} == {physical}
    assert len(chunks) == -(-len(scans) // physical)


def test_an_empty_draw_is_one_chunk_of_filling():
    (chunk,) = scan_chunks(5, 1e-9, physical=4, seed=0, key=(0,))
    assert chunk.last
    assert chunk.mask.sum() == 0
    (chunk,) = patient_chunks(["a", "b"], 1e-9, physical=4, seed=0, key=(0,))
    assert chunk.mask.sum() == 0


@pytest.mark.parametrize("physical", [2, 5, 64])
def test_a_drawn_patient_brings_every_scan(physical):
    patients = np.array(["p3", "p1", "p3", "p2", "p1", "p3", "p9", "p2", "p7"])
    for step in range(20):
        chunks = list(patient_chunks(patients, 0.5, physical=physical, seed=4, key=(step,)))
        scans, ends = put_together(chunks)
        drawn = set(patients[scans])
        assert sorted(scans) == sorted(np.flatnonzero(np.isin(patients, sorted(drawn))))
        # One end a patient, at the last of scans that follow one another.
        assert ends.sum() == len(drawn)
        groups = np.split(patients[scans], np.flatnonzero(ends)[:-1] + 1) if len(scans) else []
        assert all(len(set(group)) == 1 for group in groups)


def test_patients_take_part_with_the_rate_however_many_scans_they_have():
    patients = np.repeat(["a", "b", "c"], [1, 2, 9])
    steps = 3000
    counts = dict.fromkeys("abc", 0)
    for step in range(steps):
        for chunk in patient_chunks(patients, 0.2, physical=16, seed=0, key=(step,)):
            for patient in patients[chunk.indices[chunk.ends > 0]]:
                counts[patient] += 1
    for count in counts.values():
        assert abs(count - 600) < 4 * np.sqrt(3000 * 0.2 * 0.8)


def test_physical_batch_is_seldom_exceeded():
    physical = physical_batch(np.ones(200), 0.1, overflow=0.05)
    assert stats.binom.sf(physical, 200, 0.1) <= 0.05 < stats.binom.sf(physical - 1, 200, 0.1)
    rng = np.random.default_rng(0)
    scans = rng.integers(1, 6, size=300)
    physical = physical_batch(scans, 0.1)
    sizes = ((rng.random((4000, 300)) < 0.1) * scans).sum(axis=1)
    assert 0.01 < (sizes > physical).mean() < 0.09


def test_batches_and_rates_out_of_range_are_refused():
    with pytest.raises(ConfigError, match=r"sampling rate is 0\.0"):
        poisson_sample(5, 0.0, seed=0, key=(0,))
    with pytest.raises(ConfigError, match="physical batch is 0"):
        list(scan_chunks(5, 0.5, physical=0, seed=0, key=(0,)))
