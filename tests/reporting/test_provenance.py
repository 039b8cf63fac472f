"""Provenance: whatever a run recorded is shown, in full."""

import yaml
from example_audit import example_audit

from flprivacy.reporting.provenance import as_yaml, entries, flat


def test_facts_commands_and_groups_are_told_apart() -> None:
    found = entries({"started": "today", "versions": {"keras": "3"}, "command": "flprivacy audit", "dirty": False})
    assert [(e.title, e.rows, e.code) for e in found] == [
        ("Run", (("started", "today"), ("dirty", "no")), ""),
        ("Command", (), "flprivacy audit"),
        ("Versions", (("keras", "3"),), ""),
    ]


def test_commands_may_be_words_lines_or_named() -> None:
    words, lines, named = entries(
        {
            "command": ["flprivacy", "audit", "--out", "a"],
            "commands": ["make audit", "make ui"],
            "commands_by_step": {"audit": "flprivacy audit"},
        }
    )
    assert words.code == "flprivacy audit --out a"
    assert lines.code == "make audit\nmake ui"
    assert named.code == "# audit\nflprivacy audit"


def test_nested_facts_are_flattened_in_full() -> None:
    assert flat({"a": {"b_c": [1, 2], "d": None}, "e": [{"f": True}]}) == (
        ("a.b c", "1, 2"),
        ("a.d", "not known"),
        ("e[0].f", "yes"),
    )


def test_empty_groups_are_left_out() -> None:
    assert entries({"versions": {}, "seeds": []}) == ()
    assert entries({}) == ()


def test_configuration_survives_yaml() -> None:
    config = example_audit(n_sites=3, attributes=("site",)).config
    assert yaml.safe_load(as_yaml(config)) == config
    assert yaml.safe_load(as_yaml({"edges": (1.0, 2.0)})) == {"edges": [1.0, 2.0]}
