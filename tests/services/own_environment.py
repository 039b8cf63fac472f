"""The machine's own credentials and endpoints, which may reach no test and no benchmark."""

import os

_PREFIXES = ("AWS_", "FLPRIVACY_STORAGE_", "STORAGE_EMULATOR_HOST", "GOOGLE_", "CLOUDSDK_")


def foreign_variables() -> list[str]:
    """Return the names of the variables that name credentials or endpoints."""
    return [name for name in os.environ if name.startswith(_PREFIXES)]


def forget_foreign_variables() -> None:
    """Remove them from the environment of this process and its children, and leave no metadata server either."""
    for name in foreign_variables():
        del os.environ[name]
    os.environ |= {
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
