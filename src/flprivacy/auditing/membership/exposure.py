"""Who is exposed most: by group, and by name."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from flprivacy.auditing.membership.areas import auc
from flprivacy.auditing.membership.rates import Sample, effective, limits
from flprivacy.core.membership import ExposedMember, GroupExposure

StrArray = npt.NDArray[np.str_]


def by_group(
    sample: Sample, kind: str, groups: tuple[StrArray, StrArray], threshold: float, *, confidence: float
) -> Iterator[GroupExposure]:
    """Yield the exposure of each group that has members; ``groups`` are those of the members and the non-members."""
    of_members, of_non_members = groups
    for group in np.unique(of_members).tolist():
        inside, outside = of_members == group, of_non_members == group
        part = Sample(
            members=sample.members[inside],
            non_members=sample.non_members[outside],
            member_patients=sample.member_patients[inside],
            non_member_patients=sample.non_member_patients[outside],
        )
        tpr, size = float((part.members > threshold).mean()), effective(part.member_patients)
        low, high = limits(tpr * size, size, (1.0 - confidence) / 2.0)
        patients = (len(np.unique(of)) for of in (part.member_patients, part.non_member_patients))
        yield GroupExposure(
            kind=kind,
            group=str(group),
            n_members=int(inside.sum()),
            n_non_members=int(outside.sum()),
            tpr=tpr,
            tpr_low=low,
            tpr_high=high,
            auc=auc(part, confidence=confidence) if min(patients) >= 2 else None,
        )


def most_exposed(sample: Sample, names: StrArray, most: int) -> Sequence[ExposedMember]:
    """Return the members with the highest scores; of equal ones, the first by name."""
    order = np.lexsort((names, -sample.members))[:most]
    as_high = (sample.non_members[:, None] >= sample.members[order]).sum(axis=0)
    return [
        ExposedMember(name=str(names[i]), score=float(sample.members[i]), non_members_as_high=int(count))
        for i, count in zip(order, as_high, strict=True)
    ]
