"""Does an installation do what it should? ``make conformance``, after each upgrade of it or of flprivacy.

Usage: python -m tests.conformance.run [--only NAME ...]. It makes some twenty small runs, one after another; what
it publishes lies below ``$FLPRIVACY_STORE/conformance-...``, which may be deleted afterwards.
"""

import argparse
import os
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from tests.conformance.cases import CASES, Case
from tests.conformance.installation import Installation, NotConformingError

NEEDS = {
    "KFP_ENDPOINT": "address of Kubeflow Pipelines' API, such as http://localhost:8080 after "
    "'kubectl -n kubeflow port-forward svc/ml-pipeline-ui 8080:80'",
    "FLPRIVACY_STORE": "s3:// or gs:// URI that the steps and, with your credentials, this machine may read and write",
}


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a case went."""

    case: str
    fits: bool
    seconds: float
    text: str


def run_cases(there: Installation, cases: Mapping[str, Case], screen: Console) -> list[Outcome]:
    """Run cases one after another, whatever becomes of the one before, and print a table at the end."""
    outcomes = []
    for name, case in cases.items():
        screen.print(f"… {name}", highlight=False)
        began = time.monotonic()
        try:
            text, fits = case(there), True
        except NotConformingError as error:
            text, fits = str(error), False
        except Exception as error:  # noqa: BLE001 - an installation may break in any way, and the other cases still tell
            text, fits = f"{type(error).__name__}: {error}", False
        outcomes.append(Outcome(case=name, fits=fits, seconds=time.monotonic() - began, text=text))
    table = Table(title=f"conformance of {os.environ.get('KFP_ENDPOINT', 'an installation')}", title_justify="left")
    for column in ("", "case", "seconds", "seen"):
        table.add_column(column, overflow="fold")
    for one in outcomes:
        table.add_row("✓" if one.fits else "✗", one.case, f"{one.seconds:.0f}", one.text)
    screen.print(table)
    return outcomes


def lacking() -> list[str]:
    """Return what a run needs and this environment does not have, a line each."""
    lines = [f"{name}: {text}" for name, text in NEEDS.items() if not os.environ.get(name)]
    if shutil.which("kubectl") is None:
        lines.append("kubectl: with access to the runs' namespace, for causes and for a pod to be lost")
    return lines


def main(words: Sequence[str] | None = None) -> int:
    """Run all cases, or those named; return 0 if all fit, 1 if any does not, 2 if something is lacking."""
    parser = argparse.ArgumentParser(prog="make conformance", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES), help="names of cases")
    asked = parser.parse_args(words)
    missing = lacking()
    if missing:
        sys.stderr.write("\n  ".join(["this runs flprivacy's pipelines on a cluster, and needs", *missing]) + "\n")
        return 2
    there = Installation(store="")
    there.store = f"{os.environ['FLPRIVACY_STORE'].rstrip('/')}/{there.name}"
    outcomes = run_cases(there, {name: CASES[name] for name in asked.only}, Console())
    shutil.rmtree(there.work, ignore_errors=True)
    return 0 if all(one.fits for one in outcomes) else 1


if __name__ == "__main__":
    raise SystemExit(main())
