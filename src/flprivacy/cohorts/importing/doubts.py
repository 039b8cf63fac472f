"""What a person should look at before believing an import: contradictions, identical scans, and values of no one."""

import hashlib
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from flprivacy.cohorts.importing.found import Candidate
from flprivacy.cohorts.importing.persons import spelling

_AGES_APART_YEARS = 10.0  # between two scans of one person
_FEW_PATIENTS = {"age_years": 3, "sex": 5}  # fewer may be the same by chance
_SHOWN = 5
_TWINS = (
    "identical scans in training and held out as well; leave all but one out",
    "identical scans of several patients",
    "identical scans",
)


def contradictions(scans: Sequence[Candidate]) -> tuple[str, ...]:
    """Note patients whose scans disagree on sex, or on age by more than ten years; they may be several people."""
    sexes: dict[str, set[str]] = defaultdict(set)
    ages: dict[str, set[float]] = defaultdict(set)
    for scan in scans:
        if scan.sex is not None:
            sexes[scan.patient_id].add(scan.sex)
        if scan.age_years is not None:
            ages[scan.patient_id].add(scan.age_years)
    both = [patient for patient, found in sexes.items() if len(found) > 1]
    apart = [patient for patient, found in ages.items() if max(found) - min(found) > _AGES_APART_YEARS]
    return _noted("patients with scans of both sexes, so perhaps several people", both) + _noted(
        f"patients whose ages differ by more than {_AGES_APART_YEARS:g} years, so perhaps several people", apart
    )


def alike(scans: Sequence[Candidate]) -> list[list[Candidate]]:
    """Return the groups of scans of several patients whose ids differ only in case, blanks or leading zeros."""
    groups = defaultdict(list)
    for scan in scans:
        groups[scan.person].append(scan)
    return [group for name, group in groups.items() if name and len({scan.patient_id for scan in group}) > 1]


def spellings(scans: Sequence[Candidate]) -> tuple[str, ...]:
    """Note patients, sites and classes whose names differ only in how they are written; they may be one."""
    names = [" = ".join(sorted({scan.patient_id for scan in group})) for group in alike(scans)]
    notes = _noted("patient ids that differ only in case, blanks or leading zeros, so perhaps of one person", names)
    return notes + _names_alike("sites", scans, "site") + _names_alike("classes", scans, "label")


def _names_alike(what: str, scans: Sequence[Candidate], name: str) -> tuple[str, ...]:
    groups: dict[str, set[str]] = defaultdict(set)
    for scan in scans:
        written = getattr(scan, name)
        groups[spelling(unicodedata.normalize("NFKC", written))].add(written)
    several = [" = ".join(map(repr, sorted(group))) for group in groups.values() if len(group) > 1]
    return _noted(f"{what} whose names differ only in case, blanks or leading zeros, so perhaps one", several)


def constants(scans: Sequence[Candidate]) -> tuple[str, ...]:
    """Note cohorts, or else sites, where all patients have one age or sex, which an anonymiser may have written."""
    sites = {f"site {site}": [scan for scan in scans if scan.site == site] for site in sorted({s.site for s in scans})}
    notes = []
    for name in ("age_years", "sex"):
        whole = _constant("cohort", scans, name)
        notes += [whole] if whole else [note for site, here in sites.items() if (note := _constant(site, here, name))]
    return tuple(notes)


def _constant(where: str, scans: Sequence[Candidate], name: str) -> str:
    values = {getattr(scan, name) for scan in scans}
    patients = len({scan.patient_id for scan in scans})
    if patients < _FEW_PATIENTS[name] or len(values) > 1 or None in values:
        return ""
    (value,) = values
    shown = f"age {value:g}" if name == "age_years" else f"sex {value}"
    return f"{where}: all {patients} patients have {shown}; is it a placeholder?"


def twins(scans: Sequence[Candidate], work: Path) -> list[list[Candidate]]:
    """Return the groups of scans whose kept volumes hold the same bytes."""
    groups = defaultdict(list)
    for scan in scans:
        groups[hashlib.sha256((work / scan.work).read_bytes()).digest()].append(scan)
    return [group for group in groups.values() if len(group) > 1]


def twin_notes(groups: Sequence[Sequence[Candidate]], splits: Mapping[str, str]) -> tuple[str, ...]:
    """Note identical scans: those in both ``splits`` (scan -> split), those of several patients, and plain copies."""
    kinds: dict[str, list[str]] = {kind: [] for kind in _TWINS}
    for group in groups:
        torn = len({splits[scan.scan_id] for scan in group}) > 1
        several = len({scan.patient_id for scan in group}) > 1
        kinds[_TWINS[0 if torn else 1 if several else 2]] += [scan.scan_id for scan in group]
    return tuple(note for kind, scans in kinds.items() for note in _noted(kind, scans))


def people(groups: Iterable[Sequence[Candidate]]) -> dict[str, str]:
    """Return patient -> the patient who stands for all that may be the same."""
    joined: dict[str, str] = {}

    def head(patient: str) -> str:
        while (above := joined.setdefault(patient, patient)) != patient:
            patient = above
        return patient

    for first, *others in groups:
        for other in others:
            low, high = sorted((head(first.patient_id), head(other.patient_id)))
            joined[high] = low
    return {patient: head(patient) for patient in list(joined)}


def _noted(what: str, names: Sequence[str]) -> tuple[str, ...]:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return (f"{what}: {', '.join(names[:_SHOWN])}{more}",) if names else ()
