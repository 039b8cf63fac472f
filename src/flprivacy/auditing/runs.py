"""Runs: the repeats of one attack over a target's models and attacker seeds, aligned scan by scan."""

import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from flprivacy.core.array_types import Float32Array, FloatArray, IntArray, StrArray
from flprivacy.core.attributes import BY_NAME, HELD_OUT, MEMBERS, NO_ACCESS, AttackKey, Attribute
from flprivacy.core.audit import HONEST_SEEDS
from flprivacy.core.errors import AuditError

if TYPE_CHECKING:
    from flprivacy.core.scores import ScoreBlock, ScoreTable  # pyarrow: not needed for arrays


LOGGER = logging.getLogger(__name__)
MINIMUM_SEEDS = 2


@dataclass(frozen=True, kw_only=True, eq=False)
class HeldOut:
    """The scans on which every attack on an attribute is scored, held-out ones or members, in ascending order of
    scan_id.
    """

    attribute: Attribute
    class_names: tuple[str, ...]  # empty for years
    scan_ids: StrArray  # (scan,)
    patient_ids: StrArray  # (scan,) pseudonyms
    patients: IntArray  # (scan,) index of the scan's patient in [0, n_patients)
    truth: FloatArray  # (scan,) class index, or years

    @property
    def n_scans(self) -> int:
        """Number of scans."""
        return len(self.truth)

    @cached_property
    def n_patients(self) -> int:
        """Number of patients."""
        return int(self.patients.max()) + 1

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the metrics that attacks are measured by, the main one first."""
        return self.attribute.metrics_for(len(self.class_names))

    @cached_property
    def patients_per_class_mean(self) -> float:
        """Effective number of patients of a plain mean over C classes of n_c patients: C^2 / sum(1 / n_c)."""
        pairs = np.unique(self.truth.astype(np.int64) * self.n_patients + self.patients)
        sizes = np.unique(pairs // self.n_patients, return_counts=True)[1]
        return float(len(sizes) ** 2 / (1.0 / sizes).sum())


@dataclass(frozen=True, kw_only=True, eq=False)
class AttackRuns:
    """One attack on one target, repeated over models and attacker seeds."""

    attack: AttackKey
    role: str  # "target" or "baseline"
    architecture: str = ""  # empty for baselines without a model
    models: tuple[str, ...]  # ascending
    seeds: tuple[int, ...]  # of the attacker, ascending
    held_out: HeldOut
    scores: Float32Array  # (model, seed, scan, class) probabilities, or (model, seed, scan, 1) years

    def __post_init__(self) -> None:
        if len(self.seeds) < MINIMUM_SEEDS:
            raise AuditError(
                f"{self.attack}: attacked with {len(self.seeds)} seed; the spread over attackers needs at least "
                f"{MINIMUM_SEEDS} and honest intervals {HONEST_SEEDS}: add seeds to the attack"
            )

    @property
    def uses_model(self) -> bool:
        """Whether the attacker uses a model at all."""
        return self.attack.access != NO_ACCESS


def collect_runs(tables: Sequence["ScoreTable"], *, scans: str = HELD_OUT) -> dict[str, list[AttackRuns]]:
    """Sort the blocks on held-out scans (or ``scans`` of another kind) into runs, attribute -> runs in the order of
    the tables.

    Raises:
        AuditError: tables of different cohorts, blocks that do not score the same scans, a model or seed missing from
            a grid, fewer than 2 attacker seeds, or an attribute that does not vary.
    """
    _check_tables(tables)
    blocks = [block for table in tables for block in table.blocks if block.attack.scans == scans]
    found: dict[str, list[AttackRuns]] = {}
    for name, attribute in BY_NAME.items():
        chosen = [block for block in blocks if block.attack.attribute == name]
        if scans == MEMBERS and any(not _differ(block) for block in chosen):
            LOGGER.warning("%s: the members that are scored are too few or alike, so nothing is said of them", name)
        elif chosen:
            first = chosen[0]
            order = np.argsort(first.scan_ids, kind="stable")
            held_out = held_out_scans(
                attribute,
                class_names=_class_names(tables, attribute),
                scan_ids=first.scan_ids[order],
                patient_ids=first.patient_ids[order],
                truth=first.truth[order],
                where=first.attack.target,
            )
            found[name] = [runs for table in tables for runs in _table_runs(table, held_out, scans)]
    return found


def _differ(block: "ScoreBlock") -> bool:
    return len(np.unique(block.truth)) > 1 and len(np.unique(block.patient_ids)) > 1


def _check_tables(tables: Sequence["ScoreTable"]) -> None:
    if not tables:
        raise AuditError("no score table given; run the attack steps first")
    names = [table.target for table in tables]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise AuditError(f"target {twice[0]!r} has {names.count(twice[0])} score tables; give each target its own name")
    digests = {table.cohort_digest: table.target for table in tables}
    if len(digests) > 1:
        (one, first), (other, second) = sorted(digests.items())[:2]
        raise AuditError(
            f"score tables of {first!r} and {second!r} come from different cohorts (digests {one[:12]!r} and "
            f"{other[:12]!r}); attack every target and baseline on the same cohort"
        )
    for table in tables:
        if table.role not in ("target", "baseline"):
            raise AuditError(f"{table.target}: role is {table.role!r}; it must be 'target' or 'baseline'")
        for block in table.blocks:
            if block.attack.attribute not in BY_NAME:
                raise AuditError(
                    f"{table.target}: attribute {block.attack.attribute!r} is unknown; it must be one of "
                    f"{', '.join(BY_NAME)}"
                )
    if all(table.role == "baseline" for table in tables):
        raise AuditError(f"only baselines among the score tables ({', '.join(names)}); attack at least one target")


def _class_names(tables: Iterable["ScoreTable"], attribute: Attribute) -> tuple[str, ...]:
    if attribute.is_regression:
        return ()
    named = [(table, table.class_names.get(attribute.name, ())) for table in tables]
    used = [(table, names) for table, names in named if any(table.select(attribute=attribute.name))]
    first, expected = used[0]
    for table, names in used:
        if len(names) < 2 or names != expected:
            raise AuditError(
                f"{attribute.name}: {table.target!r} has {len(names)} class name(s), {first.target!r} has "
                f"{len(expected)}; all score tables must name the same classes, at least 2, in the same order"
            )
    return expected


def held_out_scans(
    attribute: Attribute,
    *,
    class_names: tuple[str, ...],
    scan_ids: StrArray,
    patient_ids: StrArray,
    truth: FloatArray,
    where: str,
) -> HeldOut:
    """Check and describe held-out scans; ``where`` they are from is for error messages.

    Raises:
        AuditError: a scan twice, a single patient, an attribute that does not vary, or a class without a name.
    """
    name = attribute.name
    _, patients = np.unique(patient_ids, return_inverse=True)
    if len(np.unique(scan_ids)) < len(scan_ids):
        raise AuditError(f"{where}: {name} scores a held-out scan twice; run the attack again")
    if len(np.unique(truth)) < 2:
        raise AuditError(
            f"{name}: all {len(truth)} held-out scans have the same true value, so no attack on it can be judged; "
            f"leave {name} out of the attack's attributes or hold out patients in whom it varies"
        )
    if patients.max() < 1:
        raise AuditError(f"{name}: all held-out scans are of one patient; hold out at least 2 patients")
    in_range = (truth == np.floor(truth)) & (truth >= 0) & (truth < len(class_names))
    if class_names and not in_range.all():
        raise AuditError(
            f"{where}: {name} has a true class that is no index into its {len(class_names)} class names; "
            "run the attack again"
        )
    return HeldOut(
        attribute=attribute,
        class_names=class_names,
        scan_ids=scan_ids,
        patient_ids=patient_ids,
        patients=patients.astype(np.int64).ravel(),
        truth=truth,
    )


def _table_runs(table: "ScoreTable", held_out: HeldOut, scans: str) -> Iterable[AttackRuns]:
    groups: dict[AttackKey, list[ScoreBlock]] = defaultdict(list)
    for block in table.select(attribute=held_out.attribute.name, scans=scans):
        groups[block.attack].append(block)
    for attack, blocks in sorted(groups.items(), key=lambda item: (item[0].access, item[0].fraction)):
        by_run = {(block.model, block.seed): block for block in blocks}
        models = tuple(sorted({model for model, _ in by_run}))
        seeds = tuple(sorted({seed for _, seed in by_run}))
        missing = [(model, seed) for model in models for seed in seeds if (model, seed) not in by_run]
        if missing:
            model, seed = missing[0]
            raise AuditError(f"{attack}: no scores for model {model!r} and seed {seed}; run the attack again")
        scores = [[_aligned(by_run[model, seed], held_out) for seed in seeds] for model in models]
        yield AttackRuns(
            attack=attack,
            role=table.role,
            architecture=table.architecture,
            models=models,
            seeds=seeds,
            held_out=held_out,
            scores=np.asarray(scores, dtype=np.float32),
        )


def _aligned(block: "ScoreBlock", held_out: HeldOut) -> Float32Array:
    """Return (scan, column) scores in the order of ``held_out``, refusing any other set of scans."""
    order = np.argsort(block.scan_ids, kind="stable")
    same = (
        np.array_equal(block.scan_ids[order], held_out.scan_ids)
        and np.array_equal(block.patient_ids[order], held_out.patient_ids)
        and np.array_equal(block.truth[order], held_out.truth)
    )
    if not same:
        raise AuditError(
            f"{block}: scored on {len(order)} scans that are not the {held_out.n_scans} of the other attacks "
            f"on {held_out.attribute.name}, or with other truths or patients; run all attacks and baselines again on "
            "the same cohort"
        )
    width = max(len(held_out.class_names), 1)
    if block.scores.shape[1] != width:
        raise AuditError(
            f"{block}: {block.scores.shape[1]} score columns for {width} "
            f"{'classes' if held_out.class_names else 'value (years)'}; run the attack again"
        )
    return block.scores[order]
