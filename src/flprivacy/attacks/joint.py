"""Attackers who hold more than one thing: the scan beside the model, or all models of a target.

What holding the model adds for someone who holds the scan: answers from pixels and answers from the model, fused by
weights learnt on the exposed scans (:mod:`flprivacy.attacks.family.fusion`), against pixels alone and against pixels
fused likewise with fresh weights. Joining the columns instead would lose to columns of noise what a leak might gain.
"""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from flprivacy.attacks.answering import answer, answer_jointly
from flprivacy.attacks.baselines import ACCESS, DIGEST, pixel_attack
from flprivacy.attacks.frozen import FrozenAttack, seen_by
from flprivacy.attacks.results import Finished, Job, Outcome, Source
from flprivacy.core.array_types import Float32Array
from flprivacy.core.digests import digest_json
from flprivacy.core.vocabulary import JOINT, TOGETHER

ALL = "all"  # name of all models of a target as one


class JointAttack:
    """Attacks from pixels and model jointly, on every model of a target."""

    def __init__(self, frozen: FrozenAttack, accesses: Sequence[str], *, work: Path, pixels: Path | None) -> None:
        """Prepare attacks that fuse what ``frozen`` answers from ``accesses`` with answers from pixels.

        The latter are found in the folder ``pixels``, as far as they are there, and made in ``work`` otherwise.
        """
        self._frozen, self._accesses = frozen, accesses
        self._pixels = pixel_attack(frozen.scenario, work=work / "pixels", results=pixels)

    def run(self) -> list[Finished]:
        """Run what is missing and return everything, by model, fraction and seed."""
        scenario, store = self._frozen.scenario, self._frozen.store
        jobs = [Job(_with_pixels(source), JOINT, one) for source in self._frozen.sources for one in scenario.exposures]
        parts: list[Finished] = []
        pixels: list[Finished] = []
        if any(store.lacks(scenario, job) for job in jobs):
            parts, pixels = self._frozen.run(self._accesses), self._pixels.run([ACCESS])

        def attack(job: Job, on_step: Callable[[], None]) -> Outcome:
            beside = [one for one in pixels if one.exposure is job.exposure]
            own = [one for one in parts if one.exposure is job.exposure and one.model == job.source.model]
            answers = [list(one.answers.values()) for one in (*beside, *own)]
            on_step()
            return Outcome(answer_jointly(answers, job.exposure.known), np.empty((len(scenario.labels), 0)))

        return store.complete(scenario, jobs, attack, description=f"pixels and {self._frozen.target} jointly", steps=1)


def _with_pixels(source: Source) -> Source:
    return dataclasses.replace(source, digest=digest_json([source.digest, DIGEST]))


class TogetherAttack:
    """The attack from what all models of a target answer at once."""

    def __init__(self, frozen: FrozenAttack, access: str) -> None:
        """Prepare the attack on ``access`` of all of ``frozen``'s sources."""
        self._frozen, self._access = frozen, access
        self._seen: tuple[Float32Array, Float32Array] | None = None

    def run(self) -> list[Finished]:
        """Run what is missing and return everything, by fraction and seed."""
        frozen = self._frozen
        digest = digest_json([source.digest for source in frozen.sources])
        source = Source(model=ALL, digest=digest, forward=frozen.sources[0].forward)
        jobs = [Job(source, TOGETHER, one) for one in frozen.scenario.exposures]
        return frozen.store.complete(
            frozen.scenario, jobs, self._attack, description=f"all models of {frozen.target} together", steps=1
        )

    def _attack(self, job: Job, on_step: Callable[[], None]) -> Outcome:
        frozen, exposure = self._frozen, job.exposure
        exposed, scored = self._seen = self._seen or self._collected()
        rows = np.searchsorted(frozen.views.exposed, exposure.rows)
        answers = answer(exposed[:, rows], scored, exposure.known)
        on_step()
        return Outcome(answers, np.empty((len(frozen.scenario.labels), 0)))

    def _collected(self) -> tuple[Float32Array, Float32Array]:
        """Return what all models show: (view, exposed scan, column) and (scored scan, column)."""
        found = [self._frozen.extraction(source) for source in self._frozen.sources]
        exposed, scored = (
            np.concatenate([seen_by(self._access, arrays) for arrays in parts], axis=-1)
            for parts in ([one.exposed for one in found], [one.scored for one in found])
        )
        return exposed, scored


def as_together(done: Sequence[Finished]) -> list[Finished]:
    """Return attacks on the features of fresh or public weights as what attacks on several models are held against.

    A network's features are more numbers than the answers of some dozen models: what any numbers of a scan tell.
    """
    return [dataclasses.replace(one, access=TOGETHER) for one in done]
