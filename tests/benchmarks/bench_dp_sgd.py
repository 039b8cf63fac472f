"""What a private step costs: time and peak memory of DP-SGD beside the ordinary step of the same network and batch.

    python tests/benchmarks/bench_dp_sgd.py [--steps N] [--batch N] [--architecture NAME] [--memory-only]

Time: both steps in one process, taken in turn so that other work on the machine meets both alike; the median of the
paired ratios counts. Memory: each step alone in a process of its own; peak resident memory of the whole process, and
what the steps added to the loaded process. Where JAX is installed the same table follows on JAX, and where jax_privacy
is too (it is no dependency: ``pip install jax jax-privacy``), its clipped gradients of the same network beside it.
Exits with 1 if a ratio of the product's own step is above the limit.
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

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

TIME_LIMIT, MEMORY_LIMIT = 1.10, 1.10
SHAPE, CLASSES = (24, 64, 64), 3

Step = Callable[[], Any]


def main() -> int:
    arguments = _arguments()
    if arguments.child == "time":
        print(json.dumps(measure_time(arguments)))
        return 0
    if arguments.child:
        print(json.dumps(measure_memory(arguments)))
        return 0
    backends = ["tensorflow", *(["jax"] if importlib.util.find_spec("jax") else [])]
    within = True
    for backend in backends:
        within &= report(backend, arguments)
    if len(backends) == 1:
        print("jax and jax_privacy are not installed: no rows for them")
    return 0 if within else 1


def report(backend: str, arguments: argparse.Namespace) -> bool:
    """Print one backend's table; return whether the product's step is within its limits."""
    memory = {name: _child(backend, name, arguments) for name in ("ordinary", "private")}
    peak = memory["private"]["peak_mib"] / memory["ordinary"]["peak_mib"]
    print(f"\n{arguments.architecture} on {backend}, {SHAPE} voxels, batch {arguments.batch}")
    for name, m in memory.items():
        print(f"  {name:<28} peak {m['peak_mib']:8.0f} MiB, of which steps added {m['added_mib']:8.0f} MiB")
    print(f"  {'peak memory ratio':<28} {peak:.3f} (limit {MEMORY_LIMIT})")
    within = peak <= MEMORY_LIMIT
    if not arguments.memory_only:
        times = _child(backend, "time", arguments)
        for name, t in times.items():
            print(f"  {name:<28} {t['seconds']:8.3f} s a step, ratio {t['ratio']:.3f} (limit {TIME_LIMIT})")
        within &= times["private"]["ratio"] <= TIME_LIMIT
    print(f"  {'within' if within else 'ABOVE'} the limits")
    return within or backend != "tensorflow"


def measure_time(arguments: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Take the steps in turn; return median seconds, and the median ratio to the ordinary step beside it."""
    steps = {"ordinary": ordinary_step(arguments), "private": private_step(arguments)} | peers(arguments)
    for step in steps.values():
        step()
        step()
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for round_ in range(arguments.steps):
        names = list(steps)
        for name in names if round_ % 2 else reversed(names):
            start = time.perf_counter()
            steps[name]()
            seconds[name].append(time.perf_counter() - start)
    reference = seconds["ordinary"]
    return {
        name: {
            "seconds": statistics.median(values),
            "ratio": statistics.median(a / b for a, b in zip(values, reference, strict=True)),
        }
        for name, values in seconds.items()
    }


def measure_memory(arguments: argparse.Namespace) -> dict[str, float]:
    """Take a few steps of one kind; return peak resident memory, and the part that the steps added."""
    step = {"ordinary": ordinary_step, "private": private_step}[arguments.child](arguments)
    before = _peak_mib()
    for _ in range(3):
        step()
    return {"peak_mib": _peak_mib(), "added_mib": _peak_mib() - before}


def ordinary_step(arguments: argparse.Namespace) -> Step:
    """Return the product's non-private step."""
    import numpy as np

    from flprivacy.core.config import TargetConfig
    from flprivacy.training.adam import ADAM

    x, y = _batch(arguments.batch)
    step = ADAM.compile(_network(arguments), TargetConfig(topology="central", batch_size=arguments.batch))
    weights = np.ones(arguments.batch, dtype=np.float32)
    return lambda: step.run(x, y, weights)


def private_step(arguments: argparse.Namespace) -> Step:
    """Return the product's private step. Room for a larger draw is padded, as it is in training."""
    import itertools

    import keras
    import numpy as np

    from flprivacy.privacy.gradients import DpSgdConfig, DpSgdRule

    physical = arguments.batch + arguments.batch // 2
    x, y = _batch(physical)
    mask = (np.arange(physical) < arguments.batch).astype(np.float32)
    config = DpSgdConfig(clip_norm=1.0, noise_multiplier=1.0, expected_batch=float(arguments.batch))
    rule = DpSgdRule(_network(arguments), keras.optimizers.Adam(1e-3), config, seed=0)
    number = itertools.count()
    return lambda: rule.step(x, y, mask, key=(next(number),))


def peers(arguments: argparse.Namespace) -> dict[str, Step]:
    """Return jax_privacy's steps where it is installed: all gradients at once, and one at a time."""
    import keras

    if keras.backend.backend() != "jax" or not importlib.util.find_spec("jax_privacy"):
        return {}
    return {
        "jax_privacy, all at once": jax_privacy_step(arguments, None),
        "jax_privacy, one at a time": jax_privacy_step(arguments, 1),
    }


def jax_privacy_step(arguments: argparse.Namespace, microbatch_size: int | None) -> Step:
    """Return a step of the same network, clip norm, noise and optimizer, with jax_privacy's clipped gradients."""
    import jax
    import jax.numpy as jnp
    import keras
    from jax_privacy import clipping

    network, optimizer = _network(arguments), keras.optimizers.Adam(1e-3)
    optimizer.build(network.trainable_variables)
    x, y = (jnp.asarray(a) for a in _batch(arguments.batch))

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


def _network(arguments: argparse.Namespace) -> Any:
    from flprivacy.models.registry import build
    from flprivacy.privacy.compatibility import freeze_batch_normalization

    network = build(arguments.architecture, shape=SHAPE, n_classes=CLASSES, seed=0).model
    freeze_batch_normalization(network)
    return network


def _batch(size: int) -> tuple[Any, Any]:
    import numpy as np

    rng = np.random.default_rng(0)
    x = rng.random((size, *SHAPE, 1), dtype=np.float32)
    return x, np.eye(CLASSES, dtype=np.float32)[rng.integers(0, CLASSES, size)]


def _child(backend: str, what: str, arguments: argparse.Namespace) -> Any:
    command = [sys.executable, __file__, "--child", what, "--steps", str(arguments.steps)]
    command += ["--batch", str(arguments.batch), "--architecture", arguments.architecture]
    environment = os.environ | {"KERAS_BACKEND": backend}
    output = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(output.splitlines()[-1])


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=9)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--architecture", default="cnn3d_small")
    parser.add_argument("--memory-only", action="store_true")
    parser.add_argument("--child", default="", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
