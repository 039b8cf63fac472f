"""Strength and cost of the attackers' family, beside the reference study's heads and a list of other learners.

On pixels and on the features of a central and an untrained target of the demo, each also in principal axes: no attacker
of the list may beat the family by more than its paired interval (t over attacker seeds) in more rows than chance
allows. And the family on the grid may cost at most 1.5 times the processor time of the heads.

    python tests/benchmarks/bench_attackers.py
    python tests/benchmarks/bench_attackers.py --seeds 3 --work FOLDER    # keeps cohort and targets in FOLDER
"""

import argparse
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from scipy import stats
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.gaussian_process import GaussianProcessRegressor
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
        "logistic, scaled": GridSearchCV(make_pipeline(StandardScaler(), LogisticRegression(max_iter=200)), grid, cv=3),
        "logistic, raw": GridSearchCV(make_pipeline(one, LogisticRegression(max_iter=200)), grid, cv=3),
        "LDA": make_pipeline(StandardScaler(), LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")),
        "SVM": GridSearchCV(make_pipeline(StandardScaler(), SVC()), {"svc__C": [1, 10, 100]}, cv=3),
        "extra trees": ExtraTreesClassifier(200, random_state=0),
        "kNN": make_pipeline(StandardScaler(), KNeighborsClassifier(5)),
        "boosting": HistGradientBoostingClassifier(max_iter=40, min_samples_leaf=5, random_state=0),
        "naive Bayes": make_pipeline(StandardScaler(), GaussianNB()),  # not looked at while building
        "MLP": make_pipeline(
            StandardScaler(), MLPClassifier(hidden_layer_sizes=(64,), max_iter=200, random_state=0)
        ),  # nor this
    }


def regressors():
    gaussian = GaussianProcessRegressor(RBF(20.0) + WhiteKernel(1.0), normalize_y=True, random_state=0)
    return {
        "ridge": make_pipeline(StandardScaler(), RidgeCV(np.logspace(0, 5, 16))),
        "ridge, raw": make_pipeline(FunctionTransformer(raw), RidgeCV(np.logspace(-1, 5, 16))),
        "SVR": GridSearchCV(make_pipeline(StandardScaler(), SVR()), {"svr__C": [3, 10, 30]}, cv=3),
        "extra trees": ExtraTreesRegressor(200, random_state=0),
        "kNN": make_pipeline(StandardScaler(), KNeighborsRegressor(10)),
        "boosting": HistGradientBoostingRegressor(max_iter=40, min_samples_leaf=5, random_state=0),
        "Gaussian process": make_pipeline(StandardScaler(), gaussian),  # not looked at while building
        "MLP": make_pipeline(
            StandardScaler(), MLPRegressor(hidden_layer_sizes=(64,), max_iter=200, random_state=0)
        ),  # nor this
    }


def main() -> int:
    """Run the benchmark; 1 if a requirement does not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--report-only", action="store_true", help="exit with 0 whatever comes out")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    with tempfile.TemporaryDirectory() as folder:
        failed = measured(options.work or Path(folder), options.seeds)
    print("\n" + ("FAILED: " + "; ".join(failed) if failed else "All requirements hold."))
    return 1 if failed and not options.report_only else 0


def measured(work: Path, seeds: int) -> list[str]:
    scenario, sources = extracted(work, seeds)
    rows, spent = [], {"family": 0.0, "heads": 0.0}
    for name, (exposed, scored) in sources.items():
        axes = np.linalg.eigh(np.cov(exposed[0].astype(np.float64).T))[1].astype(np.float32)
        for coordinates, (a, b) in {"": (exposed, scored), ", axes": (exposed @ axes, scored @ axes)}.items():
            for attribute, found in strengths(scenario, a, b, spent if not coordinates else None).items():
                for fraction, of_learners in found.items():
                    rows.append((f"{name}{coordinates}", attribute, fraction, of_learners))
                    told = ", ".join(f"{k} {np.mean(v):.3f}" for k, v in of_learners.items())
                    print(f"{name}{coordinates}, {attribute}, {fraction:g}: {told}", flush=True)
    return verdicts(rows, spent)


def verdicts(rows, spent) -> list[str]:
    beaten, compared = [], 0
    for name, attribute, fraction, of_learners in rows:
        ours = np.array(of_learners["family"])
        for learner, theirs in of_learners.items():
            if learner != "family":
                difference = np.array(theirs) - ours
                half = stats.t.ppf(0.975, len(ours) - 1) * difference.std(ddof=1) / np.sqrt(len(ours))
                compared += 1
                if difference.mean() - half > 0:
                    beaten.append(f"{learner} on {name}, {attribute}, {fraction:g}: {difference.mean():+.3f}")
    allowed = stats.binom.ppf(0.975, compared, CHANCE / 2)
    print(f"\nbeaten beyond the paired interval in {len(beaten)} of {compared} rows, chance allows {allowed:.0f}:")
    print("\n".join(f"  {one}" for one in beaten))
    ratio = spent["family"] / spent["heads"]
    print(f"processor time: family {spent['family']:.1f} s, heads {spent['heads']:.1f} s, ratio {ratio:.2f}")
    failed = [f"beaten in {len(beaten)} rows"] if len(beaten) > allowed else []
    return failed + ([f"cost ratio {ratio:.2f}"] if ratio > COST else [])


def extracted(work: Path, seeds: int):
    """Return the demo's scenario and, by name, what each source shows of all exposed and all scored scans."""
    study = load_preset("demo").study
    folder = work / "cohort"
    cohort = open_cohort(folder) if folder.is_dir() else phantom_cohort(study.cohort, folder)
    config = study.attack.__class__(members=False, seeds=tuple(range(seeds)), fractions=study.attack.fractions)
    scenario = prepare(config, cohort, protocol=study.protocol)
    pixels = pixel_attack(scenario, work=work / "pixels", results=None)
    attacks = {"pixels": (pixels, pixels.sources[0])}
    for name in TARGETS:
        out = work / name
        if not out.is_dir():
            train_target(name, study.targets[name], cohort, protocol=study.protocol, work=work / f"w-{name}", out=out)
        target = LoadedTarget(out, read_target(out), window_hu=cohort.meta.window_hu)
        attack = FrozenAttack(scenario, target.sources()[:1], target=name, work=work / f"a-{name}")
        attacks[name] = (attack, attack.sources[0])
    found = {name: attack.extraction(source) for name, (attack, source) in attacks.items()}
    return scenario, {name: (one.exposed["features"], one.scored["features"]) for name, one in found.items()}


def strengths(scenario, exposed, scored, spent):
    """Return attribute -> fraction -> learner -> strength by seed: weighted F1, or minus the mean absolute error."""
    found = {}
    needed = scenario.views().exposed
    for one in scenario.exposures:
        train = exposed[:, np.searchsorted(needed, one.rows)]
        started = time.process_time()
        ours = answer(train, scored, one.known)
        middle = time.process_time()
        if spent is not None:
            heads = train_heads(train, scored, one.sample, scenario.config.learner, strength=scenario.strength)
            spent["family"] += middle - started
            spent["heads"] += time.process_time() - middle
        for a, labels in enumerate(scenario.labels):
            rows, truth_rows = labels.known(one.rows), labels.known(scenario.test)
            known, asked = train[0][np.isin(one.rows, rows)], scenario.positions(truth_rows)
            cell = found.setdefault(labels.name, {}).setdefault(one.fraction, {})
            guesses = {"family": ours[a].scores[asked]}
            if spent is not None:
                guesses["heads"] = heads.scores[a][asked][:, : labels.head.width]
            values, truth = labels.values[rows], labels.values[truth_rows]
            for name, learner in (regressors() if labels.attribute.is_regression else classifiers()).items():
                guesses[name] = learner.fit(known, values).predict(scored[asked])
            for name, guess in guesses.items():
                cell.setdefault(name, []).append(strength(labels, truth, guess))
    return found


def strength(labels, truth, guess) -> float:
    if labels.attribute.is_regression:
        return -float(np.abs(np.ravel(guess) - truth).mean())
    answers = guess.argmax(axis=1) if guess.ndim == 2 else guess
    return float(f1_score(truth, answers, average="weighted"))


if __name__ == "__main__":
    raise SystemExit(main())
