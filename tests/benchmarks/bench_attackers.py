"""Strength and cost of the attackers' family, beside the reference study's heads and a list of other learners.

On pixels and on the features of a central and an untrained target of the demo, each also in principal axes: no attacker
of the list may beat the family by more than its paired interval (95%, t over attacker seeds) in more rows than chance
allows. And the family on the grid may cost at most 1.5 times the processor time of the heads, which are trained here
without their curves.

The family was built on the phantom cohorts of seeds 2023 and 31, so the default is another one. It takes some eight
minutes of processor time on as many cores as there are; with ``--work FOLDER`` the study is made once and kept.

    python tests/benchmarks/bench_attackers.py
    python tests/benchmarks/bench_attackers.py --cohort-seed 5 --seeds 3 --work FOLDER
    python tests/benchmarks/bench_attackers.py --home HOME --work FOLDER  # all targets that a finished study left there
    python tests/benchmarks/bench_attackers.py --home HOME --work FOLDER --sources federated,siloed  # two, no costs
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # a process a core is faster than threads on small matrices

import argparse
import multiprocessing
import tempfile
import time
import warnings
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from scipy import stats
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import (
    AdaBoostClassifier,
    AdaBoostRegressor,
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, WhiteKernel
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics import f1_score
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC, SVR
from sklearn.tree import DecisionTreeClassifier

from flprivacy.attacks.answering import answer
from flprivacy.attacks.attribute import LoadedTarget
from flprivacy.attacks.baselines import pixel_attack
from flprivacy.attacks.frozen import FrozenAttack
from flprivacy.attacks.learner import train_heads
from flprivacy.attacks.scenario import prepare
from flprivacy.cohorts.format import open_cohort
from flprivacy.cohorts.phantom.generate import phantom_cohort
from flprivacy.presets import load_preset
from flprivacy.targets.folder import read_target
from flprivacy.training.train import train_target

COST, CHANCE = 1.5, 0.05
TARGETS = ("central", "untrained")


def raw(x):
    """One scale for all columns; centring does not matter to what follows."""
    return x / x.std(axis=0).mean()


def classifiers():
    one = FunctionTransformer(raw)
    grid = {"logisticregression__C": [1e-3, 1e-2, 1e-1, 1.0]}
    return {
        "logistic, scaled": GridSearchCV(make_pipeline(StandardScaler(), LogisticRegression(max_iter=100)), grid, cv=3),
        "logistic, raw": GridSearchCV(make_pipeline(one, LogisticRegression(max_iter=100)), grid, cv=3),
        "LDA": make_pipeline(StandardScaler(), LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")),
        "SVM": GridSearchCV(make_pipeline(StandardScaler(), SVC()), {"svc__C": [1, 10, 100]}, cv=3),
        "extra trees": ExtraTreesClassifier(100, random_state=0),
        "kNN": make_pipeline(StandardScaler(), KNeighborsClassifier(5)),
        "boosting": HistGradientBoostingClassifier(
            max_iter=30, learning_rate=0.05, max_leaf_nodes=8, min_samples_leaf=5, random_state=0
        ),
        "naive Bayes": make_pipeline(StandardScaler(), GaussianNB()),  # not looked at while building
        "MLP": make_pipeline(
            StandardScaler(), MLPClassifier(hidden_layer_sizes=(64,), max_iter=200, random_state=0)
        ),  # nor this
        "Gaussian process": make_pipeline(StandardScaler(), GaussianProcessClassifier(RBF(15.0), optimizer=None)),
        "AdaBoost": AdaBoostClassifier(DecisionTreeClassifier(max_depth=3), n_estimators=30, random_state=0),
    }


def regressors():
    gaussian = GaussianProcessRegressor(RBF(20.0) + WhiteKernel(1.0), normalize_y=True, random_state=0)
    return {
        "ridge": make_pipeline(StandardScaler(), RidgeCV(np.logspace(0, 5, 16))),
        "ridge, raw": make_pipeline(FunctionTransformer(raw), RidgeCV(np.logspace(-1, 5, 16))),
        "SVR": GridSearchCV(make_pipeline(StandardScaler(), SVR()), {"svr__C": [3, 10, 30]}, cv=3),
        "extra trees": ExtraTreesRegressor(100, random_state=0),
        "kNN": make_pipeline(StandardScaler(), KNeighborsRegressor(10)),
        "boosting": HistGradientBoostingRegressor(max_iter=40, min_samples_leaf=5, random_state=0),
        "Gaussian process": make_pipeline(StandardScaler(), gaussian),  # not looked at while building
        "MLP": make_pipeline(
            StandardScaler(), MLPRegressor(hidden_layer_sizes=(64,), max_iter=200, random_state=0)
        ),  # nor this
        "AdaBoost": AdaBoostRegressor(n_estimators=40, random_state=0),
    }


def main() -> int:
    """Run the benchmark; 1 if a requirement does not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--cohort-seed", type=int, default=4711)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--home", type=Path, help="FLPRIVACY_HOME of a finished run of preset demo")
    parser.add_argument("--sources", help="of pixels and the targets' names only these: a,b")
    parser.add_argument("--report-only", action="store_true", help="exit with 0 whatever comes out")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work, asked = options.work or Path(folder), options.sources.split(",") if options.sources else []
        scenario, sources = extracted(work, options.seeds, options.cohort_seed, options.home, asked)
        with multiprocessing.get_context("spawn").Pool(
            initializer=warnings.filterwarnings, initargs=["ignore"]
        ) as pool:
            tasks = [(name, *seen, one) for name, seen in sources.items() for one in scenario.exposures]
            found = pool.map(partial(strengths, scenario), tasks, chunksize=1)
        failed = compared(found) + ([] if asked else cost(scenario, sources))
    print("\n" + ("FAILED: " + "; ".join(failed) if failed else "All requirements hold."))
    return 1 if failed and not options.report_only else 0


def extracted(work: Path, seeds: int, cohort_seed: int, home: Path | None, asked):
    """Return the demo's scenario and, by name, what each source shows of all exposed and of the held-out scans.

    ``asked`` are the sources' names; empty means all. Of a siloed target the first model is taken.
    """
    study = load_preset("demo").study
    if home is None:
        folder = work / "cohort"
        made = replace(study.cohort, seed=cohort_seed)
        cohort = open_cohort(folder) if folder.is_dir() else phantom_cohort(made, folder)
        folders = {name: trained(name, study, cohort, work) for name in TARGETS}
    else:
        cohort = open_cohort(next((home / "store" / "cohort").glob("*/cohort.json")).parent)
        folders = {
            read_target(one.parent).name: one.parent for one in (home / "store" / "target").glob("*/target.json")
        }
    config = replace(study.attack, members=False, seeds=tuple(range(seeds)))
    scenario = prepare(config, cohort, protocol=study.protocol)
    pixels = pixel_attack(scenario, work=work / "pixels", results=None)
    attacks = {"pixels": (pixels, pixels.sources[0])}
    for name, folder in folders.items():
        loaded = LoadedTarget(folder, read_target(folder), cohort)
        attack = FrozenAttack(scenario, loaded.sources()[:1], target=name, work=work / f"a-{name}")
        attacks[name] = (attack, attack.sources[0])
    sources = {}
    if unknown := set(asked) - set(attacks):
        raise SystemExit(f"not among {', '.join(attacks)}: {', '.join(unknown)}")
    for name, (attack, source) in attacks.items():
        if asked and name not in asked:
            continue
        found = attack.extraction(source)
        exposed, scored = found.exposed["features"], found.scored["features"]
        axes = np.linalg.eigh(np.cov(exposed[0].astype(np.float64).T))[1].astype(np.float32)
        sources |= {name: (exposed, scored), f"{name}, axes": (exposed @ axes, scored @ axes)}
    return scenario, sources


def trained(name: str, study, cohort, work: Path) -> Path:
    """Return the folder of a target of the demo, trained unless it is there."""
    out, target = work / name, study.targets[name]
    if not out.is_dir():
        target = replace(target, initialisations=2) if name == "untrained" else target
        train_target(name, target, cohort, protocol=study.protocol, work=work / f"w-{name}", out=out)
    return out


def strengths(scenario, task):
    """Return (source, fraction) and attribute -> learner -> strength: weighted F1, or minus the mean absolute error."""
    name, exposed, scored, one = task
    train = exposed[:, np.searchsorted(scenario.views().exposed, one.rows)]
    ours, found = answer(train, scored, one.known), {}
    for a, labels in enumerate(scenario.labels):
        rows, held_out = labels.known(one.rows), labels.known(scenario.test)
        known, asked = train[0][np.isin(one.rows, rows)], scored[scenario.positions(held_out)]
        guesses = {"family": ours[a].scores[scenario.positions(held_out)]}
        for learner, model in (regressors() if labels.attribute.is_regression else classifiers()).items():
            guesses[learner] = model.fit(known, labels.values[rows]).predict(asked)
        found[labels.name] = {k: strength(labels, labels.values[held_out], guess) for k, guess in guesses.items()}
    return (name, one.fraction), found


def strength(labels, truth, guess) -> float:
    if labels.attribute.is_regression:
        return -float(np.abs(np.ravel(guess) - truth).mean())
    answers = guess.argmax(axis=1) if guess.ndim == 2 else guess
    return float(f1_score(truth, answers, average="weighted"))


def compared(found) -> list[str]:
    """Print the table and return what failed."""
    rows = {}  # (source, fraction, attribute) -> learner -> strengths by seed
    for (name, fraction), of_attributes in found:
        for attribute, of_learners in of_attributes.items():
            for learner, value in of_learners.items():
                rows.setdefault((name, fraction, attribute), {}).setdefault(learner, []).append(value)
    beaten, compared = [], 0
    for key, of_learners in rows.items():
        print(", ".join(map(str, key)) + ": " + ", ".join(f"{k} {np.mean(v):.3f}" for k, v in of_learners.items()))
        ours = np.array(of_learners.pop("family"))
        for learner, theirs in of_learners.items():
            difference = np.array(theirs) - ours
            half = stats.t.ppf(0.975, len(ours) - 1) * difference.std(ddof=1) / np.sqrt(len(ours))
            compared += 1
            if difference.mean() > half:
                beaten.append(f"{learner} on {', '.join(map(str, key))}: {difference.mean():+.3f}")
    allowed = stats.binom.ppf(0.95, compared, CHANCE / 2)
    print(f"\nbeaten beyond the paired interval in {len(beaten)} of {compared} rows, chance allows {allowed:.0f}:")
    print("\n".join(f"  {one}" for one in beaten))
    return [f"beaten in {len(beaten)} rows"] if len(beaten) > allowed else []


def cost(scenario, sources) -> list[str]:
    """Print the processor time of the demo's grid on two sources, and return what failed.

    The three are timed in turn, attack by attack, so that other work on the machine slows all of them alike.
    """
    spent = {"heads": 0.0, "heads with curves": 0.0, "family": 0.0}
    exposed_rows = scenario.views().exposed
    for name in ("pixels", "central"):
        exposed, scored = sources[name]
        for one in scenario.exposures:
            train = exposed[:, np.searchsorted(exposed_rows, one.rows)]
            heads = partial(train_heads, train, scored, one.sample, scenario.config.learner)
            for who, attack in {
                "heads": heads,
                "heads with curves": partial(heads, strength=scenario.strength),
                "family": partial(answer, train, scored, one.known),
            }.items():
                started = time.process_time()
                attack()
                spent[who] += time.process_time() - started
    ratio = spent["family"] / spent["heads"]
    print("\nprocessor time of the grid: " + ", ".join(f"{who} {seconds:.1f} s" for who, seconds in spent.items()))
    print(f"family against heads {ratio:.2f}, with curves {spent['family'] / spent['heads with curves']:.2f}")
    return [f"cost ratio {ratio:.2f}"] if ratio > COST else []


if __name__ == "__main__":
    raise SystemExit(main())
