"""Compile every pipeline into ``pipelines/compiled``, or check that the committed files are in step.

Usage: python -m pipelines.compile [--check]
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml
from kfp import compiler

from pipelines.dp_check import dp_check
from pipelines.privacy_audit import privacy_audit
from pipelines.study import study

PIPELINES = {"study": study, "privacy_audit": privacy_audit, "dp_check": dp_check}
COMPILED = Path(__file__).parent / "compiled"


def normalised(path: Path) -> list[Any]:
    """Return the YAML documents of a compiled pipeline without the SDK's version."""
    documents = list(yaml.safe_load_all(path.read_text()))
    documents[0].pop("sdkVersion", None)
    return documents


def stale() -> list[str]:
    """Return the names of the pipelines whose committed file differs from its source."""
    names = []
    with tempfile.TemporaryDirectory() as folder:
        for name, pipeline in PIPELINES.items():
            fresh, committed = Path(folder) / f"{name}.yaml", COMPILED / f"{name}.yaml"
            compiler.Compiler().compile(pipeline, str(fresh))
            if not committed.exists() or normalised(fresh) != normalised(committed):
                names.append(name)
    return names


def main() -> int:
    """Compile, or with ``--check`` compare; return the exit code."""
    if "--check" in sys.argv[1:]:
        names = stale()
        for name in names:
            sys.stderr.write(f"pipelines/compiled/{name}.yaml is not in step with its source; run 'make compile'\n")
        return 1 if names else 0
    for name, pipeline in PIPELINES.items():
        compiler.Compiler().compile(pipeline, str(COMPILED / f"{name}.yaml"))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
