"""What would settle an inconclusive verdict: more held-out patients, more attacker seeds, or nothing of the kind."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from flprivacy.core.audit import HONEST_SEEDS, INCONCLUSIVE, Audit, Look, TargetSummary, Verdict
from flprivacy.core.membership import LEAST_REFERENCES, SITE, MembershipVerdict
from flprivacy.core.vocabulary import HOLDING, MEMORISED, TRAINING
from flprivacy.reporting import words

_HOPELESS = 20.0  # more than so many times the patients are not advised
_MORE_SEEDS = 4.0  # times as many attacker seeds are
_ABOUT = {
    TRAINING: "for whoever does not hold the patient's scan",
    HOLDING: "for whoever holds the patient's scan",
    MEMORISED: "on its training patients",
}
_LEAST = 1.5  # times the patients: an interval that just fails to settle it may do so again


def remedy(audit: Audit, unsettled: Sequence[Verdict]) -> str:
    """Return what would settle verdicts on a target, in sentences: for whom how many more held-out patients or seeds
    would, and what to do about the others, to whom nothing of the kind would.

    No patients are asked for where what the target remembers stays open, since nobody may have it then.
    """
    seeds = min((m.n_seeds for m in audit.metrics), default=HONEST_SEEDS)
    if seeds < HONEST_SEEDS:
        return f"Attack with at least {HONEST_SEEDS} seeds first."
    needed: dict[str, list[_Needed]] = {}
    for verdict in unsettled:
        needed.setdefault(verdict.attack.question, []).extend(map(_needed, _open_looks(verdict)))
    within = {asked: looks for asked, looks in needed.items() if all(one.patients <= _HOPELESS for one in looks)}
    beyond = {asked: looks for asked, looks in needed.items() if asked not in within}
    never = f"{_capital(_for(beyond))}, {_why(beyond)}: decide as if there were one." if beyond else ""
    if not within:
        return never
    whom = f" {_for(within)}" if beyond else ""
    if MEMORISED in beyond:
        return f"{never} More patients would settle it{whom}, but the model could still not be released."
    what = words.listed(_attributes(v for v in unsettled if v.attack.question in within))
    count = f"About {_count(audit, within)} more held-out patients{_more_seeds(within, seeds)}"
    return f"{count} would decide on {what}, either way{whom and ','}{whom}. {never}".rstrip()


def of_members(audit: Audit, target: TargetSummary) -> str:
    """Return what would settle who a target was trained on, in a clause; empty where nothing about it is open.

    Patients are counted as for attributes: so many that an interval tells a model that gives nothing away from one that
    gives away twice what is tolerated.
    """
    levels = [one for one in audit.membership if one.target == target.name and one.level != SITE]
    open_ = [one for one in levels if one.verdict == INCONCLUSIVE]
    too_few = next((one.reason for one in open_ if one.decision is None), "")
    if too_few or not open_ or target.doubt:
        return "it is in doubt what it takes" if target.doubt and open_ else too_few
    times = max(_times(one.decision) for one in open_ if one.decision is not None)
    held_out = max(one.n_non_members for one in levels if one.level == levels[-1].level)
    step = f"about {_rounded(held_out * (times - 1.0))} more held-out patients would decide it"
    if times > _HOPELESS:
        step = f"it would take more than {_HOPELESS:g} times as many patients, so decide as if it gave them away"
    trained = min(one.references for one in open_)
    if trained >= LEAST_REFERENCES or not target.topology:
        return step
    more = f"{LEAST_REFERENCES - trained} {'more ' if trained else ''}reference models"
    return f"{step}, and {more} (membership.references) would make the attack stronger"


@dataclass(frozen=True, kw_only=True)
class _Needed:
    """How many times the patients settle something, infinite if none do, and whether it takes more seeds, too."""

    patients: float
    seeds: bool = False
    by_luck: str = ""  # what is tolerated, where fresh initialisations alone differ by more
    metric: str = ""  # that this is about


def _for(asked: Iterable[str]) -> str:
    named = dict.fromkeys(asked)
    if {TRAINING, HOLDING} <= set(named):
        named = dict.fromkeys(one for one in named if one != HOLDING)
        return words.listed(["for whoever gets it" if one == TRAINING else _ABOUT[one] for one in named])
    return words.listed([_ABOUT[one] for one in named])


def _capital(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}"


def _attributes(found: Iterable[Verdict]) -> list[str]:
    return list(dict.fromkeys(words.attribute_name(v.attack.attribute) for v in found))


def _count(audit: Audit, within: Mapping[str, Sequence[_Needed]]) -> int:
    held_out = max((m.n_patients for m in audit.metrics), default=0)
    return _rounded(held_out * (max(one.patients for looks in within.values() for one in looks) - 1.0))


def _more_seeds(within: Mapping[str, Sequence[_Needed]], seeds: int) -> str:
    wanted = any(one.seeds for looks in within.values() for one in looks)
    return f" and {round(seeds * _MORE_SEEDS)} attacker seeds" if wanted else ""


def _why(beyond: Mapping[str, Sequence[_Needed]]) -> str:
    by_luck = [one for looks in beyond.values() for one in looks if one.by_luck]
    tolerated = {one.by_luck for one in by_luck}
    if tolerated:
        metrics = dict.fromkeys(words.metric_name(one.metric) for one in by_luck if not words.in_years(one.metric))
        of = f" in {words.listed(list(metrics), 'or')}" if metrics else ""
        limit = f"the tolerated {tolerated.pop()}{of}" if len(tolerated) == 1 else "is tolerated"
        return (
            "a leak is neither shown nor excluded, and more patients cannot settle that (even networks that were "
            f"trained on nobody differ by more than {limit}, so this audit cannot see so small a leak)"
        )
    return f"a leak is neither shown nor excluded, and that would take more than {_HOPELESS:g} times as many patients"


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
    by_luck = enough <= 1.0 - by_patients - by_seeds
    limit = f"{words.number(one.threshold, one.metric)}{words.unit(one.metric)}"
    return _Needed(patients=math.inf, by_luck=limit if by_luck else "", metric=one.metric)


def _times(decided: MembershipVerdict) -> float:
    """Return how many times the patients narrow an interval so far, infinite where nothing is tolerated or found."""
    reach = (decided.excess_high - decided.excess_low) / 2.0
    distance = max(abs(decided.excess - decided.threshold), decided.threshold)
    return max(_LEAST, (reach / distance) ** 2) if distance > 0.0 else math.inf


def _shares(one: Look | Verdict) -> tuple[float, float]:
    """Return the shares of the variance that are the patients' and the seeds'; all is the patients' where unknown."""
    if isinstance(one, Verdict) or one.patients_share is None:
        return 1.0, 0.0
    return one.patients_share, one.seeds_share or 0.0


def _rounded(count: float) -> int:
    """Return a count to one digit, rounded up: it is a rule of thumb."""
    power = int(10 ** math.floor(math.log10(max(count, 1.0))))
    return power * math.ceil(count / power)
