"""Write each component's README from its signature and docstring.

Usage: python -m components.readme
"""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parent


def page(folder: Path) -> str:
    """Return the README of a component's folder, as Markdown."""
    tree = ast.parse((folder / "component.py").read_text())
    function = next(n for n in tree.body if isinstance(n, ast.FunctionDef))
    doc = ast.get_docstring(function) or ""
    summary, described, returns = _parse(doc)
    image = next(
        ast.unparse(k.value)
        for d in function.decorator_list
        if isinstance(d, ast.Call)
        for k in d.keywords
        if k.arg == "base_image"
    )
    lines = [f"# {function.name}", "", summary, "", f"Image: `{image}` of `components/images.py`.", ""]
    lines += ["| name | type | default | what it is |", "|---|---|---|---|"]
    arguments = function.args.args
    defaults = [None] * (len(arguments) - len(function.args.defaults)) + list(function.args.defaults)
    for argument, default in zip(arguments, defaults, strict=True):
        kind = ast.unparse(argument.annotation) if argument.annotation else ""
        shown = "" if default is None else f"`{ast.unparse(default)}`"
        lines.append(
            f"| `{argument.arg}` | `{kind.replace('dsl.', '')}` | {shown} | {described.get(argument.arg, '')} |"
        )
    if returns:
        lines += ["", f"Returns: {returns}"]
    lines += ["", "The work is done by `flprivacy.steps`; this folder only wraps it for Kubeflow Pipelines.", ""]
    return "\n".join(lines)


def _parse(doc: str) -> tuple[str, dict[str, str], str]:
    head, _, rest = doc.partition("\nArgs:\n")
    arguments, _, returns = rest.partition("\nReturns:\n")
    described = {}
    for match in re.finditer(r"^    (\w+): (.*(?:\n        .*)*)", arguments, flags=re.MULTILINE):
        described[match.group(1)] = " ".join(match.group(2).split())
    return " ".join(head.split()), described, " ".join(returns.split())


def main() -> None:
    """Write every README."""
    for file in sorted(ROOT.glob("*/component.py")):
        (file.parent / "README.md").write_text(page(file.parent))


if __name__ == "__main__":
    main()
