"""What a generator costs: seconds and peak memory of training steps, up to full size, and of the demo's training.

    python tests/benchmarks/bench_generator.py [--demo] [--steps N] [--mixed-precision]

Each size is measured in a process of its own: building both networks, one step that traces and compiles, then the
median of the others; a step is one update of the discriminator, with R1, and one of the generator. Exits with 1 if the
full size needs more than 20 GiB. ``--demo`` also trains the demo's generator on the demo's cohort.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LIMIT_GIB = 20.0
# (depth, height, width), channels at the finest level, scans a step
SIZES = {"demo": ((16, 64, 64), 8, 8), "middle": ((24, 128, 128), 16, 8), "full": ((24, 256, 256), 32, 4)}
CONDITIONS = 24


def main() -> int:
    arguments = _arguments()
    if arguments.child:
        print(json.dumps(measure(arguments.child, steps=arguments.steps, mixed_precision=arguments.mixed_precision)))
        return 0
    print("size      scans          width  batch | weights G, D (million) | first step, then | peak memory")
    found = {}
    for name, (shape, width, batch) in SIZES.items():
        command = [sys.executable, __file__, "--child", name, "--steps", str(arguments.steps)]
        command += ["--mixed-precision"] if arguments.mixed_precision else []
        answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        found[name] = one = json.loads(answer.splitlines()[-1])
        scans = "x".join(map(str, shape))
        weights = f"{one['generator_weights'] / 1e6:9.1f} {one['discriminator_weights'] / 1e6:9.1f}"
        seconds = f"{one['first_seconds']:7.1f} s {one['seconds']:7.2f} s"
        print(f"{name:<9} {scans:<14} {width:<6} {batch:<5} | {weights:<22} | {seconds} | {one['peak_gib']:6.2f} GiB")
    if arguments.demo:
        train_demo()
    within = found["full"]["peak_gib"] <= LIMIT_GIB
    print(f"full size: {'within' if within else 'ABOVE'} {LIMIT_GIB:g} GiB")
    return 0 if within else 1


def measure(name: str, *, steps: int, mixed_precision: bool) -> dict[str, float]:
    """Take steps on noise and return what they cost."""
    import numpy as np

    from flprivacy.synthesis.adversaries import Adversaries
    from flprivacy.synthesis.config import GeneratorConfig
    from flprivacy.synthesis.draws import draw_noise
    from flprivacy.synthesis.networks import NetworkSize

    shape, width, batch = SIZES[name]
    config = GeneratorConfig(width=width, batch_size=batch, mixed_precision=mixed_precision)
    size = NetworkSize(
        shape=shape, latent=config.latent, conditions=CONDITIONS, width=width, mixed_precision=mixed_precision
    )
    networks = Adversaries(size, config)
    networks.start(networks.initial(0))
    rng = np.random.default_rng(0)
    real = rng.uniform(-1.0, 1.0, (batch, *shape, 1)).astype(np.float32)
    asked = np.eye(CONDITIONS, dtype=np.float32)[rng.integers(CONDITIONS, size=batch)]
    seconds = []
    for _ in range(steps + 1):
        started, noise = time.monotonic(), draw_noise(batch, config.latent, shape, rng)
        networks.update_discriminator(real, asked, asked[::-1], noise, asked, None, penalise=True)
        networks.update_generator(noise, asked, None)
        seconds.append(time.monotonic() - started)
    return {
        "first_seconds": seconds[0],
        "seconds": statistics.median(seconds[1:]),
        "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "generator_weights": networks.generator.count_params(),
        "discriminator_weights": networks.discriminator.count_params(),
    }


def train_demo() -> None:
    """Train the demo's generator as the demo does."""
    from flprivacy.cohorts.phantom.generate import phantom_cohort
    from flprivacy.presets import load_preset
    from flprivacy.synthesis.train import train_generator

    study = load_preset("demo").study
    assert study.cohort
    assert study.generator
    with tempfile.TemporaryDirectory() as name:
        cohort = phantom_cohort(study.cohort, Path(name) / "cohort")
        started, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF)
        train_generator(study.generator, cohort, work=Path(name) / "work", out=Path(name) / "out")
        after = resource.getrusage(resource.RUSAGE_SELF)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        print(f"the demo's generator: {time.monotonic() - started:.0f} s, {cpu:.0f} s of processors")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=2, help="steps behind the first")
    parser.add_argument("--mixed-precision", action="store_true", help="compute in bfloat16")
    parser.add_argument("--demo", action="store_true", help="train the demo's generator, too")
    parser.add_argument("--child", choices=SIZES, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
