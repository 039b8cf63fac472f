"""Speed and strength of the attribute attacks against the reference study's algorithm (naive_attack.py).

Both attack the same trunk with the same cohort, epochs, batch size and learning rate, one after the other in this
process. Ours is the public `attack_attributes`, from an empty work folder: extraction, cache files, the family of
learners and score table. Both start warm: TensorFlow is loaded and the trunk has been run once, but every attack traces
its own functions.

    python tests/benchmarks/bench_attacks.py            # naive grid extrapolated from measured attacks, and says so
    python tests/benchmarks/bench_attacks.py --full     # every naive attack run for real (an hour on two cores)
"""

import argparse
import logging
import os
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
from naive_attack import naive_attack
from scipy import stats

from flprivacy.attacks.attribute import attack_attributes
from flprivacy.attacks.baselines import majority
from flprivacy.attacks.config import AttackConfig
from flprivacy.attacks.features import model_forward
from flprivacy.attacks.scenario import attribute_labels
from flprivacy.cohorts.phantom.config import PhantomConfig
from flprivacy.cohorts.phantom.generate import phantom_cohort
from flprivacy.core.cohort import Cohort
from flprivacy.core.digests import digest_file
from flprivacy.core.metrics import confusion_matrices, f1_weighted
from flprivacy.core.parsing import to_mapping
from flprivacy.core.publish import write_json
from flprivacy.core.target import TARGET_FILE, ModelRecord, TargetRecord
from flprivacy.models.registry import TargetModel, build
from flprivacy.models.weights import save_weights

PROTOCOL = "standard"
RUNS = 3  # of ours, which is over so soon that one hiccup of the machine would decide
SINGLE, GRID, WEAKER = 10.0, 150.0, 0.02  # what must hold: speed-ups, and the loss of F1 that is allowed


@dataclass(frozen=True)
class Setting:
    """What both algorithms attack."""

    cohort: Cohort
    target: Path
    model: TargetModel
    config: AttackConfig
    folder: Path


def main() -> int:
    """Run the benchmark; 1 if a requirement does not hold."""
    options = _options()
    logging.basicConfig(level=logging.WARNING)
    with tempfile.TemporaryDirectory() as name:
        setting = _setting(options, Path(name))
        _describe(setting)
        naive = {}  # (attribute, fraction, seed) -> (seconds, result)
        single = _single(setting, naive)
        grid = _grid(setting, naive, full=options.full)
        strength = _strength(setting, naive)
    failed = [text for text, holds in (single, grid, strength) if not holds]
    print("\n" + ("FAILED: " + "; ".join(failed) if failed else "All requirements hold."))
    return 1 if failed and not options.report_only else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scans", type=int, default=1600)
    parser.add_argument("--sites", type=int, default=21)
    parser.add_argument("--shape", type=int, nargs=3, default=(24, 96, 96))
    parser.add_argument("--architecture", default="cnn3d_small")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--fractions", type=float, nargs="+", default=(0.1, 0.25))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=AttackConfig().batch_size)
    parser.add_argument("--learning-rate", type=float, default=AttackConfig().learning_rate)
    parser.add_argument("--views", type=int, default=AttackConfig().views)
    parser.add_argument("--cohort", type=Path, help="a cohort folder to use instead of making phantoms")
    parser.add_argument("--full", action="store_true", help="run every naive attack of the grid for real")
    parser.add_argument("--report-only", action="store_true", help="exit with 0 whatever comes out (small sizes)")
    return parser.parse_args()


def _setting(options: argparse.Namespace, folder: Path) -> Setting:
    if options.cohort:
        from flprivacy.cohorts.format import open_cohort

        cohort = open_cohort(options.cohort)
    else:
        sizes = PhantomConfig(name="bench", scans=options.scans, sites=options.sites, shape=tuple(options.shape))
        cohort = phantom_cohort(sizes, folder / "cohort")
    model = build(options.architecture, shape=cohort.meta.shape, n_classes=len(cohort.meta.class_names), seed=1)
    config = AttackConfig(
        accesses=("features",),
        fractions=tuple(options.fractions),
        seeds=tuple(range(options.seeds)),
        epochs=options.epochs,
        batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        views=options.views,
    )
    target = _write_target(folder / "bench", cohort, model)
    return Setting(cohort=cohort, target=target, model=model, config=config, folder=folder)


def _write_target(folder: Path, cohort: Cohort, model: TargetModel) -> Path:
    folder.mkdir()
    save_weights(model, folder / "model.weights.h5")
    sha256 = digest_file(folder / "model.weights.h5")
    record = TargetRecord(
        name="bench",
        role="target",
        topology=None,
        architecture=model.architecture,
        shape=model.shape,
        n_classes=model.n_classes,
        protocol=PROTOCOL,
        digest=sha256,
        models=(ModelRecord(name="model", weights="model.weights.h5", sha256=sha256, n_train=0),),
        cohort_digest=cohort.meta.digest,
    )
    write_json(folder / TARGET_FILE, to_mapping(record))
    return folder


def _describe(setting: Setting) -> None:
    forward, shape = model_forward(setting.model), (*setting.model.shape, 1)
    forward(np.zeros((16, *shape), np.float32))
    started = time.perf_counter()
    for _ in range(4):
        forward(np.zeros((16, *shape), np.float32))
    per_scan = (time.perf_counter() - started) / 64
    config, counts = setting.config, setting.cohort.manifest["split"].value_counts()
    print(
        f"{setting.model.architecture}, {per_scan * 1e3:.1f} ms a scan forward; {counts['train']} training and "
        f"{counts['test']} held-out scans of {setting.model.shape}, {len(setting.cohort.meta.site_names)} sites; "
        f"{config.epochs} epochs, batch {config.batch_size}, Adam {config.learning_rate:g}, {config.views} view(s); "
        f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores",
        flush=True,
    )


@dataclass(frozen=True)
class Cost:
    """Seconds on the clock and of processor time, over all threads."""

    wall: float
    cpu: float

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.wall + other.wall, self.cpu + other.cpu)

    def __mul__(self, times: int) -> "Cost":
        return Cost(self.wall * times, self.cpu * times)

    def over(self, other: "Cost") -> str:
        return f"{self.wall / other.wall:.1f}x on the clock, {self.cpu / other.cpu:.1f}x in processor time"

    def __str__(self) -> str:
        return f"{self.wall:.1f} s ({self.cpu:.1f} s of processor time)"


def _timed(work):
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    return Cost(time.perf_counter() - wall, time.process_time() - cpu), result


def _naive(setting: Setting, naive: dict, attribute: str, fraction: float, seed: int):
    """Run one naive attack for real, once."""
    key = (attribute, fraction, seed)
    if key not in naive:
        asked = "age" if attribute.startswith("age") else attribute
        edges = setting.config.age_edges_years
        every = attribute_labels(setting.cohort, attributes=(asked,), age_edges_years=edges)
        labels = next(one for one in every if one.name == attribute)
        names = {"fraction": fraction, "seed": seed, "protocol": PROTOCOL}
        naive[key] = _timed(lambda: naive_attack(setting.model, setting.cohort, labels, setting.config, **names))
        print(f"  naive {attribute}, fraction {fraction:g}, seed {seed}: {naive[key][0]}", flush=True)
    return naive[key]


def _ours(setting: Setting, tag: str, **changes):
    config, work = replace(setting.config, **changes), setting.folder / f"work-{tag}"
    cost, (table, curves) = _timed(
        lambda: attack_attributes(config, setting.cohort, setting.target, protocol=PROTOCOL, work=work)
    )
    return cost, table, curves


def _single(setting: Setting, naive: dict) -> tuple[str, bool]:
    fraction = setting.config.fractions[-1]
    print(f"\n(a) one site attack, fraction {fraction:g}, seed 0", flush=True)
    names = {"attributes": ("site",), "fractions": (fraction,), "seeds": (0,)}
    runs = [_ours(setting, f"single-{run}", **names)[0] for run in range(RUNS)]
    theirs, result = _naive(setting, naive, "site", fraction, 0)
    ours = sorted(runs, key=lambda cost: cost.wall)[RUNS // 2]
    print(f"  ours {ours}, the median of {RUNS} runs; naive {theirs}, {result.forwards} scans through the trunk")
    print(f"  speed-up {theirs.over(ours)}; required {SINGLE:g}x", flush=True)
    return f"single attack {theirs.wall / ours.wall:.1f}x", theirs.wall / ours.wall >= SINGLE


def _grid(setting: Setting, naive: dict, *, full: bool) -> tuple[str, bool]:
    config, heads = setting.config, ("site", "sex", "age_band", "age_years")
    print(f"\n(b) site, sex and age x {len(config.fractions)} fractions x {len(config.seeds)} seeds", flush=True)
    runs = [_ours(setting, f"grid-{run}") for run in range(RUNS)]
    ours, table, _ = sorted(runs, key=lambda run: run[0].wall)[RUNS // 2]
    theirs = {name: Cost(0.0, 0.0) for name in heads}
    for name in heads:
        for fraction in config.fractions:
            if full:
                for seed in config.seeds:
                    theirs[name] += _naive(setting, naive, name, fraction, seed)[0]
            else:  # what a naive attack costs depends on its number of scans alone
                theirs[name] += _naive(setting, naive, "site", fraction, config.seeds[0])[0] * len(config.seeds)
    three = theirs["site"] + theirs["sex"] + theirs["age_band"]
    print(f"  ours {ours}, the median of {RUNS} runs, for {len(table.blocks)} attacks, age in bands and in years")
    print(f"  naive {three} for {3 * len(table.blocks) // 4}, age in bands only: {_how(config, full=full)}")
    print(f"  speed-up {three.over(ours)}; required {GRID:g}x")
    print(f"  speed-up {(three + theirs['age_years']).over(ours)}, with naive attacks on age in years too", flush=True)
    return f"grid {three.wall / ours.wall:.0f}x", three.wall / ours.wall >= GRID


def _how(config: AttackConfig, *, full: bool) -> str:
    if full:
        return "every attack was run for real"
    return (
        f"EXTRAPOLATED, all {config.epochs} epochs of the site attack with seed {config.seeds[0]} were run for real at "
        f"each fraction and multiplied by 3 attributes and {len(config.seeds)} seeds"
    )


def _strength(setting: Setting, naive: dict) -> tuple[str, bool]:
    config, fraction = setting.config, setting.config.fractions[-1]
    print(f"\n(c) weighted F1 of the site attack, fraction {fraction:g}, {len(config.seeds)} seeds", flush=True)
    _, table, _ = _ours(setting, "grid-0")  # finished above: read from its work folder
    ours = {block.seed: _f1(block) for block in table.select(attribute="site", fraction=fraction)}
    curves = np.array([_naive(setting, naive, "site", fraction, seed)[1].curve for seed in config.seeds])
    theirs = curves[:, -1]
    difference = np.array([ours[seed] for seed in config.seeds]) - theirs
    half = stats.t.ppf(0.975, len(difference) - 1) * difference.std(ddof=1) / np.sqrt(len(difference))
    mean = difference.mean()
    print(
        f"  ours {np.mean(list(ours.values())):.3f}, naive after the last epoch {theirs.mean():.3f} (in its best epoch "
        f"{curves.max(axis=1).mean():.3f}), majority guess {_majority(setting, fraction):.3f}"
    )
    print(
        f"  difference {mean:+.3f} [{mean - half:+.3f}, {mean + half:+.3f}] (95%, t over seeds); required "
        f"{-WEAKER:g} or more",
        flush=True,
    )
    return f"weighted F1 {mean:+.3f}", mean >= -WEAKER


def _f1(block) -> float:
    guesses = block.scores.argmax(axis=1)
    return float(f1_weighted(confusion_matrices(block.truth.astype(int), guesses, block.scores.shape[1])))


def _majority(setting: Setting, fraction: float) -> float:
    blocks = majority(setting.config, setting.cohort).select(attribute="site", fraction=fraction)
    return float(np.mean([_f1(block) for block in blocks]))


if __name__ == "__main__":
    raise SystemExit(main())
