"""Ages, sexes and patient ids as people and programs write them."""

import math

import pytest

from flprivacy.cohorts.importing.persons import age_of, age_unit, is_placeholder, means_sex, sex_of, spelling


@pytest.mark.parametrize(
    ("text", "years"),
    [
        ("63", 63.0), ("063Y", 63.0), ("63,5", 63.5), ("45 yo", 45.0), ("45 y.o.", 45.0), ("45 Jahre", 45.0),
        ("45 ans", 45.0), ("45 years old", 45.0), ("6 months", 0.5), ("006M", 0.5), ("90+", 90.0), ("90Y+", 90.0),
        (">89", 90.0), ("#N/A", None), ("", None), ("n.a.", None),
    ],
)  # fmt: skip
def test_ages(text: str, years: float | None) -> None:
    found = age_of(text)
    assert found is not None
    assert math.isnan(found) if years is None else found == years


@pytest.mark.parametrize("text", ["-1", "999", "40-49", "60s", "01.02.1960", "Y045", "old"])
def test_what_is_no_age_is_not_guessed(text: str) -> None:
    assert age_of(text) is None


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("age", "y"), ("Age (years)", "y"), ("age_at_scan", "y"), ("PatientAge", "y"), ("Patient's Age", "y"),
        ("age_years", "y"), ("age_in_months", "m"), ("Age [months]", "m"), ("Alter", "y"), ("Âge", "y"),
        ("stage", ""), ("image", ""), ("age_group", ""), ("page", ""),
    ],
)  # fmt: skip
def test_columns_that_tell_an_age_and_its_unit(name: str, unit: str) -> None:
    assert age_unit(name) == unit


def test_a_unit_of_a_column_is_that_of_its_bare_numbers() -> None:
    assert age_of("720", "m") == 60.0
    assert age_of("60 y", "m") == 60.0


def test_sexes_in_words_and_what_is_not_told() -> None:
    assert [sex_of(word) for word in ("F", "Female", "weiblich", "W", "femme")] == ["F"] * 5
    assert [sex_of(word) for word in ("m ", "MALE", "männlich", "homme", "hombre")] == ["M"] * 5
    assert [sex_of(word) for word in ("", "O", "divers", "N/A", "unknown")] == [""] * 5
    assert [sex_of(word) for word in ("0", "1", "2", "h")] == [None] * 4
    assert means_sex("geschlecht")
    assert not means_sex("sextant")


def test_ids_that_are_written_in_several_ways() -> None:
    assert len({spelling(text) for text in ("0012", "12", " 12 ", "12.0")}) == 1
    assert spelling("Ab 1") == spelling("aB1")
    assert spelling("12") != spelling("120")
    assert spelling("1.20") != spelling("1.2")
    assert spelling("000") != ""


def test_ids_that_anonymisers_write() -> None:
    assert all(is_placeholder(text) for text in ("ANON", "Anonymous", "0000", "unknown", "XXXX", "DE-IDENTIFIED"))
    assert not any(is_placeholder(text) for text in ("100", "Anna-7", "LIDC-IDRI-0001", "X1"))
