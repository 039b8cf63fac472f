"""What each component imports when it runs, and a script that imports it all."""

import ast
from pathlib import Path

from components.images import AUDIT_IMAGE, TRAIN_IMAGE

COMPONENTS = Path(__file__).parents[2] / "components"
_IMAGES = {"AUDIT_IMAGE": AUDIT_IMAGE, "TRAIN_IMAGE": TRAIN_IMAGE}


def _image(function: ast.FunctionDef) -> str:
    calls = [d for d in function.decorator_list if isinstance(d, ast.Call)]
    return next(_IMAGES[ast.unparse(k.value)] for call in calls for k in call.keywords if k.arg == "base_image")


def _steps() -> dict[str, tuple[str, list[str]]]:
    """Return each component's image and the import statements inside its function."""
    found = {}
    for file in sorted(COMPONENTS.glob("*/component.py")):
        tree = ast.parse(file.read_text())
        function = next(node for node in tree.body if isinstance(node, ast.FunctionDef))
        inside = [ast.unparse(n) for n in ast.walk(function) if isinstance(n, ast.Import | ast.ImportFrom)]
        found[function.name] = (_image(function), inside)
    return found


STEPS = _steps()


def import_steps_script(image: str | None) -> str:
    """Return Python that imports what the components of an image import; None: of every image."""
    lines = [line for found, inside in STEPS.values() if image in (None, found) for line in inside]
    return "\n".join(["", "import kfp.dsl.executor_main", *dict.fromkeys(lines), ""])
