"""What changed since the last audit, for the page and the terminal."""

from dataclasses import dataclass

from rich import box
from rich.table import Table
from rich.text import Text

from flprivacy.core.change import BETTER, FIRST_AUDIT, NO_CHANGE, NOT_COMPARABLE, WORSE, AttackChange, AuditChange
from flprivacy.reporting import words

GLYPHS = {
    WORSE: "\N{BLACK UP-POINTING TRIANGLE}",
    BETTER: "\N{BLACK DOWN-POINTING TRIANGLE}",
    NO_CHANGE: "\N{IDENTICAL TO}",
    FIRST_AUDIT: "\N{WHITE CIRCLE}",
    NOT_COMPARABLE: "\N{CIRCLE WITH LEFT HALF BLACK}",
}
CLASSES = {WORSE: "leak", BETTER: "none", NO_CHANGE: "unjudged", FIRST_AUDIT: "unjudged", NOT_COMPARABLE: "open"}
_STYLES = {WORSE: "bold red", BETTER: "green", NOT_COMPARABLE: "yellow"}
_CLAIM = (
    "A target changed for the worse if some attack gets more out of it than the same attack got out of the target that "
    "was audited before, by more than chance explains: other patients, other attacker seeds, and the randomness of "
    "training, as estimated from the spread between fresh initialisations of the network."
)


@dataclass(frozen=True, kw_only=True)
class ChangeRow:
    """One attack's change, in words."""

    target: str
    attack: str
    metric: str
    before: str
    now: str
    value: str
    interval: str
    p_adjusted: str
    models: str
    clear: bool


def claim(change: AuditChange) -> str:
    """Return what the verdicts say and how sure they are, in sentences."""
    risk = words.percent((1.0 - change.confidence) / 2.0)
    return (
        f"{_CLAIM} If nothing changed, the chance that a run calls any target worse is at most {risk}. The last column "
        "is about these two models as they are, whatever made them differ."
    )


def change_rows(change: AuditChange) -> tuple[ChangeRow, ...]:
    """Return one row an attack that was compared, target by target."""
    limit = 1.0 - change.confidence
    return tuple(_row(attack, limit) for one in change.targets for attack in one.attacks)


def _row(c: AttackChange, limit: float) -> ChangeRow:
    return ChangeRow(
        target=c.attack.target,
        attack=words.attack_name(c.attack.attribute, c.attack.access),
        metric=words.metric_name(c.metric),
        before=words.number(c.before, c.metric),
        now=words.number(c.now, c.metric),
        value=words.signed(c.value, c.metric) + words.unit(c.metric),
        interval=words.interval(c.ci_low, c.ci_high, c.metric),
        p_adjusted=words.p_value(c.p_adjusted),
        models=words.interval(c.model_ci_low, c.model_ci_high, c.metric),
        clear=c.p_adjusted < limit,
    )


def change_lines(change: AuditChange) -> list[str]:
    """Return the verdicts in plain lines, the gravest first; text, not rich markup."""
    lines = [f"Since the last audit: {change.verdict}."]
    for one in change.targets:
        when = f" (its last audit: {one.previous.ended})" if one.previous is not None and one.audited else ""
        lines.append(f"{GLYPHS.get(one.verdict, '')} {one.target}: {one.verdict}; {one.reason}{when}")
    return lines


def change_table(change: AuditChange) -> Table | None:
    """Return what was compared as a rich table; None where nothing was."""
    rows = change_rows(change)
    if not rows:
        return None
    table = Table(title="Since the last audit", title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1))
    table.add_column("Target", overflow="fold", max_width=20)
    table.add_column("Attack", overflow="fold")
    table.add_column("Before", justify="right")
    table.add_column("Now", justify="right")
    table.add_column("Change", no_wrap=True)
    table.add_column("Adjusted p", justify="right")
    verdicts = {one.target: one.verdict for one in change.targets}
    for row in rows:
        style = _STYLES.get(verdicts[row.target], "") if row.clear else ""
        cells = (row.target, row.attack, row.before, row.now, f"{row.value} {row.interval}", row.p_adjusted)
        table.add_row(*(Text(cell, style=style) for cell in cells))
    return table
