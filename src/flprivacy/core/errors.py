"""The exception tree.

.. code-block:: text

    FlprivacyError            anything that the user can mend; shown as one line, never as a traceback
    ├── ConfigError           a configuration field or preset is wrong
    ├── CohortError           a cohort folder is missing, damaged or contradicts itself
    ├── TargetError           a target's weights or target.json cannot be used
    ├── TrainingError         training cannot start or cannot go on
    ├── GeneratorError        a generator of synthetic scans cannot be used
    ├── AttackError           an attack has nothing to learn from or nothing to score
    ├── AuditError            score tables cannot be turned into honest numbers
    ├── StorageError          a folder or object cannot be read or written
    ├── TrackingError         the MLflow server cannot be reached or refuses
    └── PolicyError           the run was asked to fail on such a result

Every message names what is wrong (file or argument, and the value), the rule, and the remedy.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

EXIT_DEFECT, EXIT_REFUSED, EXIT_RUN_FAILED, EXIT_POLICY, EXIT_INTERRUPTED = 1, 2, 3, 4, 130


def ended_with(code: int) -> str:
    """Return how a step's last words end, by which its exit code is known where the backend replaced it."""
    return f"(exit code {code})"


class FlprivacyError(Exception):
    """Base of every error that a user can mend.

    Attributes:
        exit_code: with which a command or a step ends for it.
    """

    exit_code = EXIT_REFUSED


class ConfigError(FlprivacyError):
    """A configuration field or preset is wrong."""


class CohortError(FlprivacyError):
    """A cohort is missing, damaged or contradicts itself."""


class TargetError(FlprivacyError):
    """A target's weights or its ``target.json`` cannot be used."""


class TrainingError(FlprivacyError):
    """Training cannot start or cannot go on."""


class GeneratorError(FlprivacyError):
    """A generator's weights or its ``generator.json`` cannot be used."""


class AttackError(FlprivacyError):
    """An attack has nothing to learn from or nothing to score."""


class AuditError(FlprivacyError):
    """Score tables cannot be turned into honest numbers."""


class StorageError(FlprivacyError):
    """A folder or object cannot be read or written."""


class TrackingError(FlprivacyError):
    """The MLflow server cannot be reached or refuses."""


class PolicyError(FlprivacyError):
    """A result that the run was asked to fail on: a leak, a change for the worse, a contradicted claim."""

    exit_code = EXIT_POLICY


@contextmanager
def naming(shown: str, hidden: Path) -> Iterator[None]:
    """Let errors about a copy on this machine name the place that it came from."""
    try:
        yield
    except FlprivacyError as error:
        raise type(error)(str(error).replace(str(hidden), shown)) from error


def check(condition: bool, name: str, value: object, rule: str) -> None:
    """Raise ConfigError naming the field, the value received and the rule, unless ``condition`` holds."""
    if not condition:
        raise ConfigError(f"{name} is {value!r}; {rule}")
