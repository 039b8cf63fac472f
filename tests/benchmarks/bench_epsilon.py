"""What the epsilon lower bounds are worth: simulated audits of mechanisms of known epsilon.

    python tests/benchmarks/bench_epsilon.py [--audits N] [--canaries M]

Prints, for each mechanism, epsilon and method: in how many audits the 95% bound exceeded the truth (5% is allowed), the
median bound, its 10th and 90th percentile, and the time of one audit. Beside them two ways of doing it wrong: the best
threshold without paying for it, and the point estimate. Exits with 1 if a bound exceeds the truth in more than 5% of
the audits. Bounds for Gaussian mechanisms are marked and left out where the mechanism is none.
"""

import argparse
import functools
import math
import sys
import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq

from flprivacy.auditing.epsilon.bound import GAUSSIAN, METHODS, epsilon_bound
from flprivacy.auditing.epsilon.f_dp import gaussian_epsilon
from flprivacy.auditing.epsilon.independent import proven_epsilon
from flprivacy.auditing.epsilon.one_run import guess, one_run_epsilon, rank

DELTA = 1e-5
EPSILONS = (1.0, 2.0, 4.0, 8.0)
FloatArray = npt.NDArray[np.float64]
Bound = Callable[[FloatArray, FloatArray, int], float]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--audits", type=int, default=1000)
    parser.add_argument("--canaries", type=int, default=1000)
    arguments = parser.parse_args()
    honest = True
    print(f"{arguments.audits} audits of {arguments.canaries} canaries, delta {DELTA:g}, confidence 95%")
    print(f"{'mechanism':<20}{'epsilon':>8}  {'method':<40}{'too high':>9}{'median':>8}{'10%':>7}{'90%':>7}{'ms':>8}")
    for mechanism in ("randomised-response", "gaussian"):
        for epsilon in EPSILONS:
            for name, bound in methods(mechanism).items():
                honest &= report(mechanism, epsilon, name, bound, arguments)
    return 0 if honest else 1


def report(mechanism: str, epsilon: float, name: str, bound: Bound, arguments: argparse.Namespace) -> bool:
    """Print one row; return whether the bound holds as often as it says, for those that say so."""
    start, bounds = time.perf_counter(), []
    for seed in range(arguments.audits):
        members, non_members = scores(mechanism, epsilon, arguments.canaries, seed)
        bounds.append(bound(members, non_members, seed))
    milliseconds = 1000 * (time.perf_counter() - start) / arguments.audits
    wrong = int((np.array(bounds) > epsilon).sum())
    low, median, high = np.quantile(bounds, [0.1, 0.5, 0.9])
    print(
        f"{mechanism:<20}{epsilon:>8g}  {name:<40}{wrong:>9}{median:>8.2f}{low:>7.2f}{high:>7.2f}{milliseconds:>8.2f}",
        flush=True,
    )
    return name.startswith("wrong") or wrong <= 0.05 * arguments.audits


def methods(mechanism: str) -> dict[str, Bound]:
    """Return the bounds that apply to a mechanism, and two that are wrong."""
    found: dict[str, Bound] = {}
    for correction in ("bonferroni", "split"):
        for method, assumed in METHODS.items():
            if GAUSSIAN not in assumed:
                found[f"{method}, {correction}"] = _bound(method, correction)
            elif mechanism == "gaussian":
                found[f"{method} (*), {correction}"] = _bound(method, correction)
    return found | {"wrong: best number of guesses, unpaid": unpaid, "wrong: point estimate": point_estimate}


def _bound(method: str, correction: str) -> Bound:
    def bound(members: FloatArray, non_members: FloatArray, seed: int) -> float:
        return epsilon_bound(method, members, non_members, delta=DELTA, seed=seed, correction=correction).epsilon_lower

    return bound


def unpaid(members: FloatArray, non_members: FloatArray, seed: int) -> float:
    """Take the best of many numbers of guesses as if it had been the only one."""
    ranked = rank(members, non_members, np.random.default_rng(seed))
    made = [guess(ranked, number) for number in range(20, len(ranked), 20)]
    return max(one_run_epsilon(g.canaries, g.guesses, g.correct, delta=DELTA) for g in made)


def point_estimate(members: FloatArray, non_members: FloatArray, seed: int) -> float:
    """Take the observed rates at the best threshold for the true ones."""
    cuts = np.quantile(non_members, np.arange(0.5, 0.996, 0.005))
    rates = [((non_members > c).mean(), (members <= c).mean()) for c in cuts]
    return max((proven_epsilon(float(fpr), float(fnr), DELTA) for fpr, fnr in rates if fpr > 0.0), default=0.0)


def scores(mechanism: str, epsilon: float, canaries: int, seed: int) -> tuple[FloatArray, FloatArray]:
    """Return member and non-member scores: each canary's coin through the mechanism."""
    rng = np.random.default_rng([seed, int(1000 * epsilon)])
    coin = rng.random(canaries) < 0.5
    if mechanism == "randomised-response":
        kept = rng.random(canaries) < 1.0 / (1.0 + math.exp(-epsilon))
        released = np.where(kept, coin, ~coin).astype(float)
    else:
        released = rng.normal(size=canaries) + gaussian_mu(epsilon) * coin
    return released[coin], released[~coin]


@functools.cache
def gaussian_mu(epsilon: float) -> float:
    """Return the mu of Gaussian DP that is (epsilon, 1e-5)-DP."""
    return float(brentq(lambda mu: gaussian_epsilon(mu, DELTA) - epsilon, 1e-3, 20.0))


if __name__ == "__main__":
    sys.exit(main())
