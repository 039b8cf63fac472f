"""What the checks of a generator found, in sentences and rows that the report and its own page share."""

from dataclasses import dataclass

from flprivacy.core.audit import INCONCLUSIVE, LEAK, NO_LEAK, Audit, TargetSummary
from flprivacy.core.generator_audit import (
    COPIES,
    NO_COPIES,
    Agreement,
    AnatomyCheck,
    Fidelity,
    GeneratorAudit,
    Measured,
)
from flprivacy.core.membership import SCAN, TARGET_AND_GENERATOR
from flprivacy.reporting import membership, words

PRIVACY, QUALITY = "Privacy", "Quality, which says nothing about privacy"
_SUBJECT = "The generator of synthetic scans"
_WITHHELD = "do not hand it out, nor its scans, on this audit"
_AS_OF_TARGETS = {COPIES: LEAK, NO_COPIES: NO_LEAK}
_DASH = "\N{EN DASH}"
_MANY = 100  # held-out patients, of whom 1% is at least one
_STATISTICS = {
    "nearer": "how much nearer synthetic scans are to training patients than to held-out ones (logarithm)",
    "data copying": "whether synthetic scans are nearer to training patients than held-out scans are (standard score)",
    "authenticity": "share of synthetic scans that are further from their nearest training patient than this one is "
    "from the next",
    "single patients": "share of the evidence for copies of single patients that is about training patients, negated",
}


@dataclass(frozen=True, kw_only=True)
class CheckRow:
    """One check of a generator.

    Attributes:
        group: PRIVACY or QUALITY.
        name: what was checked.
        found: the number with its interval.
        against: what it is held against.
        verdict: where the check has one.
        meaning: what it says, and what it does not prove, in a sentence each.
    """

    group: str
    name: str
    found: str
    against: str
    meaning: str
    verdict: str = ""


def first_line(audit: GeneratorAudit) -> str:
    """Return whether a generator copies patients, and whether attacks on it tell who was trained on."""
    verdict, members = audit.memorisation.verdict, {one.verdict for one in audit.membership}
    if verdict == COPIES:
        tells = ", and attacks on it tell who was trained on" if LEAK in members else ""
        return f"{_SUBJECT} copies patients it was trained on: do not hand out its scans, nor the generator{tells}."
    said = f"{_SUBJECT} was not found to copy patients it was trained on"
    if verdict != NO_COPIES:
        said = "Whether the generator of synthetic scans copies patients it was trained on could not be settled"
    if LEAK in members:
        return f"{said}, but attacks on it tell who was trained on: do not hand it out."
    if INCONCLUSIVE in members:
        return f"{said}; whether attacks on it tell who was trained on is not settled: {_WITHHELD}."
    said = f"{said}, and no attack on it tells who was trained on" if NO_LEAK in members else said
    return f"{said}." if verdict == NO_COPIES else f"{said}: {_WITHHELD}."


def in_short(audit: GeneratorAudit) -> tuple[str, str]:
    """Return the gravest verdict on a generator, in a target's words, and what it is about; nothing if it is clear."""
    found = [(_AS_OF_TARGETS.get(audit.memorisation.verdict, INCONCLUSIVE), "copies of patients")]
    found += [(one.verdict, "who was trained on") for one in audit.membership]
    worst = next((word for word in (LEAK, INCONCLUSIVE) if any(word == verdict for verdict, _ in found)), NO_LEAK)
    about = dict.fromkeys(what for verdict, what in found if verdict == worst != NO_LEAK)
    return worst, words.listed(list(about)) if about else ""


def css_class(verdict: str) -> str:
    """Return the CSS class of a verdict on copies or members; none of the three where there is no verdict."""
    return {COPIES: "leak", LEAK: "leak", NO_COPIES: "none", NO_LEAK: "none", "": "unjudged"}.get(verdict, "open")


def rows(audit: GeneratorAudit) -> tuple[CheckRow, ...]:
    """Return every check, those of privacy first."""
    return (
        _copies(audit),
        _suspects(audit),
        *_members(audit),
        *_vulnerable(audit),
        *([_fidelity(audit.fidelity)] if audit.fidelity else []),
        *_diversity(audit),
        *map(_agreement, audit.agreement),
        *map(_anatomy, audit.anatomy),
        *(_unchecked(name, reason) for name, reason in audit.unchecked.items()),
    )


def statistics(audit: GeneratorAudit) -> tuple[tuple[str, str, str, str, str], ...]:
    """Return (name, what it is, value, expected, p) of each statistic of the test for copies."""
    return tuple(
        (one.name, _STATISTICS[one.name], f"{one.value:.3f}", f"{one.expected:.3f}", words.p_value(one.p_value))
        for one in audit.memorisation.tests
    )


def targets(audit: Audit) -> tuple[TargetSummary, ...]:
    """Return the targets, those that were trained on synthetic scans first; none where no target was."""
    found = [one for one in audit.targets if one.role == "target"]
    if not any(one.synthetic_share for one in found):
        return ()
    return tuple(sorted(found, key=lambda one: -one.synthetic_share))


def trade(audit: Audit, target: TargetSummary) -> tuple[str, str, str, str]:
    """Return a target's utility, the AUC of the attack on its members by whoever holds it, and by whoever holds its
    generator, too, and how many verdicts on attributes are leaks or open.
    """
    utility = _DASH if target.utility is None else f"{target.utility.accuracy:.3f}"
    exposed = with_generator = _DASH
    for finding in audit.membership:
        if finding.target == target.name and finding.level == SCAN and finding.attacks:
            rows = membership.rows_of(finding)
            attack = next((row.attack for row in rows if row.decides), finding.attacks[0])
            exposed = membership.area(attack.auc)
            both = [row.attack for row in rows if row.attack.attack == TARGET_AND_GENERATOR]
            with_generator = membership.area(both[0].auc) if both else _DASH
    verdicts = [v.verdict for v in audit.verdicts if v.attack.target == target.name]
    leaks, unsettled = verdicts.count(LEAK), verdicts.count(INCONCLUSIVE)
    counts = f"{leaks} {words.plural(leaks, 'leak')}, {unsettled} inconclusive, of {len(verdicts)}"
    return utility, exposed, with_generator, counts if verdicts else _DASH


def of_real(audit: GeneratorAudit) -> str:
    """Return what pictures of real scans are there, or why there are none."""
    if audit.phantoms:
        return "The real scans are phantoms, which show no patient, so they are shown."
    hidden = "" if audit.samples else " Synthetic scans are not shown either: they may be copies."
    return (
        "This page holds no picture of a patient. The auditors' copy has them, real scans beside synthetic ones and "
        "the nearest pairs: patients.html in the folder generator_audit of the run, which is neither filed nor "
        f"sent.{hidden}"
    )


def _copies(audit: GeneratorAudit) -> CheckRow:
    found = audit.memorisation
    rates = ", ".join(f"{float(share):.0%} of samples {rate:.0%}" for share, rate in found.found_rates.items())
    meaning = f"{found.reason[0].upper()}{found.reason[1:]}."
    if rates:
        meaning += f" How often planted copies would be found: {rates}."
    return CheckRow(
        group=PRIVACY,
        name="Copies of patients",
        found=f"p = {words.p_value(found.p_value)}" if found.tests else "not tested",
        against=f"flagged at {found.error_rate:g}, as {found.error_rate:.0%} of generators that copy nobody are",
        verdict=found.verdict,
        meaning=f"{meaning} Copies that were turned, warped or put together from several patients may go unseen.",
    )


def _suspects(audit: GeneratorAudit) -> CheckRow:
    found = audit.memorisation
    return CheckRow(
        group=PRIVACY,
        name="Suspicious scans",
        found=f"{found.suspects} of {found.n_synthetic}",
        against=f"{found.suspects_expected:.1f} expected of scans of other patients",
        meaning="So many synthetic scans are nearer to one patient, relative to all others, than "
        f"{'all but 1%' if found.n_held_out >= _MANY else 'any'} of the held-out patients; of "
        f"{found.suspects_of_training} the patient was trained on. One proves nothing: look at the pairs.",
    )


def _members(audit: GeneratorAudit) -> list[CheckRow]:
    made = []
    for finding in audit.membership:
        chosen = [row for row in membership.rows_of(finding) if row.decides] or list(membership.rows_of(finding))[:1]
        area = membership.area(chosen[0].attack.auc) if chosen else _DASH
        name = f"attack {chosen[0].attack.attack}" if chosen else "not attacked"
        reason = f"{finding.reason[:1].upper()}{finding.reason[1:]}."
        made.append(
            CheckRow(
                group=PRIVACY,
                name=f"Membership of a {finding.level}",
                found=f"AUC {area}",
                against="0.5 by chance",
                verdict=finding.verdict,
                meaning=f"By {name}. {reason} The discriminator, which is among the attacks, stays with the auditors.",
            )
        )
    return made


def _vulnerable(audit: GeneratorAudit) -> list[CheckRow]:
    return [
        CheckRow(
            group=PRIVACY,
            name="Membership of the most vulnerable scans",
            found=f"AUC {membership.area(found.auc)}",
            against="0.5 by chance",
            meaning=f"By attack {attack.attack}, of the {found.n_members} training and {found.n_non_members} held-out "
            "scans that are least like any other patient's; these were chosen without asking the generator. It finds "
            f"{membership.found(found.rate)}. No verdict rests on so few. Who they are is known to the auditors alone: "
            "the table of scores in the step's folder.",
        )
        for _, attack, found in membership.vulnerable(audit.membership)
    ]


def _unchecked(name: str, reason: str) -> CheckRow:
    return CheckRow(
        group=QUALITY,
        name=f"{name[0].upper()}{name[1:]}",
        found="not checked",
        against=_DASH,
        meaning=f"{reason[0].upper()}{reason[1:]}.",
    )


def _fidelity(found: Fidelity) -> CheckRow:
    times = found.distance.value / max(found.floor.value, 1e-9)
    return CheckRow(
        group=QUALITY,
        name="Frechet distance",
        found=_measured(found.distance, 2),
        against=f"{_measured(found.floor, 2)} for training scans in their place",
        meaning=f"Synthetic scans are {times:.3g} times as far from held-out ones as real scans are, in "
        f"{found.features} ({found.n} scans a side). Copies would be as near as real scans.",
    )


def _diversity(audit: GeneratorAudit) -> list[CheckRow]:
    ours, real = audit.diversity, audit.diversity_of_real
    if ours is None or real is None:
        return []
    density = CheckRow(
        group=QUALITY,
        name="Density",
        found=f"{ours.density:.2f}",
        against=f"1.00 ideally, {real.density:.2f} for training scans",
        meaning="Whether synthetic scans lie where real ones are; far below 1 they lie elsewhere, above it they crowd "
        "where real ones are dense.",
    )
    coverage = CheckRow(
        group=QUALITY,
        name="Coverage",
        found=f"{ours.coverage:.2f}",
        against=f"{ours.ideal_coverage:.2f} ideally, {real.coverage:.2f} for training scans",
        meaning="Share of held-out scans with a synthetic one in their neighbourhood: low where samples are all alike. "
        "Perfect copies are perfect in both.",
    )
    return [density, coverage]


def _agreement(one: Agreement) -> CheckRow:
    seen = "is seen" if one.synthetic.low > one.chance else "is not shown to be seen"
    return CheckRow(
        group=QUALITY,
        name=f"Agreement, {one.condition}",
        found=_measured(one.synthetic, 2),
        against=f"{one.chance:.2f} by chance, {one.real.value:.2f} on held-out scans",
        meaning=f"The {one.condition} that was asked for {seen}: share of synthetic scans in which {one.classifier}, "
        "trained on real scans, recognises it.",
    )


def _anatomy(one: AnatomyCheck) -> CheckRow:
    return CheckRow(
        group=QUALITY,
        name=one.name[0].upper() + one.name[1:],
        found=_measured(one.distance, 2),
        against=f"{_measured(one.floor, 2)} for training scans",
        meaning="Wasserstein distance from held-out scans in their standard deviations; on average "
        f"{one.mean_synthetic:.3f} {one.unit}, and {one.mean_real:.3f} in held-out scans. Nobody conditioned on it.",
    )


def _measured(one: Measured, decimals: int) -> str:
    return f"{one.value:.{decimals}f} [{one.low:.{decimals}f}, {one.high:.{decimals}f}]"
