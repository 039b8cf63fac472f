"""Compile every pipeline into ``pipelines/compiled``, or check that the committed files are in step.

Usage: python -m pipelines.compile [--check | --into FOLDER]

With FLPRIVACY_QUEUES=1 in the environment the pods ask Kueue's queues for admission; with FLPRIVACY_CACHE_CLAIM=NAME they
mount that PersistentVolumeClaim as the cache that they share. Such pipelines go into a folder of their own, which
FLPRIVACY_PIPELINES then names to ``flprivacy submit``.
"""

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml
from kfp import compiler

from pipelines import COMPILED
from pipelines.cluster import CLAIM_VARIABLE, QUEUES_VARIABLE
from pipelines.dp_check import dp_check
from pipelines.privacy_audit import privacy_audit
from pipelines.re_audit import re_audit
from pipelines.study import study
from pipelines.train_generator import train_generator

PIPELINES = {
    "study": study,
    "privacy_audit": privacy_audit,
    "re_audit": re_audit,
    "train_generator": train_generator,
    "dp_check": dp_check,
}


def normalised(path: Path) -> list[Any]:
    """Return the YAML documents of a compiled pipeline without the SDK's version."""
    documents = list(yaml.load_all(path.read_text(), Loader=yaml.CSafeLoader))  # the plain loader takes seconds
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


def compile_into(folder: Path) -> None:
    """Compile every pipeline into a folder, a file each."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in PIPELINES:
        compiler.Compiler().compile(PIPELINES[name], str(folder / f"{name}.yaml"))


def main() -> int:
    """Compile, or with ``--check`` compare; return the exit code."""
    words = sys.argv[1:]
    if words == ["--check"]:
        names = stale()
        for name in names:
            sys.stderr.write(f"pipelines/compiled/{name}.yaml is not in step with its source; run 'make compile'\n")
        return 1 if names else 0
    if words[:1] == ["--into"] and len(words) == 2:
        compile_into(Path(words[1]))
        return 0
    chosen = [name for name in (QUEUES_VARIABLE, CLAIM_VARIABLE) if os.environ.get(name)]
    if words or chosen:
        wrong = " ".join(words) or f"{chosen[0]} without --into"
        sys.stderr.write(f"{wrong}: not understood; usage: python -m pipelines.compile [--check | --into FOLDER]\n")
        return 2
    compile_into(COMPILED)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
