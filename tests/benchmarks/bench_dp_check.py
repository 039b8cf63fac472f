"""What ``dp_check`` finds at the demo's scale: the right private training, and broken ones that claim the same.

    python tests/benchmarks/bench_dp_check.py [--only NAME ...] [--seeds N]

Prints for each training the claim, the strongest lower bound, the strongest that assumes nothing of the mechanism, the
verdict, and the time. Exits with 1 if the right training is contradicted, or one of the bugs that the check is to find
is not. Each training is a process of its own, as in the pipeline.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "training"))


def main() -> int:
    arguments = _arguments()
    if arguments.child:
        print(json.dumps(check(arguments.child, Path(arguments.cohort), arguments.seed)))
        return 0
    from planted_bugs import CAUGHT, METHODS, RIGHT

    from flprivacy.cohorts.phantom.generate import phantom_cohort
    from flprivacy.presets import load_preset

    as_expected = True
    with tempfile.TemporaryDirectory() as folder:
        config = load_preset("demo").study.cohort
        assert config is not None
        cohort = Path(arguments.cohort or Path(folder) / "cohort")
        if not cohort.exists():
            phantom_cohort(config, cohort)
        print(f"{'training':<40}{'claim':>7}{'proven':>8}{'assuming nothing':>18}  {'by':<28}{'verdict':<24}{'s':>6}")
        for name in arguments.only or METHODS:
            for seed in range(arguments.seeds):
                found = _in_a_process(name, cohort, seed)
                print(
                    f"{name:<40}{found['claim']:>7.2f}{found['proven']:>8.2f}{found['nothing']:>18.2f}"
                    f"  {found['by']:<28}{found['verdict']:<24}{found['seconds']:>6.0f}",
                    flush=True,
                )
                contradicted = found["verdict"] == "claim contradicted"
                as_expected &= contradicted if name in CAUGHT else not (contradicted and name == RIGHT)
    return 0 if as_expected else 1


def _in_a_process(name: str, cohort: Path, seed: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--child", name, "--cohort", str(cohort), "--seed", str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def check(name: str, cohort: Path, seed: int) -> dict[str, object]:
    """Train with one method and check it."""
    from dataclasses import replace

    from planted_bugs import METHODS

    from flprivacy.cohorts.format import open_cohort
    from flprivacy.presets import load_preset
    from flprivacy.steps.dp_check import check_target
    from flprivacy.training.config import CanaryConfig
    from flprivacy.training.train import train_target

    config = load_preset("demo").dp_check.target
    config = replace(config, canaries=replace(config.canaries or CanaryConfig(), seed=seed))
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        work, out = Path(folder) / "work", Path(folder) / "out"
        record = train_target(
            "dp-check",
            config,
            open_cohort(cohort),
            protocol="standard",
            work=work,
            out=out,
            private_method=METHODS[name],
        )
        found = check_target(out, record, confidence=0.95)
    best = found.bounds[0]
    return {
        "claim": found.claimed_epsilon,
        "proven": found.epsilon_lower,
        "nothing": max(b.epsilon_lower for b in found.bounds if not b.assumes),
        "by": f"{best.method}, {best.score}",
        "verdict": found.verdict,
        "seconds": time.perf_counter() - start,
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=[], help="names of trainings")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--cohort", default="", help="folder of a cohort to use")
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--child", default="", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
