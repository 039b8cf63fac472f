import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from flprivacy.attacks.cache import CHUNK_BATCHES, ChunkedCache, ahead, fill
from flprivacy.core.errors import AttackError
from flprivacy.core.progress import progress

ROWS = np.arange(3, 203, 2)
BATCH = 3
CHUNK = BATCH * CHUNK_BATCHES


class Compute:
    """A forward pass that counts what it is asked, and can die."""

    def __init__(self, *, die_after=None):
        self.seen, self.shapes, self.die_after = [], set(), die_after

    def load(self, rows):
        return np.stack([rows, rows**2], axis=1).astype("f4")

    def forward(self, inputs):
        self.shapes.add(inputs.shape)
        self.seen += inputs[:, 0].astype(int).tolist()
        if self.die_after is not None and len(self.seen) > self.die_after:
            raise KeyboardInterrupt
        return {"features": inputs + 0.5, "outputs": inputs[:, :1]}


def run(folder, rows=ROWS, **kwargs):
    cache, compute = ChunkedCache(folder), Compute(**kwargs)
    missing = cache.missing(rows)
    with progress("test", len(missing)) as counter:
        fill(cache, missing, batch_size=BATCH, load=compute.load, forward=compute.forward, counter=counter)
    return cache, compute, counter


def check(cache, rows=ROWS):
    arrays = cache.read(rows)
    np.testing.assert_array_equal(arrays["features"], np.stack([rows, rows**2], axis=1).astype("f4") + 0.5)
    np.testing.assert_array_equal(arrays["outputs"], rows[:, None].astype("f4"))


def test_every_row_is_computed_once_in_batches_of_one_shape(tmp_path):
    cache, compute, counter = run(tmp_path)
    check(cache)
    assert compute.shapes == {(BATCH, 2)}
    assert sorted(set(compute.seen)) == ROWS.tolist()
    assert len(compute.seen) == -(-len(ROWS) // BATCH) * BATCH  # the last batch is padded
    assert counter.done == len(ROWS)


def test_rows_are_read_in_the_order_asked(tmp_path):
    cache, _, _ = run(tmp_path)
    check(cache, ROWS[::-7])


def test_what_is_cached_is_not_computed_again(tmp_path):
    run(tmp_path)
    cache, compute, _ = run(tmp_path)
    assert compute.seen == []
    check(cache)


def test_more_rows_are_added_to_what_is_there(tmp_path):
    run(tmp_path, ROWS[::3])
    cache, compute, _ = run(tmp_path)
    assert not set(compute.seen) & set(ROWS[::3].tolist())
    check(cache)


def test_an_interruption_loses_the_chunk_under_way_only(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, die_after=CHUNK + 2 * BATCH)
    assert len(ChunkedCache(tmp_path).missing(ROWS)) == len(ROWS) - CHUNK
    cache, compute, _ = run(tmp_path)
    assert compute.seen[0] == ROWS[CHUNK]
    check(cache)


def test_kill_9_at_any_moment_leaves_whole_chunks_only(tmp_path):
    code = f"""
    import os, signal, sys
    sys.path.insert(0, {os.fspath(tmp_path)!r})
    import numpy as np
    from pathlib import Path
    from flprivacy.attacks.cache import ChunkedCache, fill
    from flprivacy.core.progress import progress
    import flprivacy.attacks.cache as kept

    count = 0
    save = np.savez
    def dying(stream, **arrays):  # the second chunk's file is half written when the process dies
        global count
        count += 1
        if count == 2:
            stream.write(b"PK half a file")
            stream.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        save(stream, **arrays)
    kept.np.savez = dying

    rows = np.arange(3, 203, 2)
    load = lambda some: np.stack([some, some**2], axis=1).astype("f4")
    with progress("test", len(rows)) as counter:
        fill(ChunkedCache(Path({os.fspath(tmp_path / "cache")!r})), rows, batch_size={BATCH}, load=load,
             forward=lambda x: {{"features": x + 0.5, "outputs": x[:, :1]}}, counter=counter)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert len(list((tmp_path / "cache").glob("*.npz"))) == 1
    cache, compute, _ = run(tmp_path / "cache")
    assert compute.seen[0] == ROWS[CHUNK]
    check(cache)


def test_a_damaged_chunk_is_named(tmp_path):
    cache, _, _ = run(tmp_path)
    victim = sorted(tmp_path.glob("*.npz"))[1]
    victim.write_bytes(victim.read_bytes()[:-200])
    with pytest.raises(AttackError, match=f"{victim.name}: damaged .* delete this file"):
        cache.read(ROWS)


def test_rows_that_were_never_computed_cannot_be_read(tmp_path):
    cache, _, _ = run(tmp_path)
    with pytest.raises(AttackError, match="lacks rows"):
        cache.read(np.array([3, 4]))


def test_work_ahead_keeps_its_order_and_passes_errors_on():
    assert list(ahead(lambda x: x * 2, list(range(20)))) == list(range(0, 40, 2))
    assert list(ahead(lambda x: x, [])) == []

    def refuse(x):
        if x == 3:
            raise AttackError("volume 3 is missing")
        return x

    with pytest.raises(AttackError, match="volume 3"):
        list(ahead(refuse, list(range(9))))
