"""The age of a patient and the time of a slice, from the tags that may tell them."""

import math
import re
from collections.abc import Callable

from flprivacy.cohorts.importing.persons import age_of

_OLDEST_YEARS, _NO_BIRTHDAY = 100, "19000101"  # what anonymisers write
_TIME = re.compile(r"(\d\d):?(\d\d):?(\d\d(?:\.\d+)?)")
_DATES = ("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate")


def age_of_tags(text_of: Callable[[str], str]) -> tuple[float | None, bool]:
    """Return the age in years, from PatientAge, else from the dates of birth and study; and if it is a placeholder.

    ``text_of`` gives the text of a tag by its keyword, empty where there is none.
    """
    text = text_of("PatientAge")
    years = age_of(text, oldest=math.inf) or math.nan  # 000Y is no age
    bare = text.isdigit()  # of what unit is not said; the dates are better
    if not (math.isnan(years) or (bare and _day(text_of, "PatientBirthDate"))):
        return (None, True) if years >= _OLDEST_YEARS else (years, False)
    born, studied = _day(text_of, "PatientBirthDate"), _day(text_of, *_DATES)
    if not (born and studied):
        return None, False
    whole = int(studied[:4]) - int(born[:4]) - (studied[4:] < born[4:])
    if born == _NO_BIRTHDAY or whole >= _OLDEST_YEARS:
        return None, True
    return (float(whole) if whole > 0 else None), False


def _day(text_of: Callable[[str], str], *keywords: str) -> str:
    """Return the first of these dates that there is, as YYYYMMDD; files of old write YYYY.MM.DD."""
    found = (text_of(keyword).replace(".", "").replace("-", "") for keyword in keywords)
    return next((day for day in found if len(day) == 8 and day.isdigit()), "")


def seconds_of(text: str) -> float:
    """Return the seconds of the day that a DICOM time tells, or NaN."""
    told = _TIME.fullmatch(text)
    return math.nan if told is None else int(told[1]) * 3600.0 + int(told[2]) * 60.0 + float(told[3])
