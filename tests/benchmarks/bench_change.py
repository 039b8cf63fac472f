"""How often the verdict of a re-audit is wrong where nothing changed, and how large a leak it finds.

Simulated audits (tests/auditing/change_examples.py), 1,000 of each kind, and real ones: one recipe trained with several
seeds on a phantom cohort, every pair of these models set against each other.

Usage: python tests/benchmarks/bench_change.py [--quick]
"""

import itertools
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from flprivacy.attacks.attribute import attack_attributes
from flprivacy.attacks.config import AttackConfig
from flprivacy.auditing.changes import adjusted, compare_with_before, judge_change
from flprivacy.auditing.config import AuditConfig
from flprivacy.cohorts.phantom.config import PhantomConfig
from flprivacy.cohorts.phantom.generate import phantom_cohort
from flprivacy.core.cohort import Cohort
from flprivacy.core.scores import ScoreTable
from flprivacy.training.config import TargetConfig
from flprivacy.training.train import train_target
from tests.auditing.change_examples import Again, count_changes
from tests.auditing.simulation import Attacker

NOTHING, SIGNAL, STRONG = Attacker(strength=0.0), Attacker(strength=1.5), Attacker(strength=3.0)
LUCKY = Attacker(strength=1.5, model_spread=0.3)
STUDIES = {
    "the same model, other attacker seeds": Again(before=SIGNAL, fresh=SIGNAL, same_seeds=False),
    "the same model, other seeds, fresh weights differ": Again(before=SIGNAL, fresh=LUCKY, same_seeds=False),
    "nothing to find, other seeds": Again(before=NOTHING, fresh=NOTHING, same_seeds=False),
    "trained again": Again(before=LUCKY, now=LUCKY, fresh=LUCKY),
    "trained again, other seeds": Again(before=LUCKY, now=LUCKY, fresh=LUCKY, same_seeds=False),
    "leakier": Again(before=SIGNAL, now=STRONG, fresh=SIGNAL),
    "leakier, luck of training": Again(before=LUCKY, now=Attacker(strength=3.0, model_spread=0.3), fresh=LUCKY),
}


def simulated(repetitions: int) -> None:
    """Print how often each verdict fell on simulated audits."""
    for name, study in STUDIES.items():
        started = time.process_time()
        counts = count_changes(study, repetitions=repetitions, seed=1)
        shares = ", ".join(f"{verdict} {count / repetitions:.1%}" for verdict, count in counts.most_common())
        print(f"{name:52} {shares} ({time.process_time() - started:.0f} s)", flush=True)


def trained(models: int, folder: Path) -> None:
    """Print how often each verdict fell on pairs of models of one recipe."""
    config = PhantomConfig(name="again", scans=400, sites=6, shape=(8, 32, 40), seed=7)
    cohort = phantom_cohort(config, folder / "cohort")
    fresh = _table("untrained", TargetConfig(topology="untrained", initialisations=5), cohort, folder / "untrained")
    tables = [
        _table("target", TargetConfig(topology="central", epochs=6, seed=seed), cohort, folder / f"seed-{seed}")
        for seed in range(models)
    ]
    verdicts, of_models, pairs = Counter[str](), 0, 0
    for now, before in itertools.combinations(tables, 2):
        changes = compare_with_before("target", [now, fresh], [before, fresh], config=AuditConfig(bootstrap=200))
        verdicts[judge_change(adjusted(changes), confidence=0.95)[0]] += 1
        of_models += min(c.model_p_value for c in changes) * len(changes) < 0.05
        pairs += 1
    print(f"one recipe, {models} seeds, {pairs} pairs, {len(changes)} attacks: {dict(verdicts)}; ")
    print(f"  without the luck of training {of_models} pairs would differ")


def _table(name: str, config: TargetConfig, cohort: Cohort, folder: Path) -> ScoreTable:
    train_target(name, config, cohort, protocol="standard", work=folder / "work", out=folder / "target")
    attack = AttackConfig(fractions=(0.25,), epochs=20)
    return attack_attributes(attack, cohort, folder / "target", protocol="standard", work=folder / "attack")[0]


if __name__ == "__main__":
    quick = "--quick" in sys.argv[1:]
    simulated(50 if quick else 1000)
    with tempfile.TemporaryDirectory() as name:
        trained(3 if quick else 16, Path(name))
