"""Does a generator return its training patients? An exact test over patients, on distances.

Four statistics, all small where patients were copied:

- *nearer*: mean logarithm of the distance to the nearest training patient over that to the nearest held-out one. It
  sees a generator that leans a little towards all that it was trained on.
- *data copying*: the statistic of Meehan, Chaudhuri and Dasgupta (AISTATS 2020, arXiv:2004.05675), globally: are
  synthetic scans nearer to training patients than held-out scans are? Mann and Whitney's U, standardised.
- *authenticity*: the share of synthetic scans that are further from their nearest training patient than this one is
  from the nearest other one (Alaa et al., ICML 2022, arXiv:2102.08921, by its definition).
- *single patients*: whether those patients whom some synthetic scan is far nearer to than to anybody else were trained
  on. It sees copies of few patients, and few copies.

Each is compared with itself under other choices of who was held out, and all four together by the smallest p-value.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from flprivacy.core.array_types import BoolArray, FloatArray, IntArray
from flprivacy.core.errors import AuditError, check
from flprivacy.core.generator_audit import COPIES, NO_COPIES, UNDECIDED, ClosenessTest, Memorisation
from flprivacy.synthesis.checks.neighbours import Neighbours, nearest_patients
from flprivacy.synthesis.checks.sensitivity import SHARES, choices, copy_weights, found_rates, p_of_all, p_values

NEARER, DATA_COPYING, AUTHENTICITY, SINGLE = "nearer", "data copying", "authenticity", "single patients"
TESTS = (NEARER, DATA_COPYING, AUTHENTICITY, SINGLE)
SERIOUS_SHARE, _FOUND = 0.05, 0.95  # copies that must not go unseen, and how often they are found then
_SUSPICIOUS = 0.01  # share of the held-out patients who are nearer to somebody than a scan that is not suspicious
_LEAST_PATIENTS = 5
_TINY = 1e-12


@dataclass(frozen=True, kw_only=True, eq=False)
class Evidence:
    """What the test looks at.

    Attributes:
        synthetic: nearest patients of the synthetic scans.
        real: nearest other patients of the real scans.
        owners: (real scan,) index of each one's patient.
        training: (patient,) who was trained on.
        strata: (patient,) index of each one's hospital.
        planted: nearest patients of copies of training scans, to see what the test would find.
        planted_sources: (copy,) index of the patient of whom each is one.
    """

    synthetic: Neighbours
    real: Neighbours
    owners: IntArray
    training: BoolArray
    strata: IntArray
    planted: Neighbours
    planted_sources: IntArray


def audit_memorisation(
    synthetic_distances: npt.ArrayLike,
    real_distances: npt.ArrayLike,
    training: npt.ArrayLike,
    *,
    patients: npt.ArrayLike | None = None,
    sites: npt.ArrayLike | None = None,
    planted_distances: npt.ArrayLike | None = None,
    planted_from: npt.ArrayLike | None = None,
    error_rate: float = 0.01,
    permutations: int = 1999,
    seed: int = 0,
) -> Memorisation:
    """Test whether synthetic scans are nearer to training patients than the choice of these explains.

    The p-value is exact if which patients of a site were held out was chance, and if nothing that the distances are
    computed with looked at that choice: a network trained on the training scans must not. What counts as near is up to
    the distances: of pixels they miss a shifted copy. Nothing found is no proof of privacy: ``found_rates`` says how
    many copies, of the kind that was planted, would have been seen.

    Args:
        synthetic_distances: (synthetic scan, real scan) distances, not negative.
        real_distances: (real scan, real scan) distances; those within a patient are not read.
        training: (real scan,) bool, whether a scan was trained on; the others were held out. No patient has both.
        patients: (real scan,) pseudonym or number of each scan's patient; every scan is a patient of its own if None.
        sites: (real scan,) name of the hospital within which patients were held out at random; one if None. Of a
            patient of several hospitals, the first counts.
        planted_distances: (copy, real scan) distances of copies of training scans, shifted or blurred as the
            generator's might be; copies without a difference if None.
        planted_from: (copy,) index of the real scan that each is a copy of; given with them.
        error_rate: share of generators without copies that may be flagged.
        permutations: choices to compare with; 1 / ``permutations`` is about the smallest p-value.
        seed: draws them, and what is planted.

    Returns:
        The verdict, ``copies patients``, ``no copying found`` or, where 5% of copies would have gone unseen,
        ``inconclusive``, and the numbers that it rests on.

    Raises:
        AuditError: arrays that do not fit together, distances that are negative or not finite, a patient who is both,
            or fewer than 5 training or held-out patients.
        ConfigError: an option out of range.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> real, training = rng.normal(size=(400, 24)), np.arange(400) < 300
        >>> fresh, copies = rng.normal(size=(500, 24)), real[:100] + rng.normal(0, 0.1, (100, 24))
        >>> between = lambda a, b: np.linalg.norm(a[:, None] - b, axis=2)
        >>> [audit_memorisation(between(x, real), between(real, real), training).verdict for x in (fresh, copies)]
        ['no copying found', 'copies patients']
    """
    flags = np.asarray(training)
    if flags.ndim != 1 or flags.dtype != bool:
        raise AuditError(
            f"training has shape {flags.shape} and type {flags.dtype}; must be (real scan,) bool, whether the "
            "generator was trained on each scan"
        )
    n = len(flags)
    to_real = _distances("synthetic_distances", synthetic_distances, (None, n))
    within = _distances("real_distances", real_distances, (n, n))
    first, owners = _numbered("patients", np.arange(n) if patients is None else patients, n)
    _, strata = _numbered("sites", np.zeros(n) if sites is None else sites, n)
    if (flags != flags[first][owners]).any():
        raise AuditError("a patient has scans that were trained on and scans that were not; leave the latter out")
    if planted_distances is None:
        planted, sources = _perfect_copies(flags[first])
    else:
        planted = nearest_patients(_distances("planted_distances", planted_distances, (None, n)), owners)
        sources = owners[_places(planted_from, len(planted), n)]
    evidence = Evidence(
        synthetic=nearest_patients(to_real, owners),
        real=nearest_patients(within, owners, own=owners),
        owners=owners,
        training=flags[first],
        strata=strata[first],
        planted=planted,
        planted_sources=sources,
    )
    return find_copies(evidence, error_rate=error_rate, permutations=permutations, seed=seed)


def find_copies(
    evidence: Evidence, *, error_rate: float = 0.01, permutations: int = 1999, seed: int = 0
) -> Memorisation:
    """Test for copies as :func:`audit_memorisation` does, from the nearest patients of every scan.

    Raises:
        AuditError: fewer than 5 training or held-out patients.
        ConfigError: an option out of range.
    """
    check(0.0 < error_rate < 0.5, "error_rate", error_rate, "must be between 0 and 0.5, such as 0.01")
    least = int(np.ceil(2.0 / error_rate))
    check(permutations >= least, "permutations", permutations, f"must be at least {least} for this error_rate")
    n_training, n_held_out = int(evidence.training.sum()), int((~evidence.training).sum())
    if min(n_training, n_held_out) < _LEAST_PATIENTS:
        raise AuditError(
            f"{n_training} training and {n_held_out} held-out patients: copying cannot be told from chance with fewer "
            f"than {_LEAST_PATIENTS} of either; give more"
        )
    drawn = choices(evidence.training, evidence.strata, permutations=permutations, seed=seed)
    statistics = np.array([_statistics(evidence, chosen) for chosen in drawn])
    weights = copy_weights(evidence.synthetic, len(evidence.training))
    statistics[:, TESTS.index(SINGLE)] = -(drawn @ weights) / max(float(weights.sum()), _TINY)
    of_each = p_values(statistics)
    p_value = p_of_all(of_each)
    copies = p_value <= error_rate
    rates = {}
    if not copies:
        level = error_rate / len(TESTS)
        looked_at = evidence.synthetic, evidence.planted, evidence.planted_sources
        rates = found_rates(*looked_at, drawn, level=level, seed=seed)
    detectable = min((float(share) for share, rate in rates.items() if rate >= _FOUND), default=None)
    seen = detectable is not None and detectable <= SERIOUS_SHARE
    return replace(
        untested(evidence, _reason(copies, p_value, error_rate, detectable), error_rate=error_rate),
        verdict=COPIES if copies else NO_COPIES if seen else UNDECIDED,
        p_value=p_value,
        tests=tuple(
            ClosenessTest(name=name, value=own[0], expected=float(np.mean(own)), p_value=float(ps[0]))
            for name, own, ps in zip(TESTS, statistics.T.tolist(), of_each.T, strict=True)
        ),
        found_rates=rates,
        detectable_share=detectable,
    )


def untested(evidence: Evidence, reason: str, *, error_rate: float) -> Memorisation:
    """Return what is known without a test, for the reason given: which scans are suspicious."""
    suspects, expected = _suspects(evidence)
    return Memorisation(
        verdict=UNDECIDED,
        reason=reason,
        p_value=1.0,
        error_rate=error_rate,
        tests=(),
        found_rates={},
        detectable_share=None,
        suspects=len(suspects),
        suspects_expected=expected,
        suspects_of_training=int(evidence.training[evidence.synthetic.patients[suspects, 0]].sum()),
        n_synthetic=len(evidence.synthetic),
        n_training=int(evidence.training.sum()),
        n_held_out=int((~evidence.training).sum()),
    )


def _statistics(evidence: Evidence, training: BoolArray) -> tuple[float, float, float, float]:
    """Return the statistics under one choice of training patients; the last is filled in for all choices at once."""
    nearest, to_training = evidence.synthetic.first(training)
    _, to_held_out = evidence.synthetic.first(~training)
    nearer = np.log(np.maximum(to_training, _TINY)) - np.log(np.maximum(to_held_out, _TINY))
    _, among_real = evidence.real.first(training)
    held_out = among_real[~training[evidence.owners]]
    own = np.full(len(training), np.inf)
    np.minimum.at(own, evidence.owners, among_real)
    return float(nearer.mean()), _standardised_u(to_training, held_out), float((to_training > own[nearest]).mean()), 0.0


def _standardised_u(generated: FloatArray, test: FloatArray) -> float:
    """Return Mann and Whitney's U of generated above test distances, ties counting half, as a standard score."""
    ordered = np.sort(test)
    below, at_most = (np.searchsorted(ordered, generated, side=side) for side in ("left", "right"))
    n, m = len(generated), len(test)
    u = float((below + at_most).sum()) / 2.0
    return (u - n * m / 2.0) / float(np.sqrt(n * m * (n + m + 1) / 12.0))


def _suspects(evidence: Evidence) -> tuple[IntArray, float]:
    """Return synthetic scans that are nearer to one patient, relative to all others, than all but few held-out patients
    are, by the first scan of each; and how many there would be of as many scans of other patients.

    Of n held-out patients k are above the threshold, and another one with probability (k + 1) / (n + 1).
    """
    first = np.unique(evidence.owners, return_index=True)[1][~evidence.training]
    usual = np.sort(evidence.real.closeness()[first])[::-1]
    above = int(_SUSPICIOUS * len(usual))
    suspects = np.flatnonzero(evidence.synthetic.closeness() > (usual[above] if len(usual) else np.inf))
    return suspects, len(evidence.synthetic) * (above + 1) / (len(usual) + 1)


def _reason(copies: bool, p_value: float, error_rate: float, detectable: float | None) -> str:
    if copies:
        return (
            f"synthetic scans are nearer to training patients than the choice of these explains (p = {p_value:.2g}; "
            f"{error_rate:.0%} of generators that copy nobody would be flagged)"
        )
    found = f"copies of {detectable:.0%} of the samples would have been found in 95% of cases" if detectable else ""
    if not found:
        found = f"even copies of {max(SHARES):.0%} of the samples might have gone unseen; hold out more patients"
    return f"nearness to training patients is what chance explains (p = {p_value:.2g}); {found}"


def _perfect_copies(training: BoolArray) -> tuple[Neighbours, IntArray]:
    """Return the neighbours of a copy without a difference of each training patient, and who these are."""
    patients = np.flatnonzero(training)
    neighbours = Neighbours(
        patients=np.stack([patients, np.roll(patients, 1)], axis=1),
        distances=np.tile([0.0, 1.0], (len(patients), 1)),
    )
    return neighbours, patients


def _places(values: npt.ArrayLike | None, copies: int, n: int) -> IntArray:
    places = np.asarray(-1 if values is None else values)
    if places.shape != (copies,) or places.dtype.kind not in "iu" or not ((places >= 0) & (places < n)).all():
        raise AuditError(f"planted_from must be ({copies},) indices of real scans, one for each of planted_distances")
    return places.astype(np.int64)


def _distances(name: str, values: npt.ArrayLike, shape: tuple[int | None, int]) -> FloatArray:
    array = np.asarray(values, dtype=np.float64)
    rows, columns = shape
    if array.ndim != 2 or array.shape[1] != columns or len(array) != (rows or len(array)) or not len(array):
        wanted = f"({rows or 'scan'}, {columns})"
        raise AuditError(f"{name} have shape {array.shape}; must be {wanted}, a column for each entry of training")
    if not (np.isfinite(array).all() and (array >= 0.0).all()):
        raise AuditError(f"{name} hold values that are negative or not finite; give distances")
    return array


def _numbered(name: str, values: npt.ArrayLike, n: int) -> tuple[IntArray, IntArray]:
    """Return the first scan of each name, and (scan,) the name's number."""
    column = np.asarray(values)
    if column.shape != (n,):
        raise AuditError(f"{name} have shape {column.shape}; must be ({n},), one for each entry of training")
    _, first, index = np.unique(column, return_index=True, return_inverse=True)
    return first, index
