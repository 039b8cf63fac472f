"""What the steps of the audit image import: all of it without TensorFlow, but for foreign weights files."""

import subprocess
import sys
from pathlib import Path

from components.images import AUDIT_IMAGE
from tests.images.step_imports import STEPS, import_steps_script

_BLOCK = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("tensorflow", "keras", "jax", "torch"):
            raise ImportError("blocked: " + name)
sys.meta_path.insert(0, Block())
"""
# A step that converts a foreign weights file builds its network: that is why the audit image has TensorFlow.
_FOREIGN = """
try:
    import flprivacy.targets.importing
except ImportError as error:
    print(error)
"""


def test_every_component_names_what_it_imports() -> None:
    assert len(STEPS) >= 16
    assert all(any("flprivacy.steps" in line for line in lines) for _, lines in STEPS.values())


def test_steps_of_the_audit_image_start_without_tensorflow() -> None:
    script = _BLOCK + import_steps_script(AUDIT_IMAGE) + _FOREIGN
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=root)
    assert done.returncode == 0, done.stderr[-1500:]
    assert done.stdout.strip() == "blocked: keras"
