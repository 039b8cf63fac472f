"""What a generator makes as it learns: middle slices by class and site, as a picture."""

from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt

from flprivacy.core.checkpoint_events import announce
from flprivacy.core.png import png_bytes
from flprivacy.core.publish import publish_file
from flprivacy.synthesis.conditions import Categories, Conditions
from flprivacy.synthesis.sample import scans

Image = npt.NDArray[np.uint8]

_MOST_CLASSES, _MOST_SITES, _SEED = 6, 8, 0


def write_picture(path: Path, network: keras.Model, known: Categories) -> None:
    """Write middle slices of a generator's scans, the same noise in every picture: a row a class, a column a site.

    Nothing but the generator enters it, so that it may be shown to whoever may have the generator.

    Raises:
        StorageError: the file cannot be written.
    """
    of = dict(zip(known.names, known.counts, strict=True))
    classes, sites = min(of.get("label", 1), _MOST_CLASSES), min(of.get("site", _MOST_SITES), _MOST_SITES)
    label, site = np.divmod(np.arange(classes * sites), sites)
    unknown = np.zeros(len(label), dtype=np.int64)
    asked = Conditions(site=site, label=label, sex=unknown, age_band=unknown)
    made = scans(network, known.encode(asked), seed=_SEED)
    with publish_file(path) as partial:
        partial.write_bytes(png_bytes(tiled(made[:, made.shape[1] // 2], sites)))
    announce(path)


def tiled(images: Image, columns: int) -> Image:
    """Lay images (n, height, width) side by side, in rows of so many; n is a multiple of it."""
    n, height, width = images.shape
    rows = images.reshape(n // columns, columns, height, width)
    return rows.transpose(0, 2, 1, 3).reshape(n // columns * height, columns * width)
