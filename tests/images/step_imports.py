"""The steps that each image runs, and a script that imports them."""

from importlib import import_module
from pathlib import Path

_COMPONENTS = Path(__file__).parents[2] / "components"


def _image(name: str) -> str:
    component = getattr(import_module(f"components.{name}.component"), name)
    return str(component.component_spec.implementation.container.image)


IMAGES = {name: _image(name) for name in sorted(p.parent.name for p in _COMPONENTS.glob("*/component.py"))}


def import_steps_script(image: str | None) -> str:
    """Return Python that imports the steps of an image, as its containers do; None: of every image."""
    names = [name for name, found in IMAGES.items() if image in (None, found)]
    return "\n".join(["", "import flprivacy.steps.__main__", *(f"import flprivacy.steps.{name}" for name in names), ""])
