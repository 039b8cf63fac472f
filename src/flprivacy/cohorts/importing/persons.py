"""Ages, sexes and patient ids as people and programs write them."""

import math
import re

MAX_AGE_YEARS = 130.0
_FEMALE = (
    "f f. female w woman weiblich frau femme féminin femenino femenina mujer feminino femminile femmina donna "
    "vrouw kvinna 女"
)
_MALE = "m m. male man männlich mann homme masculin masculino hombre maschile maschio uomo 男"
_UNKNOWN = "o other u unknown d divers x - ? . 0000 nan none null na n/a n.a. #n/a missing unbekannt inconnu"
_SEXES = {
    "": "",
    **dict.fromkeys(_FEMALE.split(), "F"),
    **dict.fromkeys(_MALE.split(), "M"),
    **dict.fromkeys(_UNKNOWN.split(), ""),
}
_SEX_NAMES = "sex gender patientsex patient_sex biological_sex sex_at_birth geschlecht sexe sexo sesso"
_NO_AGE = "nan none null na n/a n.a. #n/a unknown missing unbekannt ? - ."
# A column's name: age, age_years, Age (months), age_at_scan, PatientAge ...
_AGE_NAME = re.compile(
    r"(?:patient_?)?(?:age|alter|âge|edad|età|idade)(?:_?(?:at|in)_(?:the_)?(?:scan|study|exam|imaging|ct))?"
    r"(?:_?(?:in_)?[(\[]?(y|yrs?|years?|m|months?|w|weeks?|d|days?|jahre)[)\]]?)?"
)
# 63, 63.5, 063Y as in DICOM, 6 months, 90+ or >89 as where high ages are not told
_AGE = re.compile(
    r"(>?)\s*(\d+(?:[.,]\d+)?)\s*(\+?)\s*"
    r"(y\.?o\.?|y|yrs?|years?(?: old)?|jahre?|ans?|años?|anos?|anni|m|mo|months?|w|weeks?|d|days?|)\s*\+?"
)
_PER_YEAR = {"m": 12.0, "w": 52.1775, "d": 365.2425}
_PLACEHOLDER = re.compile(r"anon\w*|0+|unknown|none|null|n/?a|removed|deleted|x{3,}|de-?identified|no[ _]?name")


def means_sex(name: str) -> bool:
    """Say whether a column of this name, in small letters with ``_``, tells the sex."""
    return name in _SEX_NAMES.split()


def age_unit(name: str) -> str:
    """Return the unit of ages in a column of this name: ``y``, ``m``, ``w`` or ``d``; empty if it tells no age."""
    told = _AGE_NAME.fullmatch(name.lower().replace("'s", "").replace(" ", "_"))
    return "" if told is None else {"j": "y"}.get((told[1] or "y")[0], (told[1] or "y")[0])


def sex_of(text: str) -> str | None:
    """Return ``F``, ``M``, an empty text where it is not known, or None where the text is not understood."""
    return _SEXES.get(text.strip().lower())


def age_of(text: str, unit: str = "y", *, oldest: float = MAX_AGE_YEARS) -> float | None:
    """Return an age in years, NaN where it is not known, or None where the text is not understood.

    ``oldest`` is the highest age that can be right; ``unit`` that of a bare number: ``y``, ``m``, ``w`` or ``d``.
    """
    text = text.strip().lower()
    if not text or text in _NO_AGE.split():
        return math.nan
    told = _AGE.fullmatch(text)
    if told is None:
        return None
    above, number, _, word = told.groups()
    age = float(number.replace(",", ".")) / _PER_YEAR.get((word or unit)[0], 1.0) + len(above)
    return age if age <= oldest else None


def is_placeholder(patient_id: str) -> bool:
    """Say whether a patient id is what anonymisers write into everybody's files."""
    return _PLACEHOLDER.fullmatch(patient_id.strip().lower()) is not None


def spelling(patient_id: str) -> str:
    """Return what is left of a patient id without case, blanks, leading zeros and a spreadsheet's ``.0``."""
    plain = re.sub(r"\s+", "", patient_id).lower()
    plain = re.sub(r"\.0+$", "", plain) if re.fullmatch(r"\d+\.0+", plain) else plain
    return plain.lstrip("0") or plain
