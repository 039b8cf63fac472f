"""What reference models answer: for every scan of a cohort, and for each of its hospitals."""

import contextlib
import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from flprivacy.core.artifacts import REFERENCE_FILE
from flprivacy.core.errors import AttackError
from flprivacy.core.publish import publish_file
from flprivacy.core.vocabulary import PATIENTS

FloatArray = npt.NDArray[np.float64]
REFERENCE_STEP = "train_reference"  # which trains one, and as what its failure is told
_MARK = "@"  # in no target's name


@dataclass(frozen=True, kw_only=True)
class ReferenceJob:
    """A reference model to train.

    Attributes:
        target: of whose recipe; of several targets of one recipe, the first.
        index: its number, from 0.
        drawn: what it is trained on a random half of, ``patients`` or ``sites``.
    """

    target: str
    index: int
    drawn: str = PATIENTS

    @property
    def name(self) -> str:
        """The name that it has among a run's targets, such as ``central@patients-3``."""
        return f"{self.target}{_MARK}{self.drawn}-{self.index}"

    @classmethod
    def named(cls, name: str) -> "ReferenceJob | None":
        """Return the reference of a name; None if it is a target's."""
        target, mark, rest = name.partition(_MARK)
        drawn, _, index = rest.rpartition("-")
        return cls(target=target, index=int(index), drawn=drawn) if mark and target else None


@dataclass(frozen=True, kw_only=True, eq=False)
class ReferenceScores:
    """Answers of a reference: of models that were trained as a target's, on a random half of the patients or hospitals.

    Whoever holds it knows who was trained on, so it belongs to the auditors, like a target's private part.

    Attributes:
        recipe: digest of how it was trained (:func:`flprivacy.training.recipe.recipe_digest`).
        cohort_digest: of the cohort whose patients or hospitals were drawn from.
        index: its number; two that follow each other, an even one first, were trained on complementary halves.
        models: names of its models, as the target's.
        probabilities: (model, scan, class) for every row of the cohort, held-out scans too. Where each hospital
            has a model of its own, that one is asked about its scans, and others hold NaN.
        trained_on: (model, scan) bool; of half of the hospitals: whether it is a training scan of one that took part.
        drawn: what the half is of, ``patients`` or ``sites``.
    """

    recipe: str
    cohort_digest: str
    index: int
    models: tuple[str, ...]
    probabilities: npt.NDArray[np.float32]
    trained_on: npt.NDArray[np.bool_]
    drawn: str = PATIENTS

    def write(self, folder: Path) -> None:
        """Write them into a folder."""
        facts = {name: getattr(self, name) for name in ("recipe", "cohort_digest", "index", "models", "drawn")}
        with publish_file(folder / REFERENCE_FILE) as partial, partial.open("wb") as stream:
            np.savez_compressed(
                stream,
                facts=np.array(json.dumps(facts)),
                probabilities=self.probabilities,
                trained_on=self.trained_on,
            )

    @classmethod
    def read(cls, folder: Path) -> "ReferenceScores":
        """Read what :meth:`write` wrote.

        Raises:
            AttackError: the file is missing or damaged.
        """
        with _opened(folder) as archive:
            facts = json.loads(str(archive["facts"]))
            return cls(
                recipe=facts["recipe"],
                cohort_digest=facts["cohort_digest"],
                index=int(facts["index"]),
                models=tuple(facts["models"]),
                probabilities=archive["probabilities"],
                trained_on=archive["trained_on"],
                drawn=facts.get("drawn", PATIENTS),
            )


def reference_key(folder: Path) -> tuple[str, str, int]:
    """Return recipe, what was drawn, and number of a reference, without its answers.

    Raises:
        AttackError: the file is missing or damaged.
    """
    with _opened(folder) as archive:
        facts = json.loads(str(archive["facts"]))
        return facts["recipe"], facts.get("drawn", PATIENTS), int(facts["index"])


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[Any]:
    path = folder / REFERENCE_FILE
    try:
        with np.load(path, allow_pickle=False) as archive:
            yield archive
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise AttackError(f"{path}: no answers of a reference model ({error}); train it again") from error


@dataclass(frozen=True, kw_only=True, eq=False)
class SiteSignals:
    """Mean signals of hospitals, by each reference of one target.

    Attributes:
        target: its name.
        why_not: why it has none although they were asked for; empty where it has.
        sites: (site,) names.
        took_part: (reference, site) bool; references 2k and 2k + 1 were trained on complementary halves.
        contributed: (reference, site) of the scans that a hospital trains with where it takes part: the mean over its
            patients of the mean over their scans.
        held_out: (reference, site) of its other scans; NaN where it has none.
    """

    target: str
    why_not: str = ""
    sites: tuple[str, ...] = ()
    took_part: npt.NDArray[np.bool_] = field(default_factory=lambda: np.empty((0, 0), np.bool_))
    contributed: FloatArray = field(default_factory=lambda: np.empty((0, 0), np.float64))
    held_out: FloatArray = field(default_factory=lambda: np.empty((0, 0), np.float64))
