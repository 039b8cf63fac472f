"""What would settle an inconclusive verdict: more held-out patients, more attacker seeds, or nothing of the kind."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flprivacy.core.audit import HONEST_SEEDS, INCONCLUSIVE, Audit, Look, Verdict
from flprivacy.core.vocabulary import HOLDING, MEMORISED, TRAINING
from flprivacy.reporting import words

_HOPELESS = 20.0  # more than so many times the patients are not advised
_MORE_SEEDS = 4.0  # times as many attacker seeds are
_ABOUT = {
    TRAINING: "for whoever has no scan",
    HOLDING: "for whoever holds the scan",
    MEMORISED: "about its own training patients",
}
_LEAST = 1.5  # times the patients: an interval that just fails to settle it may do so again


def remedy(audit: Audit, unsettled: Sequence[Verdict]) -> str:
    """Return what would settle verdicts, in a clause: for whom how many more held-out patients or seeds would, and what
    to do about the others, to whom nothing of the kind would.
    """
    seeds = min((m.n_seeds for m in audit.metrics), default=HONEST_SEEDS)
    if seeds < HONEST_SEEDS:
        return f"attack with at least {HONEST_SEEDS} seeds first"
    needed: dict[str, list[_Needed]] = {}
    for verdict in unsettled:
        needed.setdefault(verdict.attack.question, []).extend(map(_needed, _open_looks(verdict)))
    within = {asked: looks for asked, looks in needed.items() if all(one.patients <= _HOPELESS for one in looks)}
    beyond = [asked for asked in needed if asked not in within]
    if not within:
        return f"treat it as a leak or change the policy's tolerance: {_why(needed, beyond)}"
    most = [one for looks in within.values() for one in looks]
    held_out = max((m.n_patients for m in audit.metrics), default=0)
    count = _rounded(held_out * (max(one.patients for one in most) - 1.0))
    attacks = f" and {round(seeds * _MORE_SEEDS)} attacker seeds" if any(one.seeds for one in most) else ""
    settles = f"some {count} more held-out patients{attacks} would settle it"
    if not beyond:
        return settles
    settled, others = (words.listed([_ABOUT[asked] for asked in which]) for which in (list(within), beyond))
    return f"{settles} {settled}; {others} treat it as a leak: {_why(needed, beyond)}"


@dataclass(frozen=True, kw_only=True)
class _Needed:
    """How many times the patients settle something, infinite if none do, and whether it takes more seeds, too."""

    patients: float
    seeds: bool = False
    by_luck: bool = False  # whether fresh initialisations alone differ too much


def _why(needed: Mapping[str, Sequence[_Needed]], beyond: Sequence[str]) -> str:
    if any(one.by_luck for who in beyond for one in needed[who]):
        return (
            "networks that saw no patient differ among themselves by more than is tolerated, however many patients are "
            "asked about"
        )
    return f"it would take more than {_HOPELESS:g} times as many patients to settle it"


def _open_looks(verdict: Verdict) -> Sequence[Look] | Sequence[Verdict]:
    return [k for k in verdict.looks if k.verdict == INCONCLUSIVE and not k.of_class] or [verdict]


def _needed(one: Look | Verdict) -> _Needed:
    """Return what tells a model that gives nothing away from one that gives away twice what is tolerated."""
    reach = (one.ci_high - one.ci_low) / 2.0
    distance = max(abs(one.excess - one.threshold), one.threshold)
    enough = (distance / reach) ** 2 if reach > 0.0 else math.inf  # share of the variance that may stay
    by_patients, by_seeds = _shares(one)
    for fewer in (1.0, 1.0 / _MORE_SEEDS):  # of the seeds' variance
        stays = 1.0 - by_patients - (1.0 - fewer) * by_seeds
        factor = max(_LEAST, by_patients / (enough - stays)) if enough > stays else math.inf
        if factor <= _HOPELESS:
            return _Needed(patients=factor, seeds=fewer < 1.0)
    return _Needed(patients=math.inf, by_luck=enough <= 1.0 - by_patients - by_seeds)


def _shares(one: Look | Verdict) -> tuple[float, float]:
    """Return the shares of the variance that are the patients' and the seeds'; all is the patients' where unknown."""
    if isinstance(one, Verdict) or one.patients_share is None:
        return 1.0, 0.0
    return one.patients_share, one.seeds_share or 0.0


def _rounded(count: float) -> int:
    """Return a count to one digit, rounded up: it is a rule of thumb."""
    power = int(10 ** math.floor(math.log10(max(count, 1.0))))
    return power * math.ceil(count / power)
