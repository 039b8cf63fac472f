"""The report's figures: each a function from an :class:`~flprivacy.core.audit.Audit` to a matplotlib ``Figure``.

Nothing here touches pyplot's global state, and the same audit always draws the same bytes.
"""

from flprivacy.reporting.figures.confusion import confusion_matrix, confusion_overview
from flprivacy.reporting.figures.curves import attack_curves
from flprivacy.reporting.figures.embed import data_uri
from flprivacy.reporting.figures.forest import excess_forest
from flprivacy.reporting.figures.plates import Plate, plates, write_figures
from flprivacy.reporting.figures.scatter import age_scatter
from flprivacy.reporting.figures.utility import utility_leakage

__all__ = [
    "Plate",
    "age_scatter",
    "attack_curves",
    "confusion_matrix",
    "confusion_overview",
    "data_uri",
    "excess_forest",
    "plates",
    "utility_leakage",
    "write_figures",
]
