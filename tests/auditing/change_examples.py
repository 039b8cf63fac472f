"""Two audits of one target on simulated patients: attacked again, trained again, or made leakier."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from flprivacy.auditing.changes import adjusted, compare_with_before, judge_change
from flprivacy.auditing.config import AuditConfig
from flprivacy.core.attributes import AttackKey
from flprivacy.core.change import AttackChange
from flprivacy.core.scores import ScoreBlock, ScoreTable
from tests.auditing.simulation import FRACTION, Attacker, Draw, heavy_tailed

SEEDS = 5


@dataclass(frozen=True, kw_only=True)
class Again:
    """How a target is audited twice.

    Attributes:
        before: attacks on the previous model.
        now: attacks on the present one; None for the very same model, attacked again.
        fresh: attacks on fresh weights, which both audits share.
        same_seeds: whether both audits used the same attacker seeds.
        attributes: attacked attributes, each on patients of its own: several tests, independent of each other.
        changed: those that ``now`` holds for; the others are attacked as before, after training again.
        models: of the target.
        initialisations: of the fresh weights.
        patients: held out.
    """

    before: Attacker
    fresh: Attacker
    now: Attacker | None = None
    same_seeds: bool = True
    attributes: tuple[str, ...] = ("site", "sex", "age_years")
    changed: tuple[str, ...] = ("site", "sex", "age_band", "age_years")
    models: int = 1
    initialisations: int = 10
    patients: int = 150

    def changes(self, rng: np.random.Generator) -> list[AttackChange]:
        """Draw patients, models and seeds, audit twice, and compare."""
        audits = [self._tables(rng, attribute) for attribute in self.attributes]
        now, before = ([_joined([audit[which][table] for audit in audits]) for table in range(2)] for which in range(2))
        return adjusted(compare_with_before("target", now, before, config=AuditConfig(bootstrap=100)))

    def _tables(self, rng: np.random.Generator, attribute: str) -> tuple[list[ScoreTable], list[ScoreTable]]:
        classes = {"site": heavy_tailed(4, 0.2), "sex": np.array([0.5, 0.5]), "age_band": np.array([0.3, 0.4, 0.3])}
        frequencies = classes.get(attribute, np.array([]))
        seeds = SEEDS if self.same_seeds else 2 * SEEDS
        draw = Draw(rng, attribute=attribute, frequencies=frequencies, patients=self.patients, seeds=seeds)
        first, last = slice(0, SEEDS), slice(seeds - SEEDS, seeds)
        earlier = draw.scores(self.before, self.models)
        present = self.now if attribute in self.changed else self.before
        later = earlier if self.now is None else draw.scores(present, self.models)
        fresh = draw.scores(self.fresh, self.initialisations)
        return tuple(  # type: ignore[return-value]
            [_table(draw, "target", scores[:, part], part), _table(draw, "untrained", fresh[:, part], part)]
            for scores, part in ((later, last), (earlier, first))
        )


def _joined(tables: Sequence[ScoreTable]) -> ScoreTable:
    """Return the attacks on several attributes as one table."""
    names = {name: classes for table in tables for name, classes in table.class_names.items()}
    return replace(tables[0], class_names=names, blocks=tuple(block for table in tables for block in table.blocks))


def _table(draw: Draw, name: str, scores: np.ndarray, seeds: slice) -> ScoreTable:
    held_out = draw.held_out()
    blocks = [
        ScoreBlock(
            attack=AttackKey(target=name, attribute=draw.attribute, access="features", fraction=FRACTION),
            model=f"model-{model}",
            seed=seed,
            scan_ids=held_out.scan_ids,
            patient_ids=held_out.patient_ids,
            truth=held_out.truth,
            scores=np.asarray(scores[model, i], dtype=np.float32),
        )
        for model in range(len(scores))
        for i, seed in enumerate(range(seeds.start, seeds.stop))
    ]
    return ScoreTable(
        target=name,
        target_digest=name,
        cohort_digest="cohort",
        role="target" if name == "target" else "baseline",
        architecture="net",
        class_names={draw.attribute: held_out.class_names},
        blocks=tuple(blocks),
    )


def count_changes(study: Again, *, repetitions: int, seed: int, confidence: float = 0.95) -> Counter[str]:
    """Return how often each verdict fell."""
    rngs = (np.random.default_rng([seed, repetition]) for repetition in range(repetitions))
    return Counter(judge_change(study.changes(rng), confidence=confidence)[0] for rng in rngs)


def model_claims(changes: Sequence[AttackChange]) -> int:
    """Return how many attacks differ for these two models, luck of training left out."""
    return sum(c.model_p_value < 0.05 for c in changes)
