"""What the steps of the audit image import: no kfp, and TensorFlow only for foreign weights files."""

import subprocess
import sys
from pathlib import Path

from components.pattern import AUDIT_IMAGE
from tests.images.step_imports import import_steps_script

_BLOCK = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("tensorflow", "keras", "jax", "torch", "kfp"):
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


def test_steps_of_the_audit_image_start_without_tensorflow_and_kfp() -> None:
    script = _BLOCK + import_steps_script(AUDIT_IMAGE) + _FOREIGN
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=root)
    assert done.returncode == 0, done.stderr[-1500:]
    assert done.stdout.strip() == "blocked: keras"
