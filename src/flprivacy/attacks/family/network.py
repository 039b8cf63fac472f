"""The reference study's network as one more learner: the heads of all attributes of one attacker seed.

It is trained once for every fold besides the training that counts, which costs many times what the others do.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from flprivacy.attacks.config import LearnerConfig
from flprivacy.attacks.family.problem import FOLDS, Answers, Problem
from flprivacy.attacks.heads import Head
from flprivacy.attacks.learner import train_heads
from flprivacy.attacks.samples import Sample
from flprivacy.core.array_types import BoolArray, Float32Array, FloatArray

NAME = "network"
_LEAST = 1e-12  # probability


def network_answers(
    exposed: Float32Array,
    held_out: Float32Array,
    heads: Sequence[Head],
    problems: Sequence[tuple[Problem, BoolArray]],
    *,
    seed: int,
    config: LearnerConfig | None,
) -> list[Mapping[str, Answers]]:
    """Return for each attribute what the network says, by its name; nothing where it does not compete.

    Args:
        exposed: (view, exposed scan, feature).
        held_out: (held-out scan, feature).
        heads: the attributes.
        problems: of each, what is known and of which exposed scans.
        seed: of the attacker.
        config: how it is trained; None: it does not compete.
    """
    if config is None:
        return [{} for _ in heads]
    scans = exposed.shape[1]
    values, folds = np.full((len(heads), scans), np.nan), np.full((len(heads), scans), -1)
    for a, (problem, known) in enumerate(problems):
        values[a, known], folds[a, known] = problem.values, problem.folds
    sample = Sample.of(heads, values, seed=seed)
    asked = np.concatenate([held_out, exposed.mean(axis=0)])
    answers = np.zeros((len(heads), scans, max(head.width for head in heads)))
    for fold in range(FOLDS):
        weights = np.where(folds == fold, np.float32(0.0), sample.weights)
        said = train_heads(exposed, asked, dataclasses.replace(sample, weights=weights), config).scores
        answers = np.where((folds == fold)[..., None], said[:, len(held_out) :], answers)
    final = train_heads(exposed, held_out, sample, config).scores
    return [
        {NAME: Answers(left_out=_said(problem, answers[a][known])[None], held_out=_said(problem, final[a])[None])}
        for a, (problem, known) in enumerate(problems)
    ]


def _said(problem: Problem, scores: npt.NDArray[np.floating]) -> FloatArray:
    """Return evidence of class probabilities, or years."""
    own = np.asarray(scores[:, : max(problem.n_classes, 1)], dtype=np.float64)
    return np.log(np.maximum(own, _LEAST)) - problem.log_prior if problem.n_classes else own
