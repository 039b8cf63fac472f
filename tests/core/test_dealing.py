"""A run's targets are dealt to the pods that share them."""

import pytest

from flprivacy.core.parts import deal, names_of


@pytest.mark.parametrize("most", [1, 2, 3, 8, 100])
def test_every_name_is_in_one_part_and_no_part_is_longer_than_another_by_two(most: int) -> None:
    names = [f"target-{number}" for number in range(23)]
    parts = [names_of(part) for part in deal(names, most)]
    assert sorted(name for part in parts for name in part) == sorted(names)
    assert len(parts) == min(most, 23)
    lengths = [len(part) for part in parts]
    assert max(lengths) - min(lengths) <= 1


def test_what_stands_first_begins_parts_of_its_own() -> None:
    assert deal(["slow", "slower", "a", "b", "c"], 2) == ["slow, a, c", "slower, b"]
