"""A run's targets are dealt to the pods that share them."""

import pytest

from flprivacy.core.errors import ConfigError
from flprivacy.core.parts import RESERVED, WITHOUT_MODEL, check_target_name, deal, names_of


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


@pytest.mark.parametrize("name", ["a", "Central v1.2", "federated-iid_2", "модель", "x" * 100])
def test_what_a_target_may_be_called_comes_out_of_a_part_as_it_was(name: str) -> None:
    check_target_name(name)
    assert names_of(deal(["other", name, "a b"], 1)[0]) == ("other", name, "a b")


@pytest.mark.parametrize(
    "name",
    ["", "a, b", "a,b", "../a", "a/b", ".a", "a@patients-1", "a@b", WITHOUT_MODEL, "a ", "x" * 101, "a\n", *RESERVED],
)
def test_what_would_be_taken_for_others_or_leads_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"^target name is "):
        check_target_name(name)
