"""Score tables that may be shared: comparable with those of another audit, without an identifier."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from flprivacy.core.digests import digest_json
from flprivacy.core.scores import ScoreBlock, ScoreTable

Names = npt.NDArray[np.str_]


def anonymous(table: ScoreTable) -> ScoreTable:
    """Return a table with numbers in place of scans' and patients' names, in the order of these numbers.

    Two audits of the same cohort number alike, so that they can be compared scan by scan. The numbers follow a digest
    of pseudonym, cohort and attribute: they say nothing to whoever lacks the cohort, and what is known of a scan's
    site cannot be put beside its patient's sex or age, for each attribute has an order of its own. Held-out scans and
    those of members are numbered apart: which members are scored may differ between two audits.
    """
    known: dict[tuple[str, str, str], dict[str, str]] = {}
    return replace(table, blocks=tuple(_anonymous(block, table.cohort_digest, known) for block in table.blocks))


def _anonymous(block: ScoreBlock, cohort_digest: str, known: dict[tuple[str, str, str], dict[str, str]]) -> ScoreBlock:
    def numbered(names: Names, kind: str) -> Names:
        salt = f"{cohort_digest} {block.attack.attribute} {kind}"
        numbers = known.setdefault((block.attack.attribute, block.attack.scans, kind), {})
        if not numbers.keys() >= set(names.tolist()):
            numbers |= _numbers(sorted({*numbers, *names.tolist()}), salt)
        return np.asarray([numbers[name] for name in names.tolist()])

    scans, patients = numbered(block.scan_ids, "scan"), numbered(block.patient_ids, "patient")
    order = np.argsort(scans, kind="stable")
    return replace(
        block,
        scan_ids=scans[order],
        patient_ids=patients[order],
        truth=block.truth[order],
        scores=block.scores[order],
    )


def _numbers(names: list[str], salt: str) -> dict[str, str]:
    """Return a number for each name, in the order of their salted digests."""
    ranked = sorted(names, key=lambda name: digest_json([salt, name]))
    return {name: f"{i:06d}" for i, name in enumerate(ranked)}
