"""The report's figures as files, for MLflow and for whoever writes about an audit."""

from pathlib import Path

from flprivacy.core.audit import Audit
from flprivacy.core.progress import track
from flprivacy.reporting.figures import plates

_DOTS_PER_INCH = 120


def write_figures(audit: Audit, folder: Path) -> None:
    """Write every figure that the audit has data for into a folder, as ``<name>.png``."""
    folder.mkdir(parents=True, exist_ok=True)
    for plate in track(plates(audit), "drawing figures"):
        figure = plate.draw()
        figure.savefig(folder / f"{plate.name}.png", dpi=_DOTS_PER_INCH, metadata={"Software": None})
