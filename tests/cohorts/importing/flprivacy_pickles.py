"""Files in the reference study's layout."""

import pickle
from pathlib import Path

import numpy as np
import numpy.typing as npt


def volumes(site: int, scans: int, shape: tuple[int, int, int] = (6, 5, 3)) -> npt.NDArray[np.uint8]:
    """(scan, height, width, depth, 1)."""
    return np.random.default_rng(site).integers(0, 256, (scans, *shape, 1), dtype=np.uint8)


def write_pickles(folder: Path, sites: int = 3, scans: int = 4, protocol: int = 4) -> None:
    """Write train and test files of every site."""
    folder.mkdir(parents=True, exist_ok=True)
    for site in range(sites):
        for offset, split in ((0, "train"), (100, "test")):
            data = {
                f"c{site}_x": volumes(site + offset, scans + site),
                f"c{site}_y": np.arange(scans + site, dtype=np.int64) % 3,
            }
            with (folder / f"CovidData2022_cohort{site}{split}.npy").open("wb") as stream:
                pickle.dump(data, stream, protocol=protocol)
