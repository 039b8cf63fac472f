"""The library that people import: light, documented, and every example of its page true."""

import dataclasses
import doctest
import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import flprivacy

PAGE = (Path(__file__).parents[1] / "docs" / "api.md").read_text()
NAMES = [name for name in flprivacy.__all__ if name != "__version__"]
FUNCTIONS = [name for name in NAMES if inspect.isfunction(getattr(flprivacy, name))]
HEAVY = ("scipy.stats", "tensorflow", "keras", "kfp", "mlflow", "boto3", "matplotlib", "pydicom")


def test_every_name_is_there_and_no_other() -> None:
    assert set(dir(flprivacy)) == set(flprivacy.__all__)
    assert {name: getattr(flprivacy, name).__name__ for name in NAMES} == {name: name for name in NAMES}
    assert set(flprivacy._HOME) == set(NAMES)
    with pytest.raises(AttributeError, match="no attribute 'audit_everything'"):
        flprivacy.audit_everything  # noqa: B018


def test_type_checkers_are_told_the_same_homes() -> None:
    told = re.findall(
        r"^    from flprivacy\.([\w.]+) import (\([^)]+\)|.+)$", inspect.getsource(flprivacy), flags=re.MULTILINE
    )
    assert {name: home for home, names in told for name in re.findall(r"\w+", names)} == flprivacy._HOME


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_says_what_it_takes_gives_and_refuses(name: str) -> None:
    value = getattr(flprivacy, name)
    text = inspect.getdoc(value) or ""
    if inspect.isfunction(value):
        for section in ("Args:", "Returns:", "Raises:"):
            assert section in text, section
        for parameter in inspect.signature(value).parameters.values():
            entry = rf"^    {parameter.name}: (.*?)(?=^    \w+: |^\w|\Z)"
            described = re.search(entry, text, flags=re.MULTILINE | re.DOTALL)
            assert described, parameter.name
            if "ArrayLike" in str(parameter.annotation):
                assert re.search(r"\(\w+[,)]|->", described[1]), f"{parameter.name}: its shape"
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            assert re.search(rf"^    {field.name}: ", text, flags=re.MULTILINE), field.name
    else:
        assert issubclass(value, Exception)
        assert text


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_is_on_the_page(name: str) -> None:
    assert re.search(rf"\bfp\.{name}\b|`{name}`", PAGE)


def test_the_examples_on_the_page_are_true() -> None:
    code = re.sub(r"^```.*$", "", PAGE, flags=re.MULTILINE)
    example = doctest.DocTestParser().get_doctest(code, {}, "docs/api.md", "docs/api.md", 0)
    assert len(example.examples) > 20
    assert doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(example).failed == 0


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_examples_in_docstrings_are_true(name: str) -> None:
    value = getattr(flprivacy, name)
    example = doctest.DocTestParser().get_doctest(inspect.getdoc(value) or "", {name: value}, name, None, 0)
    assert doctest.DocTestRunner().run(example).failed == 0


@pytest.mark.parametrize("name", ["", *FUNCTIONS])
def test_importing_is_light(name: str) -> None:
    """In a process of its own: seconds of processor, memory, and what was loaded."""
    code = (
        "import json, pathlib, sys, time\n"
        f"import flprivacy as fp; {f'fp.{name}' if name else ''}\n"
        "status = dict(line.split(':', 1) for line in pathlib.Path('/proc/self/status').read_text().splitlines())\n"
        "loaded = sorted(sys.modules)\n"
        "print(json.dumps([time.process_time(), int(status['VmHWM'].split()[0]) / 1024, loaded]))"
    )
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    seconds, megabytes, loaded = json.loads(ran.stdout)
    print(f"{name or 'flprivacy'}: {seconds:.2f} s of processor, {megabytes:.0f} MB")
    assert not set(HEAVY) & set(loaded)
    assert megabytes < 150
    if not name:
        assert seconds < 0.5
        assert "numpy" not in loaded
