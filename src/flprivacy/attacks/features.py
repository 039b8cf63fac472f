"""What a model answers for a scan, computed once per model, scan and view and shared by every attack.

One forward pass yields both accesses: the trunk's features and, from them, the head's class probabilities.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from flprivacy.attacks.cache import Arrays, ChunkedCache, fill
from flprivacy.cohorts.format import read_volumes
from flprivacy.cohorts.preprocessing import test_view, train_view, view_keys
from flprivacy.core.array_types import Float32Array, IntArray
from flprivacy.core.cohort import Cohort
from flprivacy.core.digests import digest_json
from flprivacy.core.errors import AttackError
from flprivacy.core.progress import progress

if TYPE_CHECKING:
    from flprivacy.models.registry import TargetModel

Forward = Callable[[Float32Array], Arrays]

TEST_VIEW = -1  # number of the view that is scored
SMALLEST_PROBABILITY = 1e-7
LEAST_SPREAD = 1e-5  # of features over scans, relative to their size; float32 rounds at 1e-7
_REMEDY = "state the values and the order of axes that it takes (input_range, axes), or give another file"
_REPEATS = 4
_FORMAT = 1


@dataclass(frozen=True, kw_only=True, eq=False)
class Views:
    """The views of a cohort's scans that an attack needs."""

    cohort: Cohort
    protocol: str
    exposed: IntArray  # (scan,) rows needed in training views 0 .. views - 1
    scored: IntArray  # (scan,) rows that are scored, needed in the test view
    views: int

    def parts(self) -> list[tuple[int, IntArray]]:
        """Return (view, rows) of every part of the work."""
        return [*((view, self.exposed) for view in range(self.views)), (TEST_VIEW, self.scored)]

    def load(self, view: int, rows: IntArray) -> Float32Array:
        """Return the network inputs (scan, depth, height, width, 1) of ``rows`` in a view."""
        volumes = read_volumes(self.cohort, rows)
        if view == TEST_VIEW:
            return test_view(volumes, protocol=self.protocol)
        return train_view(volumes, protocol=self.protocol, view=view, keys=view_keys(self.cohort, rows))


@dataclass(frozen=True, kw_only=True, eq=False)
class Extraction:
    """What was extracted for one model: name -> (view, exposed scan, k) and name -> (scored scan, k)."""

    exposed: Arrays
    scored: Arrays


def extract(
    forward: Callable[[], Forward], source: str, views: Views, *, batch_size: int, work: Path, description: str
) -> Extraction:
    """Return the answers for every part of ``views``, from the cache in ``work`` as far as it goes.

    ``forward`` makes the function from inputs to named arrays (scan, k), and is called only if something is missing;
    ``source`` names all that this function depends on, such as the digest of a model's weights.
    """
    caches = {view: ChunkedCache(work / "features" / _key(source, views, view)) for view, _ in views.parts()}
    missing = {view: caches[view].missing(rows) for view, rows in views.parts()}
    total, left = (sum(map(len, parts)) for parts in (dict(views.parts()).values(), missing.values()))
    if left:
        compute = forward()
        with progress(description, total) as counter:
            counter.resume(total - left)
            for view, rows in missing.items():
                load = functools.partial(views.load, view)
                fill(caches[view], rows, batch_size=batch_size, load=load, forward=compute, counter=counter)
    exposed = [caches[view].read(views.exposed) for view in range(views.views)]
    return Extraction(
        exposed={name: np.stack([one[name] for one in exposed]) for name in exposed[0]},
        scored=caches[TEST_VIEW].read(views.scored),
    )


def looked_up(recorded: Callable[[IntArray], Arrays], views: Views) -> Extraction:
    """Return the recorded answers of a model for the plain view of every scan."""
    exposed = {name: values[None] for name, values in recorded(views.exposed).items()}
    return Extraction(exposed=exposed, scored=recorded(views.scored))


def check_answers(found: Extraction, whose: str) -> None:
    """Refuse answers that tell nothing of any scan: a model that sees other values than in training is not cleared.

    Nor does a baseline of fresh weights that is mute say anything of the targets beside it.

    Raises:
        AttackError: some are no numbers, or the features are the same for every scan.
    """
    for name, values in found.scored.items():
        check_finite({name: values}, whose)
        check_finite({name: found.exposed[name]}, whose)
        spread, size = values.std(axis=0, dtype=np.float64).max(), np.abs(values).max()
        if name == "features" and not spread > LEAST_SPREAD * size:
            raise AttackError(
                f"{whose}: its features are the same for every scan (they vary by {spread:.1e} around {size:.1e}), so "
                f"nothing can be said of what it gives away; {_REMEDY}"
            )


def check_finite(answers: Arrays, whose: str) -> None:
    """Refuse answers, by name, some of which are no numbers, with an AttackError."""
    for name, values in answers.items():
        if not np.isfinite(values).all():
            raise AttackError(f"{whose}: its {name} of some scans are no numbers; {_REMEDY}")


def _key(source: str, views: Views, view: int) -> str:
    return digest_json([_FORMAT, source, views.cohort.meta.digest, views.protocol, view])[:32]


def model_forward(model: "TargetModel") -> Forward:
    """Return the function from inputs to ``features`` (scan, feature) and ``outputs`` (scan, class), if it has any.

    The function follows later changes of the model's weights.
    """
    import keras  # slow to import, and attacks on pixels do without

    features = model.trunk.output
    outputs = model.probabilities if model.head is None else model.head(features)
    answers = {"features": features} | ({} if outputs is None else {"outputs": outputs})
    both = keras.Model(model.trunk.input, answers)
    both.compile(jit_compile=False)  # XLA takes long to compile 3D convolutions and gains little

    def forward(inputs: Float32Array) -> Arrays:
        answers = both.predict_on_batch(inputs)
        return {name: np.asarray(values, dtype=np.float32) for name, values in answers.items()}

    return forward


def answer_features(probabilities: Float32Array) -> Float32Array:
    """Return what an attacker with access to the ``outputs`` learns from: (..., class) -> (..., 8 * class).

    Log-probabilities (those below 1e-7 raised to it) and their negatives, repeated: a head's dropout takes half of its
    inputs and its ReLU half of each one's range, which three columns cannot spare.
    """
    logs = np.log(np.maximum(probabilities, np.float32(SMALLEST_PROBABILITY)))
    return np.concatenate([logs, -logs] * _REPEATS, axis=-1)
