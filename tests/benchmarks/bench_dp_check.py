"""What ``dp_check`` finds: the right private training, and broken ones that claim the same.

    python tests/benchmarks/bench_dp_check.py [--write] [--only NAME ...] [--seeds N]
    python tests/benchmarks/bench_dp_check.py --runs 100

The first checks each training with the demo's budget and canaries, on a small phantom, and prints a table: what they
prove, what each worst case proves, the verdict, and the seconds that training and check took. ``--write`` puts the
table into docs/method.md. It exits with 1 if the right training is contradicted, or a mistake that the check is to find
is not. The second checks the right training many times, at a tiny scale, and exits with 1 if fewer than 95% pass. Each
training of the first is a process of its own, as in the pipeline.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).parents[1] / "training"))

METHOD_PAGE = Path(__file__).parents[2] / "docs" / "method.md"
BEGIN, END = "<!-- bench_dp_check: begin -->", "<!-- bench_dp_check: end -->"
CENTRAL, PATIENTS, SITES = "central, scans", "federated, patients", "federated, sites"
RIGHT = "right"
OF_CLIENTS = (RIGHT, "no noise", "noise divided by the batch", "clients weighted by scans")
OF_SITES = (RIGHT, "no noise on sites")
QUICK_TRIALS = 100


def trainings() -> list[tuple[str, str, bool | None]]:
    """Return (target, name, whether the check is to contradict it) of every training; None: said to be invisible."""
    from planted_bugs import CAUGHT, INVISIBLE, REPEATED

    found: dict[str, bool | None] = dict.fromkeys((*CAUGHT, *REPEATED), True)
    named = {RIGHT: False} | found | dict.fromkeys(INVISIBLE, None)
    rows = [(CENTRAL, name, expected) for name, expected in named.items()]
    rows += [(PATIENTS, name, name != RIGHT) for name in OF_CLIENTS]
    return rows + [(SITES, name, name != RIGHT) for name in OF_SITES]


def main() -> int:
    arguments = _arguments()
    if arguments.child:
        print(json.dumps(check(*arguments.child, Path(arguments.cohort), arguments.seed)))
        return 0
    if arguments.runs:
        return quick_runs(arguments.runs)
    wanted = [t for t in trainings() if t[1] in (arguments.only or [t[1]])]
    as_expected, lines = True, header()
    print("\n".join(lines), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        cohort = _cohort(Path(arguments.cohort or Path(folder) / "cohort"))
        for target, name, expected in wanted:
            for seed in range(arguments.seeds):
                found = _in_a_process(target, name, cohort, seed)
                lines.append(row(target, name, found))
                print(f"{lines[-1]} {found['seconds']:.0f} s", flush=True)
                as_expected &= expected in (None, found["verdict"] == "claim contradicted")
    if arguments.write:
        write(lines)
    return 0 if as_expected else 1


def header() -> list[str]:
    """Return the first two lines of the table."""
    from flprivacy.training.worst_cases import CASES

    columns = ["target", "training", "claim", "by canaries", "assuming nothing", *CASES, "found by"]
    return [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]


def row(target: str, name: str, found: dict[str, Any]) -> str:
    """Return a line of the table: every bound is the strongest of its kind; a worst case's own claim follows it."""
    cases = [f"{c['proven']:.2f} of {c['claim']:.2f}" for c in found["cases"].values()]
    by = [c for c, v in found["cases"].items() if v["proven"] > v["claim"]]
    by = ["canaries"] * (found["proven"] > found["claim"]) + by
    values = [f"{found[key]:.2f}" for key in ("claim", "proven", "nothing")]
    return f"| {' | '.join([target, name, *values, *cases, ', '.join(by) or 'none'])} |"


def write(lines: Sequence[str]) -> None:
    """Replace the table in the page."""
    page = METHOD_PAGE.read_text()
    before, after = page.split(BEGIN)[0], page.split(END)[1]
    METHOD_PAGE.write_text("\n".join([before + BEGIN, *lines, END + after]))


def _cohort(folder: Path) -> Path:
    from flprivacy.cohorts.phantom.config import PhantomConfig
    from flprivacy.cohorts.phantom.generate import phantom_cohort

    if not folder.exists():
        phantom_cohort(PhantomConfig(scans=400, sites=5, shape=(8, 32, 32)), folder)
    return folder


def _in_a_process(target: str, name: str, cohort: Path, seed: int) -> dict[str, Any]:
    command = [sys.executable, __file__, "--child", target, name, "--cohort", str(cohort), "--seed", str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def _config(target: str, seed: int) -> Any:
    """Return the configuration of a target: the demo's check, or a federated one that is like it."""
    from flprivacy.presets import load_preset
    from flprivacy.training.config import CanaryConfig

    config = load_preset("demo").dp_check.target
    privacy = config.privacy
    assert privacy is not None
    config = replace(config, canaries=replace(config.canaries or CanaryConfig(), seed=seed))
    if target == CENTRAL:
        return config
    unit = {PATIENTS: "patient", SITES: "site"}[target]
    privacy = replace(privacy, unit=unit, sampling_rate=0.1, delta=1e-5)
    return replace(config, topology="federated", rounds=5 if target == PATIENTS else 10, privacy=privacy)


def check(target: str, name: str, cohort: Path, seed: int) -> dict[str, object]:
    """Train one way and check it."""
    from flprivacy.cohorts.format import open_cohort

    return check_config(_config(target, seed), name, open_cohort(cohort), seed)


def check_config(config: Any, name: str, cohort: Any, seed: int, **settings: Any) -> dict[str, Any]:
    """Train a configuration with or without a mistake, run the worst cases likewise, and check both."""
    from planted_bugs import planted

    from flprivacy.steps.dp_check import check_target
    from flprivacy.training.train import train_target
    from flprivacy.training.worst_cases import worst_cases

    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, planted(name) as method:
        work, out = Path(folder) / "work", Path(folder) / "out"
        record = train_target(
            "dp-check", config, cohort, protocol="standard", work=work, out=out, private_method=method
        )
        found = check_target(out, record, confidence=0.95, cases=worst_cases(method, seed=seed, **settings))
    cases = {c.name: {"claim": c.claimed_epsilon, "proven": c.bounds[0].epsilon_lower} for c in found.worst_cases}
    return {
        "claim": found.claimed_epsilon,
        "proven": found.epsilon_lower,
        "nothing": max(b.epsilon_lower for b in found.bounds if not b.assumes),
        "cases": cases,
        "verdict": found.verdict,
        "seconds": time.perf_counter() - start,
    }


def quick_runs(runs: int) -> int:
    """Check the right training at a tiny scale with other seeds each time; print how many pass."""
    import keras
    from tiny_training import TINY, tiny_manifest, write_tiny_cohort

    from flprivacy.core.dp_check import NOT_CONTRADICTED
    from flprivacy.models.registry import ARCHITECTURES
    from flprivacy.privacy.config import PrivacyConfig
    from flprivacy.training.config import CanaryConfig, TargetConfig

    privacy = PrivacyConfig(
        unit="scan", noise_multiplier=0.8, adjacency="zero-out", sampling_rate=0.1, optimizer="sgd", delta=1e-5
    )
    config = TargetConfig(topology="central", architecture="tiny", epochs=4, learning_rate=0.1, privacy=privacy)
    passed, start = 0, time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, patch.dict(ARCHITECTURES, tiny=TINY):
        cohort = write_tiny_cohort(Path(folder) / "cohort", tiny_manifest())
        for seed in range(runs):
            one = replace(config, canaries=CanaryConfig(count=200, seed=seed))
            found = check_config(one, RIGHT, cohort, seed, trials=QUICK_TRIALS)
            passed += found["verdict"] == NOT_CONTRADICTED
            keras.backend.clear_session()
            if seed % 10 == 9 or seed + 1 == runs:
                seconds = time.perf_counter() - start
                print(f"{passed} of {seed + 1} quick runs pass, after {seconds:.0f} s", flush=True)
    return 0 if passed >= 0.95 * runs else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="put the table into docs/method.md")
    parser.add_argument("--only", nargs="*", default=[], help="names of trainings")
    parser.add_argument("--runs", type=int, default=0, help="quick runs of the right training")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--cohort", default="", help="folder of a cohort to use")
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--child", nargs=2, default=[], help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
