"""The check that every configuration and argument goes through."""

from flprivacy.core.errors import ConfigError


def check(condition: bool, name: str, value: object, rule: str) -> None:
    """Raise ConfigError naming the field, the value received and the rule, unless ``condition`` holds."""
    if not condition:
        raise ConfigError(f"{name} is {value!r}; {rule}")
