"""Write each component's README from its signature and the docstring of its step, and of all steps.

Usage: python -m components.readme
"""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parent
STEPS = ROOT.parent / "src" / "flprivacy" / "steps"
_FIGURES = "figures of what the step returns, for Kubeflow's UI"  # artifacts that are metadata only


def page(folder: Path) -> str:
    """Return the README of a component's folder, as Markdown."""
    name = folder.name
    component, step = _function(folder / "component.py", name), _function(STEPS / f"{name}.py", name)
    shared = ast.get_docstring(ast.parse((STEPS / "__init__.py").read_text())) or ""
    summary, own, returns = _parse((ast.get_docstring(step) or "").replace("``", "`"))
    described = _parse(shared)[1] | own
    image = next(ast.unparse(d.args[0]) for d in component.decorator_list if isinstance(d, ast.Call))
    lines = [f"# {name}", "", summary, "", f"Image: `{image}` of `components/pattern.py`.", ""]
    lines += ["| name | type | default | description |", "|---|---|---|---|"]
    arguments = component.args.args
    defaults = [None] * (len(arguments) - len(component.args.defaults)) + list(component.args.defaults)
    for argument, default in zip(arguments, defaults, strict=True):
        kind = ast.unparse(argument.annotation) if argument.annotation else ""
        shown = "" if default is None else f"`{ast.unparse(default)}`"
        text = described.get(argument.arg, _FIGURES).rstrip(".")
        lines.append(f"| `{argument.arg}` | `{kind.replace('dsl.', '')}` | {shown} | {text[:1].upper()}{text[1:]}. |")
    if returns:
        lines += ["", f"Returns: {returns}"]
    lines += ["", f"The step is `flprivacy.steps.{name}`; this page is written from its docstring.", ""]
    return "\n".join(lines)


def _function(file: Path, name: str) -> ast.FunctionDef:
    functions = (node for node in ast.parse(file.read_text()).body if isinstance(node, ast.FunctionDef))
    return next(node for node in functions if node.name == name)


def _parse(doc: str) -> tuple[str, dict[str, str], str]:
    """Return the summary, the descriptions of the arguments, and that of what is returned."""
    head, *sections = re.split(r"^(Args|Returns|Raises):\n", doc, flags=re.MULTILINE)
    found = dict(zip(sections[::2], sections[1::2], strict=True))
    described = {
        match.group(1): " ".join(match.group(2).split())
        for match in re.finditer(r"^    (\w+): (.*(?:\n        .*)*)", found.get("Args", ""), flags=re.MULTILINE)
    }
    return " ".join(head.split()), described, " ".join(found.get("Returns", "").split())


def main() -> None:
    """Write every README."""
    for file in sorted(ROOT.glob("*/component.py")):
        (file.parent / "README.md").write_text(page(file.parent))


if __name__ == "__main__":
    main()
