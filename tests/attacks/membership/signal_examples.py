"""Signals of a target and of references whose distribution is known."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Signals:
    """(query, scan) and (reference, query, scan) signals, the references' members, and the target's."""

    target: np.ndarray
    references: np.ndarray
    members: np.ndarray
    inside: np.ndarray


def draw(seed, *, scans, references=8, queries=1, gain=1.5, difficulty=2.0, noise=1.0):
    """Draw signals: each scan has its own level, which training on it raises by ``gain``.

    Reference 2 i is trained on a random half of the scans, reference 2 i + 1 on the other half.
    """
    rng = np.random.default_rng(seed)
    level = difficulty * rng.normal(size=(queries, scans))
    halves = np.array([rng.permutation(scans) < scans // 2 for _ in range(references // 2)])
    members = np.stack([halves, ~halves], axis=1).reshape(references, scans)
    inside = rng.random(scans) < 0.5

    def model(trained):
        return level + gain * trained + noise * rng.normal(size=(queries, scans))

    return Signals(
        target=model(inside),
        references=np.stack([model(trained) for trained in members]),
        members=members,
        inside=inside,
    )
