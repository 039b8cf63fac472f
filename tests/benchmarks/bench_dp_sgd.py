"""What a private step costs: time and peak memory of DP-SGD beside the ordinary step of the same network and batch.

    python tests/benchmarks/bench_dp_sgd.py [--steps N] [--batch N] [--architecture NAME] [--scans D H W]

Each kind of step lives in a process of its own, set up the way that the product runs it, and the processes take their
steps in turn, so that whatever else the machine does meets all of them alike. Time: the median step, and the median
ratio to the ordinary step taken just before or after. Memory: peak resident memory of the process, and what the steps
added to it. ``naive`` is the textbook loop: a gradient in eager Python for each scan of the batch.

Where JAX is installed the same table follows on JAX, with jax_privacy's clipped gradients of the same network beside
it where that is too (neither is a dependency: ``pip install jax jax-privacy``). Exits with 1 if the product's private
step is above a limit on TensorFlow.
"""

import argparse
import importlib.util
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from flprivacy.core.tensorflow_environment import prepare_tensorflow

TIME_LIMIT, MEMORY_LIMIT = 1.05, 1.10
CLASSES = 3

Step = Callable[[], Any]


def main() -> int:
    arguments = _arguments()
    if arguments.child:
        serve(KINDS[arguments.child](arguments))
        return 0
    within = report("tensorflow", ["ordinary", "private", "naive"], arguments)
    if importlib.util.find_spec("jax"):
        peers = ["jax_privacy", "jax_privacy-streamed"] if importlib.util.find_spec("jax_privacy") else []
        report("jax", ["ordinary", *peers], arguments)
    else:
        print("jax and jax_privacy are not installed: no rows for them")
    return 0 if within else 1


def report(backend: str, kinds: list[str], arguments: argparse.Namespace) -> bool:
    """Measure and print one backend's table; return whether the private step is within its limits."""
    children = {kind: Child(backend, kind, arguments) for kind in kinds}
    seconds: dict[str, list[float]] = {kind: [] for kind in kinds}
    for round_ in range(arguments.steps):
        for kind in kinds if round_ % 2 else kinds[::-1]:
            if kind != "naive" or round_ < 3:
                seconds[kind].append(children[kind].step())
    memory = {kind: child.finish() for kind, child in children.items()}
    shape = "x".join(map(str, arguments.scans))
    print(f"\n{arguments.architecture} on {backend}, batch {arguments.batch} of {shape} voxels, median of")
    print(f"{arguments.steps} steps in turn: seconds a step, ratio | peak memory, ratio | added by the steps")
    for kind in kinds:
        pairs = zip(seconds[kind], seconds["ordinary"], strict=False)
        ratio = statistics.median(a / b for a, b in pairs)
        peak, added = memory[kind]["peak_mib"], memory[kind]["added_mib"]
        times = f"{statistics.median(seconds[kind]):8.3f} s {ratio:7.3f}"
        share = peak / memory["ordinary"]["peak_mib"]
        print(f"  {kind:<22} {times} | {peak:7.0f} MiB {share:6.3f} | {added:7.0f} MiB")
        if kind == "private":
            within = ratio <= TIME_LIMIT and share <= MEMORY_LIMIT
    print(f"  private: {'within' if within else 'ABOVE'} the limits (time {TIME_LIMIT}, memory {MEMORY_LIMIT})")
    return within


class Child:
    """A process that takes one kind of step when told to."""

    def __init__(self, backend: str, kind: str, arguments: argparse.Namespace) -> None:
        command = [sys.executable, __file__, "--child", kind, "--batch", str(arguments.batch)]
        command += ["--architecture", arguments.architecture, "--scans", *map(str, arguments.scans)]
        prepare_tensorflow()
        environment = os.environ | {"KERAS_BACKEND": backend}
        self._process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._read()

    def step(self) -> float:
        """Return the seconds that a step took."""
        return float(self._ask("step")["seconds"])

    def finish(self) -> dict[str, float]:
        """End the process; return its memory."""
        memory = self._ask("finish")
        self._process.wait()
        return memory

    def _ask(self, what: str) -> dict[str, float]:
        assert self._process.stdin
        self._process.stdin.write(what + "\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, float]:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"a benchmark process ended early with {self._process.wait()}")
        answer: dict[str, float] = json.loads(line)
        return answer


def serve(step: Step) -> None:
    """Take a step each time that the parent asks."""
    before = _peak_mib()
    step()
    step()
    print("{}", flush=True)
    for line in sys.stdin:
        if line.strip() == "finish":
            print(json.dumps({"peak_mib": _peak_mib(), "added_mib": _peak_mib() - before}), flush=True)
            return
        start = time.perf_counter()
        step()
        print(json.dumps({"seconds": time.perf_counter() - start}), flush=True)


def ordinary_step(arguments: argparse.Namespace) -> Step:
    """Return the product's non-private step."""
    import numpy as np

    from flprivacy.training.config import TargetConfig
    from flprivacy.training.method import ADAM, Batch

    x, y = _batch(arguments, arguments.batch)
    step = ADAM.compile(_network(arguments), TargetConfig(topology="central", batch_size=arguments.batch))
    batch = Batch(indices=np.arange(arguments.batch), weights=np.ones(arguments.batch, dtype=np.float32))
    keys = np.arange(arguments.batch, dtype=np.uint64)
    return lambda: step.run(x, y, batch, keys)


def private_step(arguments: argparse.Namespace) -> Step:
    """Return the product's private step. Room for a larger draw is padded, as it is in training."""
    import itertools

    import keras
    import numpy as np

    from flprivacy.privacy.config import DpSgdConfig
    from flprivacy.privacy.gradients import DpSgdRule, prepare_process

    prepare_process()
    physical = arguments.batch + arguments.batch // 2
    x, y = _batch(arguments, physical)
    mask = (np.arange(physical) < arguments.batch).astype(np.float32)
    config = DpSgdConfig(clip_norm=1.0, noise_multiplier=1.0, expected_batch=float(arguments.batch))
    rule = DpSgdRule(_network(arguments), keras.optimizers.Adam(1e-3), config, seed=0)
    number = itertools.count()
    return lambda: rule.step(x, y, mask, key=(next(number),), scans=np.arange(physical))


def naive_step(arguments: argparse.Namespace) -> Step:
    """Return the textbook step: all gradients kept, each computed by a call from Python."""
    import keras
    import tensorflow as tf

    network, optimizer = _network(arguments), keras.optimizers.Adam(1e-3)
    optimizer.build(network.trainable_variables)
    x, y = (tf.constant(a) for a in _batch(arguments, arguments.batch))
    weights = [v.value for v in network.trainable_variables]

    def step() -> None:
        gradients = []
        for i in range(arguments.batch):
            with tf.GradientTape() as tape:
                loss = keras.losses.categorical_crossentropy(y[i : i + 1], network(x[i : i + 1], training=True))[0]
            gradients.append(tf.clip_by_global_norm(tape.gradient(loss, weights), 1.0)[0])
        sums = [tf.add_n(parts) for parts in zip(*gradients, strict=True)]
        means = [(s + tf.random.normal(s.shape)) / arguments.batch for s in sums]
        optimizer.apply(means, network.trainable_variables)

    return step


def jax_privacy_step(arguments: argparse.Namespace, microbatch_size: int | None = None) -> Step:
    """Return a step of the same network, clip norm, noise and optimizer, with jax_privacy's clipped gradients."""
    import jax
    import jax.numpy as jnp
    import keras
    from jax_privacy import clipping

    network, optimizer = _network(arguments), keras.optimizers.Adam(1e-3)
    optimizer.build(network.trainable_variables)
    x, y = (jnp.asarray(a) for a in _batch(arguments, arguments.batch))

    def loss(weights: Any, others: Any, x: Any, y: Any) -> Any:
        probabilities, _ = network.stateless_call(weights, others, x[None], training=True)
        return keras.losses.categorical_crossentropy(y[None], probabilities)[0]

    gradient = clipping.clipped_grad(
        loss, l2_clip_norm=1.0, batch_argnums=(2, 3), keep_batch_dim=False, microbatch_size=microbatch_size
    )

    @jax.jit
    def run(weights: Any, others: Any, state: Any, key: Any) -> Any:
        sums = gradient(weights, others, x, y)
        keys = jax.random.split(key, len(sums))
        means = [(s + jax.random.normal(k, s.shape)) / arguments.batch for s, k in zip(sums, keys, strict=True)]
        return optimizer.stateless_apply(state, means, weights)

    held: dict[str, Any] = {
        "weights": [v.value for v in network.trainable_variables],
        "state": [v.value for v in optimizer.variables],
        "key": jax.random.key(0),
    }
    others = [v.value for v in network.non_trainable_variables]

    def step() -> None:
        held["key"], key = jax.random.split(held["key"])
        held["weights"], held["state"] = jax.block_until_ready(run(held["weights"], others, held["state"], key))

    return step


KINDS: dict[str, Callable[[argparse.Namespace], Step]] = {
    "ordinary": ordinary_step,
    "private": private_step,
    "naive": naive_step,
    "jax_privacy": jax_privacy_step,
    "jax_privacy-streamed": lambda arguments: jax_privacy_step(arguments, 1),
}


def _network(arguments: argparse.Namespace) -> Any:
    from flprivacy.models.registry import build
    from flprivacy.privacy.compatibility import freeze_batch_normalization

    network = build(arguments.architecture, shape=tuple(arguments.scans), n_classes=CLASSES, seed=0).model
    freeze_batch_normalization(network)
    return network


def _batch(arguments: argparse.Namespace, size: int) -> tuple[Any, Any]:
    import numpy as np

    rng = np.random.default_rng(0)
    x = rng.random((size, *arguments.scans, 1), dtype=np.float32)
    return x, np.eye(CLASSES, dtype=np.float32)[rng.integers(0, CLASSES, size)]


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--architecture", default="cnn3d_small")
    parser.add_argument("--scans", type=int, nargs=3, default=(24, 64, 64), metavar=("D", "H", "W"))
    parser.add_argument("--child", default="", choices=["", *KINDS], help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
