"""Pseudonyms depend on the key and the identifier alone, and the key stays secret."""

import hashlib
import hmac
import re
from pathlib import Path

import pytest

from flprivacy.cohorts.importing.pseudonyms import KEY_VARIABLE, Pseudonyms, read_key
from flprivacy.core.errors import ConfigError

KEY = "0123456789abcdef" * 2


def test_a_pseudonym_is_an_hmac_that_the_hospital_can_make_again() -> None:
    expected = hmac.new(KEY.encode(), b"7:patient5:A-17x0:", hashlib.sha256).hexdigest()[:32]
    assert Pseudonyms(KEY).patient("A-17x") == "p-" + expected


def test_pseudonyms_differ_by_key_kind_identifier_and_site() -> None:
    one, two = Pseudonyms(KEY), Pseudonyms(KEY[::-1])
    made = [one.patient("a"), one.patient("b"), one.patient("a", "B"), two.patient("a"), one.scan("a"), one.site("a")]
    made += [one.patient("ab", "c"), one.patient("a", "bc")]
    assert len(set(made)) == len(made)
    assert one.patient("a") == Pseudonyms(KEY).patient("a")
    assert all(re.fullmatch(r"(p-|s-|site-)[0-9a-f]+", name) for name in made)
    assert one.patient("\udcff")


def test_the_key_comes_from_the_file_or_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    with pytest.raises(ConfigError, match=KEY_VARIABLE):
        read_key()
    monkeypatch.setenv(KEY_VARIABLE, KEY + "\n")
    assert read_key() == KEY
    (tmp_path / "key").write_text(f"  {KEY[::-1]}\n")
    assert read_key(tmp_path / "key") == KEY[::-1]


def test_bad_keys_are_refused_and_not_shown(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        Pseudonyms("short-secret")
    assert "short-secret" not in str(caught.value)
    for data in (b"\xff\xfe", b"x" * 5000):
        (tmp_path / "key").write_bytes(data)
        with pytest.raises(ConfigError, match="not a key"):
            read_key(tmp_path / "key")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_key(tmp_path / "absent")
    assert KEY not in repr(Pseudonyms(KEY))
