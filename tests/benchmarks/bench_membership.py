"""What attacks on membership find with how many references, and what an audit of membership costs.

    python tests/benchmarks/bench_membership.py                            # a small study, trained here: minutes
    python tests/benchmarks/bench_membership.py --home HOME [--home OTHER]  # what runs of preset membership left there

A home is the ``FLPRIVACY_HOME`` of finished runs; targets of several homes share the references of their recipe, so
that another home may hold the same target with other seeds. Printed are:

- the AUC and the true positive rate at a false positive rate of 1% of every attack on every target, with intervals;
- how much of LiRA's excess of the AUC with all references RMIA has with 2, over all pairs;
- what querying and auditing cost beside the trainings of targets and references;
- the peak memory of attacks and audit with 4 and with 32 references, of synthetic tables, in processes of their own;
- without a home: two references trained side by side against one after another, and how many are trained when 16 are
  asked for after 4.

Exits with 1 if memory grows by more than 5%, or if asking for more references trains any again.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
from membership_memory import write_tables

from flprivacy.attacks.membership.references import attack_with_references
from flprivacy.auditing.config import MembershipRule
from flprivacy.auditing.membership.targets import audit_targets
from flprivacy.cohorts.placed import open_manifest
from flprivacy.core.artifacts import MEMBERSHIP_FILE, REFERENCE_FILE
from flprivacy.core.cohort import Cohort
from flprivacy.core.events import EventReader
from flprivacy.core.membership import SCAN, MembershipFinding
from flprivacy.core.membership_scores import MembershipScores
from flprivacy.core.reference_scores import ReferenceJob, ReferenceScores
from flprivacy.core.vocabulary import PATIENTS
from flprivacy.study.plan import Plan
from flprivacy.training.recipe import recipe_digest, why_no_recipe

FPR, MOST_OVERHEAD, MOST_GROWTH = 0.01, 0.05, 0.05
SMALL = """
name: bench
cohort: {{name: bench, scans: 320, sites: 5, shape: [8, 48, 48], seed: 3}}
targets:
  central: {{topology: central, architecture: cnn3d_small, epochs: 12, batch_size: 8, augment: false}}
  untrained: {{topology: untrained, architecture: cnn3d_small, initialisations: 2}}
membership: {{references: {references}}}
attack: {{attributes: [site], accesses: [outputs], fractions: [0.1], seeds: [0, 1]}}
"""


def main() -> int:
    """Run the benchmark; 1 if a requirement does not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, action="append", default=[])
    parser.add_argument("--train-in", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--index", type=int, default=0, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.train_in:
        train_one(arguments.train_in, arguments.index)
        return 0
    failed = []
    with tempfile.TemporaryDirectory() as name:
        homes, scratch = arguments.home, Path(name)
        if not homes:
            homes = [scratch]
            failed = run_small(scratch)
        print_strength(homes)
        print_costs(homes)
        for folder in (scratch / "beside", scratch / "memory"):
            folder.mkdir()
        if not arguments.home:
            train_beside(scratch, scratch / "beside")
        failed += compare_memory(scratch / "memory")
    print("\n" + (f"FAILED: {'; '.join(failed)}" if failed else "All requirements hold."))
    return 1 if failed else 0


@dataclass(frozen=True, kw_only=True)
class Attacked:
    """A target with the references of its recipe."""

    name: str
    table: MembershipScores
    cohort: Cohort
    references: tuple[ReferenceScores, ...]

    def scored(self, indices: Sequence[int] | None = None) -> MembershipScores:
        """Return what is found with some of the references."""
        chosen = self.references if indices is None else [self.references[index] for index in indices]
        if not chosen:
            return self.table
        return attack_with_references(self.table, self.cohort, chosen, recipe=chosen[0].recipe)


def attacked_targets(homes: Sequence[Path]) -> list[Attacked]:
    """Return the targets of finished runs with the references of their recipe, whichever home holds these."""
    references: dict[tuple[str, int], ReferenceScores] = {}
    cohorts = {}
    for home in homes:
        for file in sorted((home / "store" / "reference").glob(f"*/{REFERENCE_FILE}")):
            one = ReferenceScores.read(file.parent)
            if one.drawn == PATIENTS:
                references.setdefault((one.recipe, one.index), one)
        for meta in sorted((home / "store" / "cohort").glob("*/cohort.json")):
            opened = open_manifest(meta.parent)
            cohorts[opened.meta.digest] = opened
    found = {}
    for number, home in enumerate(homes):
        recipes = recipes_of(home)
        for file in sorted(home.rglob(f"runs/**/{MEMBERSHIP_FILE}")):
            table = MembershipScores.read(file)
            if table.why_not or table.target not in recipes:
                continue
            own = sorted((i for recipe, i in references if recipe == recipes[table.target]))
            chosen = tuple(references[recipes[table.target], i] for i in own)
            cohort = next((cohorts[one.cohort_digest] for one in chosen), None)
            name = table.target if len(homes) == 1 else f"{table.target} ({number + 1})"
            if cohort is not None:
                found[table.target_digest] = Attacked(name=name, table=table, cohort=cohort, references=chosen)
    return sorted(found.values(), key=lambda one: one.name)


def recipes_of(home: Path) -> dict[str, str]:
    """Return target -> digest of its recipe, of all runs of a home."""
    plans = [file for file in home.rglob("runs/**/plan") if file.is_file()]
    targets = {name: one for file in plans for name, one in Plan.read(file).study.targets.items()}
    return {name: recipe_digest(one) for name, one in targets.items() if not why_no_recipe(one)}


def print_strength(homes: Sequence[Path]) -> None:
    """Print what every attack finds of every target, and RMIA with 2 references beside LiRA with all."""
    print(f"\n{'target':<18}{'references':>11}  {'attack':<17}{'AUC':<22}TPR at FPR {FPR:.0%} (by chance)")
    targets = attacked_targets(homes)
    for one in targets:
        for row in rows_of(one.scored()):
            print(f"{one.name:<18}{len(one.references):>11}  {row}")
    for one in targets:
        if len(one.references) >= 4:
            print(few_against_many(one))


def finding_of(table: MembershipScores) -> MembershipFinding:
    """Return the audit by scan."""
    found, _ = audit_targets([table], {}, rule=MembershipRule(), confidence=0.95)
    return next(one for one in found if one.level == SCAN)


def rows_of(table: MembershipScores) -> list[str]:
    """Return a row an attack."""
    rows = []
    for attack in finding_of(table).attacks:
        area = f"{attack.auc.value:.3f} [{attack.auc.low:.3f}, {attack.auc.high:.3f}]"
        rate = next((one for one in attack.rates if one.fpr == FPR), None)
        told = "" if rate is None else f"{rate.tpr:.3f} [{rate.tpr_low:.3f}, {rate.tpr_high:.3f}] ({rate.chance:.3f})"
        rows.append(f"{attack.attack:<17}{area:<22}{told}")
    return rows


def few_against_many(one: Attacked) -> str:
    """Return RMIA's excess of the AUC with 2 references as a share of LiRA's with all of them."""
    everything = {attack.attack: attack.auc.value - 0.5 for attack in finding_of(one.scored()).attacks}
    pairs = [(index, index + 1) for index in range(0, len(one.references), 2)]
    few = np.array(
        [next(a.auc.value for a in finding_of(one.scored(pair)).attacks if a.attack == "RMIA") - 0.5 for pair in pairs]
    )
    shares = {attack: few / everything[attack] for attack in ("LiRA", "LiRA offline")}
    told = " and ".join(
        f"{share.mean():.2f} ({share.min():.2f} to {share.max():.2f}) of {attack}'s" for attack, share in shares.items()
    )
    return f"{one.name}: RMIA's excess with 2 references, over {len(pairs)} pairs, is {told} with {len(one.references)}"


def print_costs(homes: Sequence[Path]) -> None:
    """Print what querying and auditing cost, by target, in seconds of the steps and of this process."""
    trained: dict[str, list[float]] = {}
    asked: dict[str, list[float]] = {}
    for folder in (folder for home in homes for folder in home.rglob("runs/*/events")):
        by_process: dict[int, list[dict[str, Any]]] = {}
        for event in EventReader(folder).read():
            by_process.setdefault(int(event["pid"]), []).append(event)
        for events in by_process.values():
            first = next((event for event in events if event["kind"] == "step"), None)
            training = [e["time"] for e in events if str(e.get("description", "")).startswith("training")]
            if first is None or not training or first["step"] not in ("train_target", "train_reference"):
                continue
            target, end = str(first["detail"]), max(training)
            trained.setdefault(target, []).append(end - first["time"])
            if first["step"] == "train_reference":
                asked.setdefault(target, []).append(max(event["time"] for event in events) - end)
    print(f"\n{'target':<18}{'trainings':>10}{'seconds each':>14}{'asking each':>13}{'audit':>8}{'overhead':>10}")
    for one in attacked_targets(homes):
        name = one.table.target
        if name in asked:
            started = time.perf_counter()
            finding_of(one.scored())
            audit = time.perf_counter() - started
            overhead = (sum(asked[name]) + audit) / sum(trained[name])
            told = "" if overhead <= MOST_OVERHEAD else f" above {MOST_OVERHEAD:.0%}"
            print(
                f"{one.name:<18}{len(trained[name]):>10}{np.mean(trained[name]):>14.1f}{np.mean(asked[name]):>13.1f}"
                f"{audit:>8.2f}{overhead:>10.1%}{told}"
            )


def compare_memory(folder: Path) -> list[str]:
    """Print the peak memory with 4 and with 32 references; return what does not hold."""
    write_tables(folder)
    peaks = {}
    for count in (4, 32):
        command = [sys.executable, str(Path(__file__).with_name("membership_memory.py")), str(folder), str(count)]
        answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        peaks[count] = float(answer.splitlines()[-1])
    growth = peaks[32] / peaks[4] - 1.0
    print(f"\npeak memory of evaluating: {peaks[4]:.0f} MiB with 4 references, {peaks[32]:.0f} with 32 ({growth:+.1%})")
    return [] if growth <= MOST_GROWTH else [f"memory grows by {growth:.1%} from 4 to 32 references"]


def train_apart(folder: Path, index: int) -> None:
    """Train one reference in a process of its own."""
    command = [sys.executable, __file__, "--train-in", str(folder), "--index", str(index)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def run_small(home: Path) -> list[str]:
    """Run a small study with 4 references and again with 16; return what does not hold."""
    place, preset = home / "store" / "reference", home / "small.yaml"
    when: dict[Path, int] = {}
    for count in (4, 16):
        preset.write_text(SMALL.format(references=count))
        command = [sys.executable, "-m", "flprivacy.cli", "run", "study", "--preset", str(preset)]
        environment = os.environ | {"FLPRIVACY_HOME": str(home), "MLFLOW_TRACKING_URI": f"sqlite:///{home}/mlflow.db"}
        subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
        again = [entry for entry, before in when.items() if entry.stat().st_mtime_ns != before]
        new = [entry for entry in place.iterdir() if entry not in when]
        print(f"{count} references asked for: {len(new)} trained, {len(again)} again")
        when |= {entry: entry.stat().st_mtime_ns for entry in new}
    return [] if (len(new), len(again)) == (12, 0) else ["asking for 16 references after 4 did not train just 12"]


def train_beside(home: Path, folder: Path) -> None:
    """Print how long two references take side by side, as a run trains them, and one after another."""
    for name in ("plan", "cohort"):
        found = next(home.rglob("runs/**/plan") if name == "plan" else (home / "store" / "cohort").iterdir())
        (folder / name).symlink_to(found)
    started = time.perf_counter()
    for index in (100, 101):
        train_apart(folder, index)
    after, started = time.perf_counter() - started, time.perf_counter()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(partial(train_apart, folder), (102, 103)))
    beside = time.perf_counter() - started
    print(f"\ntwo references: {after:.0f} s one after another, {beside:.0f} s side by side")


def train_one(folder: Path, index: int) -> None:
    """Do what the step does for one reference of the small study."""
    from flprivacy.study.train_reference import train_reference

    train_reference(
        Plan.read(folder / "plan"),
        folder / "cohort",
        ReferenceJob(target="central", index=index),
        store=str(folder / "store"),
        reference=folder / f"reference-{index}",
    )


if __name__ == "__main__":
    raise SystemExit(main())
