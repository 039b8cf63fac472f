"""The reference study's files: ``CovidData2022_cohort<i>{train,test}.npy``, one pickle a site and split.

Each holds ``c<i>_x``, uint8 (scan, height, width, depth, 1), and ``c<i>_y``, the disease class of each scan. They name
no patients, sexes or ages: every scan counts as a patient of its own, and scans of one person may be in both splits.
"""

import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from flprivacy.cohorts.importing.array_pickle import StoredArray, read_array_pickle
from flprivacy.cohorts.importing.config import ImportConfig
from flprivacy.cohorts.importing.found import Candidate, Found, Reading
from flprivacy.cohorts.importing.stack import MAX_EDGE
from flprivacy.core.digests import digest_json
from flprivacy.core.errors import CohortError, ConfigError

PICKLES = "reference-pickles"
_NAME = re.compile(r"CovidData2022_cohort(?P<site>\d{1,4})(?P<split>train|test)\.npy")
_MAX_SCANS, _MAX_CLASSES = 1_000_000, 1000


def find_pickles(folder: Path, *, config: ImportConfig) -> Found:
    """List the scans of a folder of the reference study's pickles.

    Args:
        folder: holds the files; others in it are left alone.
        config: settings. ``shape`` None keeps the files'; any other must equal it.

    Raises:
        CohortError: there is no such file, one is damaged or holds anything but arrays, or shapes differ.
        ConfigError: the shape asked for is not the files', or there are more classes than names.
    """
    try:
        found = [(match, path) for path in folder.iterdir() if (match := _NAME.fullmatch(path.name))]
    except OSError as error:
        raise CohortError(f"{folder}: cannot be read ({error.strerror}); give the pickles' folder") from error
    if not found:
        raise CohortError(f"{folder}: holds no CovidData2022_cohort<i>train.npy or ...test.npy; give their folder")
    found.sort(key=lambda entry: (int(entry[0]["site"]), entry[0]["split"] == "test"))
    parts = [(int(match["site"]), match["split"], *_arrays(path, match["site"])) for match, path in found]
    shapes = {_shape(x) for _, _, x, _ in parts}
    if len(shapes) > 1:
        raise CohortError(f"{folder}: volumes of shapes {sorted(shapes)}; import files of one shape at a time")
    shape = shapes.pop()
    if config.shape not in (None, shape):
        raise ConfigError(
            f"shape is {config.shape}; the reference study's volumes are taken as they are, {shape}: leave it out"
        )
    n_classes = 1 + max(int(labels.max()) for *_, labels in parts)
    if config.classes and len(config.classes) < n_classes:
        raise ConfigError(f"classes are {len(config.classes)}; the files have {n_classes}: name each, in order")
    names = config.classes or tuple(f"class-{number}" for number in range(n_classes))
    candidates = [
        _candidate(site, split, scan, x, names[int(label)])
        for site, split, x, labels in parts
        for scan, label in enumerate(labels.tolist())
    ]
    return Found(
        source=PICKLES,
        shape=shape,
        candidates=tuple(candidates),
        left_out=(),
        counts={"files": len(found)},
        class_names=names,
        notes=(
            "patients are not named in these files: each scan counts as a patient of its own",
            "the files do not say which intensities 0 and 255 stand for: window_hu is as given",
        ),
    )


def _arrays(path: Path, site: str) -> tuple[StoredArray, npt.NDArray[np.int64]]:
    """Return the scans and the class of each."""
    arrays = read_array_pickle(path)
    if set(arrays) != {f"c{site}_x", f"c{site}_y"}:
        raise CohortError(f"{path}: holds {len(arrays)} arrays of other names than c{site}_x and c{site}_y; restore it")
    x, y = arrays[f"c{site}_x"], arrays[f"c{site}_y"]
    plain = x.dtype == np.uint8 and (len(x.shape) == 4 or (len(x.shape) == 5 and x.shape[4] == 1))
    if not plain or max(x.shape[1:4]) > MAX_EDGE or x.shape[0] > _MAX_SCANS:
        raise CohortError(
            f"{path}: c{site}_x is {x.dtype} {x.shape}, not uint8 (scan, height, width, depth, 1); restore it"
        )
    return x, _labels(y, x.shape[0], path)


def _labels(stored: StoredArray, scans: int, path: Path) -> npt.NDArray[np.int64]:
    """Return (scan,) class numbers, from numbers or from one column a class."""
    columns = stored.shape[1] if len(stored.shape) == 2 else 1
    if stored.shape[0] != scans or len(stored.shape) > 2 or columns > _MAX_CLASSES:
        raise CohortError(f"{path}: {stored.shape} labels for {scans} scans; restore the file")
    values: npt.NDArray[Any] = stored.map()
    numbers = np.argmax(values, axis=1) if columns > 1 else values.reshape(scans)
    if not np.isfinite(numbers.astype(np.float64)).all() or (numbers % 1 != 0).any():
        raise CohortError(f"{path}: labels are not whole numbers; restore the file")
    if numbers.min() < 0 or numbers.max() >= _MAX_CLASSES:
        raise CohortError(f"{path}: labels are not between 0 and {_MAX_CLASSES - 1}; restore the file")
    return numbers.astype(np.int64)


def _shape(x: StoredArray) -> tuple[int, int, int]:
    """Return (depth, height, width)."""
    height, width, depth = x.shape[1:4]
    return depth, height, width


def _candidate(site: int, split: str, scan: int, x: StoredArray, label: str) -> Candidate:
    name = f"{site:02d}-{split}-{scan:05d}"
    return Candidate(
        scan_id=f"s-{name}",
        patient_id=f"p-{name}",
        site=f"site-{site:02d}",
        label=label,
        sex=None,
        age_years=None,
        split=split,
        work=digest_json([str(x.path), x.path.stat().st_size, x.path.stat().st_mtime_ns, name])[:32],
        read=partial(_read, x, scan),
        slices=x.shape[3],
    )


def _read(x: StoredArray, scan: int) -> Reading:
    stored = x.map()[scan]
    plane = stored[..., 0] if stored.ndim == 4 else stored
    return Reading(np.ascontiguousarray(plane.transpose(2, 0, 1)))  # (height, width, depth) -> (depth, height, width)
