"""How objects are moved is read from the environment; secrets never are."""

import dataclasses

import pytest

from flprivacy.core.errors import ConfigError
from flprivacy.storage.config import RetryConfig, StorageConfig


def test_defaults() -> None:
    assert StorageConfig.from_environment({}) == StorageConfig()


def test_every_field_has_its_variable() -> None:
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
        "gs_anonymous": ("true", True),
    }
    retry = {"attempts": ("2", 2), "first_delay_seconds": ("0", 0.0), "longest_delay_seconds": ("9", 9.0)}
    retry |= {"deadline_seconds": ("30", 30.0)}
    names = {f.name for f in dataclasses.fields(StorageConfig)} - {"retry"}
    assert names == set(changed)
    assert {f.name for f in dataclasses.fields(RetryConfig)} == set(retry)
    environment = {f"FLPRIVACY_STORAGE_{name.upper()}": text for name, (text, _) in (changed | retry).items()}
    config = StorageConfig.from_environment(environment)
    for name, (_, value) in changed.items():
        assert getattr(config, name) == value
    for name, (_, value) in retry.items():
        assert getattr(config.retry, name) == value


def test_the_sdks_variables_count_too() -> None:
    found = {"AWS_ENDPOINT_URL": "http://all", "AWS_ENDPOINT_URL_S3": "http://s3", "AWS_DEFAULT_REGION": "x"}
    config = StorageConfig.from_environment(found)
    assert (config.s3_endpoint, config.s3_region) == ("http://s3", "x")
    assert StorageConfig.from_environment(found | {"AWS_REGION": "y"}).s3_region == "y"


def test_no_field_could_hold_a_secret() -> None:
    names = [f.name for f in dataclasses.fields(StorageConfig)]
    assert not [n for n in names if any(word in n for word in ("secret", "key", "token", "password", "credential"))]


@pytest.mark.parametrize(
    ("name", "text"),
    [("THREADS", "many"), ("THREADS", "0"), ("S3_ANONYMOUS", "perhaps"), ("S3_ADDRESSING", "dns"), ("ATTEMPTS", "0")],
)
def test_a_wrong_value_is_named(name: str, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        StorageConfig.from_environment({f"FLPRIVACY_STORAGE_{name}": text})
    assert name.lower() in str(caught.value).lower()
    assert "\n" not in str(caught.value)
