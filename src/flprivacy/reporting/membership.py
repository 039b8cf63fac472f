"""What an audit found about who was trained on, in sentences and rows that the page and the terminal share."""

from collections.abc import Iterable
from dataclasses import dataclass

from flprivacy.core.audit import INCONCLUSIVE, LEAK, NO_LEAK, Audit
from flprivacy.core.membership import (
    AUC,
    SCAN,
    SITE,
    TARGET_AND_GENERATOR,
    Area,
    AttackExposure,
    GroupExposure,
    MembershipFinding,
    RateAtFpr,
    SiteExposure,
    VulnerableExposure,
)
from flprivacy.reporting import words

# Whose numbers on the most vulnerable scans are shown: chosen before looking, so that none is the luckiest of many.
_ON_VULNERABLE = ("RMIA", "calibrated", TARGET_AND_GENERATOR)
_NAMED = 4  # targets of one verdict that the first line names; of more it says how many
_GRAVEST = (LEAK, INCONCLUSIVE, NO_LEAK, "")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One attack at one level, for a table."""

    finding: MembershipFinding
    attack: AttackExposure
    rate: RateAtFpr | None  # at the deciding false positive rate, else at the highest that is resolved
    decides: bool  # whether the finding's verdict rests on this attack


def overall(audit: Audit) -> str:
    """Return the first sentence of an audit: who gives away their members; empty where nobody asked for membership."""
    worst = verdicts(audit)
    by_verdict = {word: [name for name, found in worst.items() if found == word] for word in _GRAVEST}
    said = [_said(word, names) for word, names in by_verdict.items() if names]
    if named := gives_away_sites(audit):
        said.append(f"{_listed(list(named))} {_give(list(named))} away whether a hospital took part")
    return f"Who was trained on: {'; '.join(said)}." if said else ""


def verdicts(audit: Audit) -> dict[str, str]:
    """Return target -> the gravest verdict on its scans and patients; empty where there is none."""
    worst: dict[str, str] = {}
    for finding in (one for one in audit.membership if one.level != SITE):
        worst[finding.target] = min(worst.get(finding.target, ""), finding.verdict, key=_GRAVEST.index)
    return worst


def gives_away_sites(audit: Audit) -> tuple[str, ...]:
    """Return the targets that give away whether a hospital took part."""
    return tuple(one.target for one in audit.membership if one.level == SITE and one.verdict == LEAK)


def gives_away(audit: Audit, name: str) -> list[str]:
    """Return what a target gives away of its members, in words: who they are, whether a hospital is among them."""
    told = {
        "who was trained on": verdicts(audit).get(name) == LEAK,
        "whether a hospital took part": name in gives_away_sites(audit),
    }
    return [what for what, leaks in told.items() if leaks]


def _give(names: list[str]) -> str:
    return "gives" if len(names) == 1 else "give"


def _listed(names: list[str]) -> str:
    return words.listed(names) if len(names) <= _NAMED else f"{len(names)} models"


def _said(verdict: str, names: list[str]) -> str:
    if verdict == LEAK:
        return f"{_listed(names)} {_give(names)} it away"
    if verdict == INCONCLUSIVE:
        return f"not settled for {_listed(names)}"
    if verdict == "":
        return f"{_listed(names)} {'was' if len(names) == 1 else 'were'} not judged"
    return f"no attack that was run tells it of {_listed(names)}"


def lines(audit: Audit) -> list[str]:
    """Return a sentence for each target, of its scans; of its patients where they fare otherwise; and of hospitals."""
    found = {(f.target, f.level): f.verdict for f in audit.membership}
    shown = [f for f in audit.membership if f.level in (SCAN, SITE) or f.verdict != found.get((f.target, SCAN))]
    return [line(finding) for finding in shown]


def line(finding: MembershipFinding) -> str:
    """Return a finding in a sentence that begins with the target's name."""
    name = f"{finding.target}, membership of a {level_name(finding)}"
    if finding.sites is not None:
        judged = f"{finding.verdict}; " if finding.verdict else ""
        return f"{name}: {judged}{of_sites(finding.sites)}."
    if finding.decision is None or not finding.attacks:
        return f"{name}: {' '.join(filter(None, [finding.verdict and f'{finding.verdict},', finding.reason]))}."
    chosen = next(row for row in rows_of(finding) if row.decides)
    numbers = [f"AUC {area(chosen.attack.auc)}, by chance 0.5"]
    if chosen.rate is not None:
        numbers.append(f"it finds {found(chosen.rate)}")
    if finding.decision.metric != AUC:
        numbers.reverse()
    numbers[0] = f"attack {chosen.attack.attack}: {numbers[0]}"
    return f"{name}: {finding.verdict}; {'; '.join(numbers)}."


def level_name(finding: MembershipFinding) -> str:
    """Return what a member is, in a word of the report."""
    return "hospital" if finding.level == SITE else finding.level


def of_sites(one: SiteExposure) -> str:
    """Return in words how well hospitals that took part are told from others, with interval, p-value and chance."""
    held_out = f"; by other scans of theirs {area(one.held_out)}" if one.held_out is not None else ""
    return (
        f"hospitals that took part in {one.references} models are told from the others by their training scans "
        f"with AUC {area(one.auc)}, p {one.p_value:.2g}, by chance 0.5{held_out}"
    )


def site_rows(audit: Audit) -> tuple[tuple[MembershipFinding, SiteExposure], ...]:
    """Return every finding on hospitals that has numbers."""
    return tuple((one, one.sites) for one in audit.membership if one.sites is not None)


def site_names(audit: Audit) -> tuple[str, ...]:
    """Return the hospitals that some finding is about, in order of name."""
    return tuple(sorted({name for _, one in site_rows(audit) for name in one.recognised}))


def found(rate: RateAtFpr) -> str:
    """Return a true positive rate in words, with its interval, the realised false positive rate, and chance."""
    return (
        f"{_percent(rate.tpr)} [{_percent(rate.tpr_low)}, {_percent(rate.tpr_high)}] of the members, where it also "
        f"takes {_percent(rate.realised_fpr)} of the others for members (by chance {_percent(rate.chance)})"
    )


def area(one: Area | None) -> str:
    """Return an area with its interval; a dash where there is none."""
    return "\N{EN DASH}" if one is None else f"{one.value:.3f} [{one.low:.3f}, {one.high:.3f}]"


def _percent(share: float) -> str:
    return f"{100.0 * share:.1f}%"


def rows(audit: Audit) -> tuple[Row, ...]:
    """Return every attack on every target at every level."""
    return tuple(row for finding in audit.membership for row in rows_of(finding))


def rows_of(finding: MembershipFinding) -> tuple[Row, ...]:
    """Return every attack of a finding; one of them decides."""
    decision = finding.decision
    wanted = decision.metric if decision is not None else ""
    made = []
    for attack in finding.attacks:
        rate = next((one for one in attack.rates if wanted == f"tpr_at_fpr_{one.fpr:g}"), None)
        rate = rate or (attack.rates[0] if attack.rates else None)
        decides = decision is not None and attack.attack == decision.attack
        made.append(Row(finding=finding, attack=attack, rate=rate, decides=decides))
    return tuple(made)


def exposed_groups(audit: Audit, kind: str) -> tuple[tuple[str, tuple[GroupExposure, ...]], ...]:
    """Return (target, its groups, the most exposed first) by the attack that decides, of scans."""
    made = []
    for finding in audit.membership:
        if finding.level == SCAN and finding.attacks:
            attack = next((row.attack for row in rows_of(finding) if row.decides), finding.attacks[0])
            groups = [one for one in attack.groups if one.kind == kind]
            made.append((finding.target, tuple(sorted(groups, key=lambda one: (-one.tpr, one.group)))))
    return tuple(made)


def vulnerable(findings: Iterable[MembershipFinding]) -> tuple[tuple[str, AttackExposure, VulnerableExposure], ...]:
    """Return (target, attack, how it fares on the most vulnerable scans) for the attacks that are looked at there."""
    return tuple(
        (finding.target, attack, attack.vulnerable)
        for finding in findings
        if finding.level == SCAN
        for attack in finding.attacks
        if attack.attack in _ON_VULNERABLE and attack.vulnerable is not None
    )
