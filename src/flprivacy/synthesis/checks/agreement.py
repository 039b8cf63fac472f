"""Does a synthetic scan show what it was asked to show? A classifier trained on real scans says what it sees."""

import numpy as np
import numpy.typing as npt

from flprivacy.auditing.membership.rates import effective, limits
from flprivacy.core.array_types import IntArray
from flprivacy.core.errors import AuditError
from flprivacy.core.generator_audit import Agreement, Measured

_ERROR, _SHUFFLES = 0.05, 1999


def measure_agreement(
    condition: str,
    classifier: str,
    *,
    seen: npt.ArrayLike,
    asked: npt.ArrayLike,
    seen_in_real: npt.ArrayLike,
    real: npt.ArrayLike,
    real_patients: IntArray,
) -> Agreement:
    """Set what a classifier sees in synthetic scans against what they were asked for, and against its own accuracy.

    Chance is the agreement to be expected if a scan had nothing to do with what it was asked for: that of the same
    answers in any other order, which a permutation test compares with.

    Args:
        condition: name of what was asked for, such as ``site``.
        classifier: what says what it sees, in words.
        seen: (synthetic scan,) class that it sees.
        asked: (synthetic scan,) class that was asked for.
        seen_in_real: (held-out scan,) class that it sees.
        real: (held-out scan,) true class.
        real_patients: (held-out scan,) index of each one's patient.

    Raises:
        AuditError: no synthetic or no held-out scan.
    """
    says, wanted, of_real, truth = (np.asarray(one, dtype=np.int64) for one in (seen, asked, seen_in_real, real))
    if not len(wanted) or not len(truth):
        raise AuditError(
            f"{condition}: {len(wanted)} synthetic and {len(truth)} held-out scans; give at least one each"
        )
    n = len(wanted)
    classes = int(max(says.max(), wanted.max())) + 1
    shares, answers = np.bincount(wanted, minlength=classes) / n, np.bincount(says, minlength=classes) / n
    hits = int((says == wanted).sum())
    shuffled = np.random.default_rng(0).permuted(np.tile(says, (_SHUFFLES, 1)), axis=1)
    as_many = int(((shuffled == wanted).sum(axis=1) >= hits).sum())
    right = float((of_real == truth).mean())
    _, index = np.unique(real_patients, return_inverse=True)
    return Agreement(
        condition=condition,
        classifier=classifier,
        synthetic=_share(hits / n, float(n)),
        real=_share(right, effective(index)),
        chance=float(shares @ answers),
        p_value=(1 + as_many) / (1 + _SHUFFLES),
        n=n,
    )


def _share(share: float, n: float) -> Measured:
    low, high = limits(share * n, n, _ERROR / 2.0)
    return Measured(value=share, low=low, high=high)
