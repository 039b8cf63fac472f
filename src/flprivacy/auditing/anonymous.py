"""Score tables that may be shared: comparable with those of another audit, without an identifier."""

import functools
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from flprivacy.core.cohort import Cohort
from flprivacy.core.digests import digest_json
from flprivacy.core.membership_scores import MembershipScores
from flprivacy.core.scores import ScoreBlock, ScoreTable

Names = npt.NDArray[np.str_]
Renamed = tuple[Names, Names, npt.NDArray[np.intp]]


def anonymous(table: ScoreTable) -> ScoreTable:
    """Return a table with numbers in place of scans' and patients' names, in the order of these numbers.

    Two audits of the same cohort number alike, so that they can be compared scan by scan. The numbers follow a digest
    of pseudonym, cohort and attribute: they say nothing to whoever lacks the cohort, and what is known of a scan's
    site cannot be put beside its patient's sex or age, for each attribute has an order of its own. Held-out scans and
    those of members are numbered apart: which members are scored may differ between two audits.
    """
    known: dict[tuple[str, str], tuple[set[str], set[str]]] = {}
    for block in table.blocks:
        scans, patients = known.setdefault(_kind(block), (set(), set()))
        scans.update(block.scan_ids.tolist())
        patients.update(block.patient_ids.tolist())
    numbers = {
        kind: (
            _numbers(frozenset(scans), f"{table.cohort_digest} {kind[0]} scan"),
            _numbers(frozenset(patients), f"{table.cohort_digest} {kind[0]} patient"),
        )
        for kind, (scans, patients) in known.items()
    }
    renamed: dict[tuple[tuple[str, str], bytes, bytes], Renamed] = {}  # most blocks score the same scans

    def rename(block: ScoreBlock) -> ScoreBlock:
        kind = _kind(block)
        key = kind, block.scan_ids.tobytes(), block.patient_ids.tobytes()
        if key not in renamed:
            renamed[key] = _renamed(block, *numbers[kind])
        scans, patients, order = renamed[key]
        return replace(
            block, scan_ids=scans, patient_ids=patients, truth=block.truth[order], scores=block.scores[order]
        )

    return replace(table, blocks=tuple(map(rename, table.blocks)))


def anonymous_members(table: MembershipScores, cohort: Cohort) -> MembershipScores:
    """Return what attacks on a target's membership found, with numbers for names, and nothing else of a scan.

    The numbers are the cohort's, so that audits number a scan alike whichever scans they ask about. Their order is
    another than that of the attributes' tables.
    """
    known = {name: frozenset(cohort.manifest[f"{name}_id"].astype(str)) for name in ("scan", "patient")}
    scans, patients = (_numbers(names, f"{cohort.meta.digest} membership {name}") for name, names in known.items())
    order = np.argsort([scans[name] for name in table.scan_ids.tolist()], kind="stable")
    unsaid = np.full(len(order), "")
    return replace(
        table,
        scan_ids=np.array([scans[name] for name in table.scan_ids[order].tolist()], np.str_),
        patient_ids=np.array([patients[name] for name in table.patient_ids[order].tolist()], np.str_),
        sites=unsaid,
        classes=unsaid,
        models=unsaid,
        members=table.members[order],
        signals=table.signals[order],
        scores={attack: scores[order] for attack, scores in table.scores.items()},
        vulnerability=np.empty(0, np.float64),
    )


def _kind(block: ScoreBlock) -> tuple[str, str]:
    return block.attack.attribute, block.attack.scans


def _renamed(block: ScoreBlock, of_scans: dict[str, str], of_patients: dict[str, str]) -> Renamed:
    """Return the numbers of a block's scans and patients, and the order of the former."""
    scans = np.array([of_scans[name] for name in block.scan_ids.tolist()])
    patients = np.array([of_patients[name] for name in block.patient_ids.tolist()])
    order = np.argsort(scans, kind="stable")
    return scans[order], patients[order], order


@functools.lru_cache(maxsize=32)  # the tables of an audit name the same scans
def _numbers(names: frozenset[str], salt: str) -> dict[str, str]:
    """Return a number for each name, in the order of their salted digests."""
    ranked = sorted(sorted(names), key=lambda name: digest_json([salt, name]))
    return {name: f"{i:06d}" for i, name in enumerate(ranked)}
