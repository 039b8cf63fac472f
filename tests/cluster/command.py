"""The command line, as a fixture gives it to the tests."""

from collections.abc import Callable

from click.testing import Result

Command = Callable[..., Result]
