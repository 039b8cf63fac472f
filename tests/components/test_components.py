"""Components are thin: one function each, named as its folder, only kfp imported at the top, a page of its own."""

import ast
from pathlib import Path

import pytest

COMPONENTS = Path(__file__).parents[2] / "components"
FOLDERS = sorted(p.parent for p in COMPONENTS.glob("*/component.py"))
ALLOWED = {"typing", "kfp", "components.images"}


def _tree(folder: Path) -> ast.Module:
    return ast.parse((folder / "component.py").read_text())


def test_there_are_components() -> None:
    assert len(FOLDERS) >= 10


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda p: p.name)
def test_the_top_imports_only_kfp_and_the_standard_library(folder: Path) -> None:
    for node in _tree(folder).body:
        if isinstance(node, ast.ImportFrom):
            assert node.module in ALLOWED
        assert not isinstance(node, ast.Import)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda p: p.name)
def test_it_holds_one_short_function_of_its_folders_name(folder: Path) -> None:
    functions = [n for n in _tree(folder).body if isinstance(n, ast.FunctionDef)]
    assert [f.name for f in functions] == [folder.name]
    body = functions[0].body[1:]
    assert (body[-1].end_lineno or 0) - body[0].lineno < 30


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda p: p.name)
def test_every_argument_is_documented(folder: Path) -> None:
    function = next(n for n in _tree(folder).body if isinstance(n, ast.FunctionDef))
    doc = ast.get_docstring(function) or ""
    for argument in function.args.args:
        assert f"{argument.arg}:" in doc, argument.arg


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda p: p.name)
def test_its_readme_is_in_step(folder: Path) -> None:
    from components.readme import page

    assert (folder / "README.md").read_text() == page(folder)
