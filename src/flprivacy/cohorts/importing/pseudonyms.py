"""Keyed pseudonyms: the same person gets the same one, and nobody without the key can tell whose it is.

A plain hash of a patient id is no pseudonym: ids are short, so all of them can be tried. HMAC-SHA256 with a secret
key of the hospital's cannot be tried without the key. The key comes from the environment or a secret file, is never
written, and is best kept where the clinical data are: it turns an id into its pseudonym again whenever somebody
withdraws consent.
"""

import hashlib
import hmac
import os
from pathlib import Path

from flprivacy.core.errors import ConfigError

KEY_VARIABLE = "FLPRIVACY_PSEUDONYM_KEY"
_MIN_CHARACTERS, _MAX_BYTES = 32, 4096
_REMEDY = "make one with `openssl rand -hex 32`, keep it outside of the cohort, and use it for every import"
_DIGITS = 32  # 128 bits: no two of any number of patients collide


class Pseudonyms:
    """Derives pseudonyms with one key. Its text form does not show the key.

    Args:
        key: at least 32 characters, best random ones.

    Raises:
        ConfigError: the key is shorter.
    """

    def __init__(self, key: str) -> None:
        if len(key) < _MIN_CHARACTERS:
            raise ConfigError(f"the pseudonym key has {len(key)} characters, fewer than {_MIN_CHARACTERS}; {_REMEDY}")
        self._key = key.encode()

    def __repr__(self) -> str:
        return "Pseudonyms(key=...)"

    def patient(self, identifier: str, site: str = "") -> str:
        """Return the pseudonym of a patient id; ``site`` only where ids are unique within a site only."""
        return "p-" + self._derive("patient", identifier, site)

    def scan(self, identifier: str) -> str:
        """Return the pseudonym of a scan: of its series UID, or of its file's path below the source folder."""
        return "s-" + self._derive("scan", identifier)

    def site(self, value: str) -> str:
        """Return the pseudonym of a tag's value that tells sites apart."""
        return "site-" + self._derive("site", value)[:12]

    def work(self, *parts: str) -> str:
        """Return a name for what is kept between an interrupted import and its repetition."""
        return self._derive("work", *parts)

    def _derive(self, kind: str, *parts: str) -> str:
        # Lengths keep ("ab", "c") and ("a", "bc") apart.
        text = "".join(f"{len(part)}:{part}" for part in (kind, *parts))
        data = text.encode("utf-8", "surrogatepass")
        return hmac.new(self._key, data, hashlib.sha256).hexdigest()[:_DIGITS]


def read_key(key_file: Path | None = None) -> str:
    """Return the key from a secret file, or from the environment variable FLPRIVACY_PSEUDONYM_KEY.

    Raises:
        ConfigError: there is no key, or the file cannot be read as text. Never shows the key.
    """
    if key_file is None:
        key = os.environ.get(KEY_VARIABLE, "").strip()
        if not key:
            raise ConfigError(f"no pseudonym key: set {KEY_VARIABLE} or give --key-file; {_REMEDY}")
        return key
    try:
        with key_file.open("rb") as stream:
            data = stream.read(_MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{key_file}: the key cannot be read ({error.strerror}); check its name") from error
    try:
        if len(data) > _MAX_BYTES:
            raise ValueError
        return data.decode().strip()
    except ValueError:
        raise ConfigError(f"{key_file}: not a key of at most {_MAX_BYTES} bytes of text; {_REMEDY}") from None
