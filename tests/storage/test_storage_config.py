"""How objects are moved is read from the environment; secrets never are."""

import dataclasses

import pytest

from flprivacy.core.errors import ConfigError
from flprivacy.core.retry import RetryConfig
from flprivacy.storage.config import StorageConfig
from tests.services.own_environment import foreign_variables


@pytest.fixture(autouse=True)
def nothing_set(clean_environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in foreign_variables():
        monkeypatch.delenv(name)


def test_every_field_has_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    assert StorageConfig.from_environment() == StorageConfig()
    changed = {
        "threads": ("3", 3),
        "part_bytes": ("65536", 65536),
        "read_bytes": ("131072", 131072),
        "connect_timeout_seconds": ("2.5", 2.5),
        "read_timeout_seconds": ("7", 7.0),
        "s3_endpoint": ("http://host:9", "http://host:9"),
        "s3_region": ("eu-north-1", "eu-north-1"),
        "s3_addressing": ("virtual", "virtual"),
        "s3_anonymous": ("1", True),
        "s3_requester_pays": ("1", True),
        "gs_anonymous": ("true", True),
        "gs_user_project": ("billed", "billed"),
    }
    retry = {"attempts": ("2", 2), "first_delay_seconds": ("0", 0.0), "longest_delay_seconds": ("9", 9.0)}
    retry |= {"deadline_seconds": ("30", 30.0), "attempts_before_first_contact": ("3", 3)}
    assert {f.name for f in dataclasses.fields(StorageConfig)} - {"retry"} == set(changed)
    assert {f.name for f in dataclasses.fields(RetryConfig)} == set(retry)
    for name, (text, _) in (changed | retry).items():
        monkeypatch.setenv(f"FLPRIVACY_STORAGE_{name.upper()}", text)
    config = StorageConfig.from_environment()
    assert {name: getattr(config, name) for name in changed} == {name: value for name, (_, value) in changed.items()}
    assert dataclasses.asdict(config.retry) == {name: value for name, (_, value) in retry.items()}


def test_the_sdks_variables_count_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://all")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://s3")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "x")
    config = StorageConfig.from_environment()
    assert (config.s3_endpoint, config.s3_region) == ("http://s3", "x")
    monkeypatch.setenv("AWS_REGION", "y")
    assert StorageConfig.from_environment().s3_region == "y"


def test_no_field_could_hold_a_secret() -> None:
    names = [f.name for f in dataclasses.fields(StorageConfig)]
    assert not [n for n in names if any(word in n for word in ("secret", "key", "token", "password", "credential"))]


@pytest.mark.parametrize(
    ("name", "text"),
    [("THREADS", "many"), ("THREADS", "0"), ("S3_ANONYMOUS", "perhaps"), ("S3_ADDRESSING", "dns"), ("ATTEMPTS", "0")],
)
def test_a_wrong_value_is_named(name: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"FLPRIVACY_STORAGE_{name}", text)
    with pytest.raises(ConfigError) as caught:
        StorageConfig.from_environment()
    assert name.lower() in str(caught.value).lower()
    assert "\n" not in str(caught.value)
