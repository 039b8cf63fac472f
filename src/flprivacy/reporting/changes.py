"""What changed since the last audit, for the page and the terminal."""

from rich import box
from rich.table import Table
from rich.text import Text

from flprivacy.core.change import (
    BETTER,
    FIRST_AUDIT,
    NO_CHANGE,
    NOT_COMPARABLE,
    TOO_LITTLE_POWER,
    WORSE,
    AuditChange,
    Change,
    MembershipChange,
    TargetChange,
)
from flprivacy.core.membership import AUC, LEAST_REFERENCES, TPR
from flprivacy.core.vocabulary import QUESTIONS
from flprivacy.reporting import words

GLYPHS = {
    WORSE: "\N{BLACK UP-POINTING TRIANGLE}",
    BETTER: "\N{BLACK DOWN-POINTING TRIANGLE}",
    NO_CHANGE: "\N{IDENTICAL TO}",
    TOO_LITTLE_POWER: "\N{CIRCLE WITH LEFT HALF BLACK}",
    FIRST_AUDIT: "\N{WHITE CIRCLE}",
    NOT_COMPARABLE: "\N{CIRCLE WITH LEFT HALF BLACK}",
}
CLASSES = {
    WORSE: "leak",
    BETTER: "none",
    NO_CHANGE: "unjudged",
    FIRST_AUDIT: "unjudged",
    TOO_LITTLE_POWER: "open",
    NOT_COMPARABLE: "open",
}
_STYLES = {WORSE: "bold red", BETTER: "green", TOO_LITTLE_POWER: "yellow", NOT_COMPARABLE: "yellow"}
_ACTIONS = {
    WORSE: "It gives away more than at its last audit: put the version before back, or decide anew who may have it.",
    BETTER: "It gives away less than at its last audit; who may have it is for the first table to say.",
    NO_CHANGE: "Nothing speaks for a change, so what was decided about it may stand.",
    TOO_LITTLE_POWER: (
        "A change above what the policy tolerates may have gone unseen: decide by the first table, not by its last "
        "audit."
    ),
    FIRST_AUDIT: "There is nothing to compare it with: decide by the first table.",
    NOT_COMPARABLE: "Nothing is said of a change: decide by the first table, not by its last audit.",
}
_OF_WHO = "Who was trained on"
_CLAIM = (
    "A target changed for the worse if some attack gets more out of it than the same attack got out of the target that "
    "was audited before, by more than chance explains: other patients, other attacker seeds, and the randomness of "
    "training, as estimated from the spread between fresh initialisations of the network."
)
_OF_MEMBERS = (
    "Of membership, the randomness of training is estimated from the spread between the reference models; with fewer "
    f"than {LEAST_REFERENCES} of them, a spread is assumed (twice what the loss shows on the demo)."
)


def first_line(change: AuditChange) -> str:
    """Return what changed in a sentence that names the targets, the gravest first."""
    by_verdict: dict[str, list[str]] = {}
    for one in change.targets:
        by_verdict.setdefault(one.verdict, []).append(one.target)
    named = [f"{words.listed(names)}: {verdict}" for verdict, names in by_verdict.items()]
    return f"Since the last audit, {'; '.join(named) or change.verdict}."


def action(one: TargetChange) -> str:
    """Return what to do about a target."""
    return _ACTIONS.get(one.verdict, "")


def grouped(one: TargetChange) -> list[tuple[str, list[Change]]]:
    """Return what was compared of a target by question, each as a heading, who was trained on last."""
    order = [*map(words.question_title, QUESTIONS), _OF_WHO]
    groups: dict[str, list[Change]] = {title: [] for title in order}
    for found in one.compared:
        title = _OF_WHO if isinstance(found, MembershipChange) else words.question_title(found.attack.question)
        groups[title].append(found)
    return [(title, changes) for title, changes in groups.items() if changes]


def claim(change: AuditChange) -> str:
    """Return what the verdicts say and how sure they are, in sentences."""
    risk = words.percent((1.0 - change.confidence) / 2.0)
    of_members = f" {_OF_MEMBERS}" if any(one.membership for one in change.targets) else ""
    return (
        f"{_CLAIM}{of_members} If nothing changed, the chance that a run calls any target worse is at most {risk}. The "
        "last column is about these two models as they are, whatever made them differ. The smallest visible change "
        "would have been found with 80% power; where it is above what the policy tolerates, nothing found says nothing."
    )


def is_clear(one: Change, change: AuditChange) -> bool:
    """Return whether an attack changed by more than chance explains."""
    return one.p_adjusted < 1.0 - change.confidence


def attack(one: Change) -> str:
    """Return an attack in words, such as "site from features" or "membership by LiRA"."""
    return one.what if isinstance(one, MembershipChange) else words.attack_on(one.attack)


def metric(one: Change) -> str:
    """Return a metric in words."""
    if isinstance(one, MembershipChange):
        return "AUC" if one.metric == AUC else f"TPR at FPR {words.percent(float(one.metric.removeprefix(TPR)))}"
    return words.metric_name(one.metric)


def how(one: Change) -> str:
    """Return how membership was compared; empty for attributes, which are always paired."""
    if not isinstance(one, MembershipChange):
        return ""
    basis = "paired by scan" if one.paired else "from the intervals of both audits"
    known = f"as {one.references} references show it" if one.references else "assumed"
    return f"{basis}; chance in training {known}"


def change_lines(change: AuditChange) -> list[str]:
    """Return the verdicts in plain lines, the gravest first; text, not rich markup."""
    lines = [f"Since the last audit: {change.verdict}."]
    for one in change.targets:
        when = f" (its last audit: {one.previous.ended})" if one.previous is not None and one.audited else ""
        note = f"; note: {one.note}" if one.note else ""
        lines.append(f"{GLYPHS.get(one.verdict, '')} {one.target}: {one.verdict}; {one.reason}{when}{note}")
        lines.append(f"  {action(one)}")
    return lines


def change_table(change: AuditChange) -> Table | None:
    """Return what was compared as a rich table; None where nothing was."""
    if not any(one.compared for one in change.targets):
        return None
    table = Table(title="Since the last audit", title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1))
    table.add_column("Target", overflow="fold", max_width=20)
    table.add_column("Attack", overflow="fold")
    table.add_column("Before", justify="right")
    table.add_column("Now", justify="right")
    table.add_column("Change", no_wrap=True)
    table.add_column("Adjusted p", justify="right")
    table.add_column("Visible from", justify="right")
    for one in change.targets:
        for c in one.compared:
            value = f"{words.signed(c.value, c.metric)}{words.unit(c.metric)}"
            cells = (
                one.target,
                f"{attack(c)}, {metric(c)}" if isinstance(c, MembershipChange) else attack(c),
                *(words.number(strength, c.metric) for strength in (c.before, c.now)),
                f"{value} {words.interval(c.ci_low, c.ci_high, c.metric)}",
                words.p_value(c.p_adjusted),
                "" if c.detectable is None else words.number(c.detectable, c.metric),
            )
            style = _STYLES.get(one.verdict, "") if is_clear(c, change) else ""
            table.add_row(*(Text(cell, style=style) for cell in cells))
    return table
