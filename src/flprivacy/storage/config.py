"""How objects are moved: read from the environment, never holding a secret.

Credentials, and with them profiles, roles and tokens, stay with the SDKs' own chains (boto3's and google-auth's).
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from flprivacy.core.errors import ConfigError, check
from flprivacy.core.retry import RetryConfig, patience_seconds, patient

ADDRESSING = ("auto", "path", "virtual")
_PREFIX = "FLPRIVACY_STORAGE_"


@dataclass(frozen=True, kw_only=True)
class StorageConfig:
    """How objects are moved."""

    threads: int = 10  # requests at a time
    part_bytes: int = 8 << 20  # of a part of an upload, and of a file that is fetched whole
    read_bytes: int = 32 << 20  # of neighbouring volumes that one request asks for, unless a single volume is larger
    retry: RetryConfig = field(default_factory=RetryConfig)  # how long failing requests are tried again
    connect_timeout_seconds: float = 10.0
    read_timeout_seconds: float = 60.0  # for the next bytes of an answer
    s3_endpoint: str = ""  # URL of a server other than Amazon's; empty: what the SDK finds in its own configuration
    s3_region: str = ""  # empty: what the SDK finds, else, where the server is not Amazon's, ``us-east-1``
    s3_addressing: str = "auto"  # ``path``, ``virtual`` or ``auto``: by path unless the server is Amazon's
    s3_anonymous: bool = False  # read public buckets without credentials
    gs_anonymous: bool = False  # likewise for Google Cloud Storage
    gs_user_project: str = ""  # Google project that pays for reading from buckets whose owners do not
    s3_requester_pays: bool = False  # agree to pay for reading from buckets whose owners do not

    def __post_init__(self) -> None:
        check(1 <= self.threads <= 64, "threads", self.threads, "must be between 1 and 64")
        for name in ("part_bytes", "read_bytes"):
            fits = 1 << 10 <= getattr(self, name) <= 64 << 20
            check(fits, name, getattr(self, name), "must be between 1 KiB and 64 MiB")
        for name in ("connect_timeout_seconds", "read_timeout_seconds"):
            check(getattr(self, name) > 0.0, name, getattr(self, name), "must be positive")
        known = f"must be one of {', '.join(ADDRESSING)}"
        check(self.s3_addressing in ADDRESSING, "s3_addressing", self.s3_addressing, known)

    @classmethod
    def from_environment(cls) -> "StorageConfig":
        """Read ``FLPRIVACY_STORAGE_<FIELD>`` for every field, ``AWS_ENDPOINT_URL``, ``AWS_REGION`` and the like.

        In a pod what fails is tried again for minutes (:func:`~flprivacy.core.retry.patience_seconds`).

        ConfigError names a variable whose value is of the wrong type or range.
        """
        found = os.environ
        values = {
            "s3_endpoint": found.get("AWS_ENDPOINT_URL_S3") or found.get("AWS_ENDPOINT_URL") or "",
            "s3_region": found.get("AWS_REGION") or found.get("AWS_DEFAULT_REGION") or "",
        }
        seconds = patience_seconds()
        retry = replace(patient(seconds) if seconds else RetryConfig(), **_read(RetryConfig, found))
        return cls(**values | _read(cls, found), retry=retry)


def _boolean(text: str) -> bool:
    words = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
    return words[text.strip().lower()]


_KINDS: dict[Any, tuple[Callable[[str], Any], str]] = {
    str: (str, "text"),
    int: (int, "a whole number"),
    float: (float, "a number of seconds"),
    bool: (_boolean, "true or false"),
}


def _read(config: Any, environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the fields of a configuration that have a variable."""
    values = {}
    for one in fields(config):
        variable = f"{_PREFIX}{one.name.upper()}"
        text = environment.get(variable, "")
        if text and one.type in _KINDS:
            convert, kind = _KINDS[one.type]
            try:
                values[one.name] = convert(text)
            except (ValueError, KeyError) as error:
                raise ConfigError(f"{variable} is {text!r}; give {kind}") from error
    return values
