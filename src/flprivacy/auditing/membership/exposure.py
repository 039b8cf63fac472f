"""Who is exposed most: by group, and by name."""

from collections.abc import Iterator, Sequence

import numpy as np

from flprivacy.auditing.membership.rates import Sample, auc, effective, limits, rate_at
from flprivacy.core.array_types import BoolArray, StrArray
from flprivacy.core.membership import ExposedMember, GroupExposure, VulnerableExposure

_VULNERABLE, _MOST, _NON_MEMBERS = 0.1, 0.5, 20  # share of the scans; at most; and how many non-members it should hold


def by_group(
    sample: Sample, kind: str, groups: tuple[StrArray, StrArray], threshold: float, *, confidence: float
) -> Iterator[GroupExposure]:
    """Yield the exposure of each group that has members; ``groups`` are those of the members and the non-members."""
    of_members, of_non_members = groups
    for group in np.unique(of_members).tolist():
        inside, outside = of_members == group, of_non_members == group
        part = _part(sample, inside, outside)
        tpr, size = float((part.members > threshold).mean()), effective(part.member_patients)
        low, high = limits(tpr * size, size, (1.0 - confidence) / 2.0)
        yield GroupExposure(
            kind=kind,
            group=str(group),
            n_members=int(inside.sum()),
            n_non_members=int(outside.sum()),
            tpr=tpr,
            tpr_low=low,
            tpr_high=high,
            auc=auc(part, confidence=confidence) if _fewest_patients(part) >= 2 else None,
        )


def most_exposed(sample: Sample, names: StrArray, most: int) -> Sequence[ExposedMember]:
    """Return the members with the highest scores; of equal ones, the first by name."""
    order = np.lexsort((names, -sample.members))[:most]
    as_high = (sample.non_members[:, None] >= sample.members[order]).sum(axis=0)
    return [
        ExposedMember(name=str(names[i]), score=float(sample.members[i]), non_members_as_high=int(count))
        for i, count in zip(order, as_high, strict=True)
    ]


def most_vulnerable(
    sample: Sample, vulnerability: Sample, fpr: float, *, confidence: float
) -> VulnerableExposure | None:
    """Return the exposure of the most vulnerable alone; None with fewer than 2 patients of either kind among them."""
    known = np.concatenate([vulnerability.members, vulnerability.non_members])
    share = min(_MOST, max(_VULNERABLE, _NON_MEMBERS / len(vulnerability.non_members)))
    least = np.sort(known)[::-1][int(np.ceil(share * len(known))) - 1]
    part = _part(sample, vulnerability.members >= least, vulnerability.non_members >= least)
    if _fewest_patients(part) < 2:
        return None
    n = len(part.non_members)
    return VulnerableExposure(
        n_members=len(part.members),
        n_non_members=n,
        rate=rate_at(part, max(fpr, 1.0 / n), confidence=confidence),
        auc=auc(part, confidence=confidence),
    )


def _part(sample: Sample, inside: BoolArray, outside: BoolArray) -> Sample:
    return Sample(
        members=sample.members[inside],
        non_members=sample.non_members[outside],
        member_patients=sample.member_patients[inside],
        non_member_patients=sample.non_member_patients[outside],
    )


def _fewest_patients(sample: Sample) -> int:
    return min(len(np.unique(of)) for of in (sample.member_patients, sample.non_member_patients))
