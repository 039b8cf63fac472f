"""Which baselines a target's attack is held against.

In the pipeline a missing baseline is an error, because without it every number looks like a leak. Of arrays, whether
scores (:mod:`flprivacy.auditing.arrays`) or answers of a network that nobody showed, it keeps a verdict from being
``leak``, and the reason says so.
"""

from collections.abc import Sequence

from flprivacy.auditing.runs import AttackRuns
from flprivacy.core.errors import AuditError
from flprivacy.core.target_source import UNKNOWN
from flprivacy.core.vocabulary import JOINT

PIXELS, MAJORITY = "pixels", "majority"
NO_TWIN = "no 'untrained' baseline was given, so the network's architecture alone may explain it"
_WITHOUT_MODEL = {
    PIXELS: "run the pixels-only attacker (flprivacy.attacks.baselines.attack_pixels)",
    MAJORITY: "run the majority guess (flprivacy.attacks.baselines.majority)",
}


def baselines_of(target: AttackRuns, others: Sequence[AttackRuns], *, lacking: bool = False) -> list[AttackRuns]:
    """Return the baselines of a target's attack: same attribute and fraction, and the same access to the same
    architecture or no model at all.

    Pixels are one only where the attacker has them too (access ``joint``): whoever is handed features without the scan
    cannot read it, so what pixels tell does not excuse what the features tell. Those that are ``lacking`` because they
    failed are no error; the verdict must then allow for them.

    Raises:
        AuditError: no fresh weights attacked with the same access, only one initialisation of them, no majority guess,
            no pixels-only attacker for an attack with pixels, or one with other attacker seeds.
    """
    found = [
        runs
        for runs in others
        if runs.role == "baseline" and runs.attack.fraction == target.attack.fraction and _comparable(runs, target)
    ]
    _check_complete(target, found, lacking=lacking)
    for runs in found:
        if runs.seeds != target.seeds:
            raise AuditError(
                f"{target.attack}: attacker seeds {_list(target.seeds)}, but baseline {runs.attack.target!r} has "
                f"{_list(runs.seeds)}; attack both with the same seeds, for the comparison is paired by seed"
            )
    return found


def _comparable(baseline: AttackRuns, target: AttackRuns) -> bool:
    same = baseline.attack.access == target.attack.access and baseline.architecture == target.architecture
    return same or (not baseline.uses_model and baseline.attack.target in _without_model(target))


def _without_model(target: AttackRuns) -> tuple[str, ...]:
    return (PIXELS, MAJORITY) if target.attack.access == JOINT else (MAJORITY,)


def _check_complete(target: AttackRuns, found: Sequence[AttackRuns], *, lacking: bool) -> None:
    fresh = [runs for runs in found if runs.attack.access == target.attack.access]
    names = {runs.attack.target for runs in found}
    for name in _without_model(target):
        if name not in names:
            raise AuditError(f"{target.attack}: no baseline {name!r}; {_WITHOUT_MODEL[name]} at this fraction")
    if target.architecture == UNKNOWN:
        return
    if not fresh and not lacking:
        raise AuditError(
            f"{target.attack}: no baseline with fresh weights of architecture {target.architecture!r} was "
            f"attacked; attack an untrained target of it with access {target.attack.access!r} at this fraction"
        )
    if not lacking and max(len(runs.models) for runs in fresh) < 2:
        raise AuditError(
            f"{target.attack}: baseline {fresh[0].attack.target!r} has 1 model; fresh weights vary at random, so give "
            "an untrained target at least 2 initialisations (10 are better)"
        )


def _list(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds))
