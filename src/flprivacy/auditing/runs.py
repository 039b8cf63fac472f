"""Runs: the repeats of one attack over a target's models and attacker seeds, aligned scan by scan."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from flprivacy.core.errors import AuditError
from flprivacy.core.scores import CLASSIFICATION, REGRESSION, ScoreBlock, ScoreTable

FloatArray = npt.NDArray[np.float64]

MINIMUM_SEEDS = 2


@dataclass(frozen=True, kw_only=True, eq=False)
class HeldOut:
    """The held-out scans on which every attack on an attribute is scored, in ascending order of scan_id.

    Attributes:
        attribute: ``site``, ``sex``, ``age_band`` or ``age_years``.
        class_names: names of the classes; empty for ``age_years``.
        scan_ids: (scan,) identifiers.
        patient_ids: (scan,) pseudonyms.
        patients: (scan,) index of the scan's patient in [0, ``n_patients``).
        truth: (scan,) class index, or years for ``age_years``.
    """

    attribute: str
    class_names: tuple[str, ...]
    scan_ids: npt.NDArray[np.str_]
    patient_ids: npt.NDArray[np.str_]
    patients: npt.NDArray[np.int64]
    truth: FloatArray

    @property
    def n_scans(self) -> int:
        """Number of scans."""
        return len(self.truth)

    @cached_property
    def n_patients(self) -> int:
        """Number of patients."""
        return int(self.patients.max()) + 1

    @cached_property
    def class_worth(self) -> float:
        """How many patients a plain mean over classes rests on: C^2 / sum(1 / n_c) for C classes of n_c patients."""
        pairs = np.unique(self.truth.astype(np.int64) * self.n_patients + self.patients)
        sizes = np.unique(pairs // self.n_patients, return_counts=True)[1]
        return float(len(sizes) ** 2 / (1.0 / sizes).sum())


@dataclass(frozen=True, kw_only=True, eq=False)
class AttackRuns:
    """One attack on one target, repeated over models and attacker seeds.

    Attributes:
        target: name of the target.
        role: ``target`` or ``baseline``.
        architecture: of its network; empty for baselines without a model.
        access: ``features``, ``outputs``, ``finetune`` or ``none``.
        fraction: exposed fraction of the training scans.
        models: names of the target's models, ascending.
        seeds: attacker seeds, ascending.
        held_out: the scans.
        scores: (model, seed, scan, class) probabilities, or (model, seed, scan, 1) years.
    """

    target: str
    role: str
    architecture: str = ""
    access: str
    fraction: float
    models: tuple[str, ...]
    seeds: tuple[int, ...]
    held_out: HeldOut
    scores: npt.NDArray[np.float32]

    @property
    def attribute(self) -> str:
        """The attacked attribute."""
        return self.held_out.attribute

    def describe(self) -> str:
        """Name the attack in an error message."""
        return f"{self.target}: {self.attribute} from {self.access} at exposed fraction {self.fraction:g}"


def collect_runs(tables: Sequence[ScoreTable]) -> dict[str, list[AttackRuns]]:
    """Sort all blocks into runs, attribute -> runs in the order of the tables.

    Raises:
        AuditError: tables of different cohorts, blocks that do not score the same held-out scans, a model or seed
            missing from a grid, fewer than 2 attacker seeds, or an attribute that does not vary.
    """
    _check_tables(tables)
    blocks = [block for table in tables for block in table.blocks]
    found: dict[str, list[AttackRuns]] = {}
    for attribute in (*CLASSIFICATION, *REGRESSION):
        chosen = [block for block in blocks if block.key.attribute == attribute]
        if chosen:
            held_out = _held_out(chosen[0], _class_names(tables, attribute))
            found[attribute] = [runs for table in tables for runs in _table_runs(table, held_out)]
    return found


def _check_tables(tables: Sequence[ScoreTable]) -> None:
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
            if block.key.attribute not in (*CLASSIFICATION, *REGRESSION):
                known = ", ".join((*CLASSIFICATION, *REGRESSION))
                raise AuditError(f"{table.target}: attribute {block.key.attribute!r} is unknown; it must be of {known}")
    if all(table.role == "baseline" for table in tables):
        raise AuditError(f"only baselines among the score tables ({', '.join(names)}); attack at least one target")


def _class_names(tables: Iterable[ScoreTable], attribute: str) -> tuple[str, ...]:
    if attribute in REGRESSION:
        return ()
    named = [(table, table.class_names.get(attribute, ())) for table in tables]
    used = [(table, names) for table, names in named if any(table.select(attribute=attribute))]
    first, expected = used[0]
    for table, names in used:
        if len(names) < 2 or names != expected:
            raise AuditError(
                f"{attribute}: {table.target!r} has {len(names)} class name(s), {first.target!r} has {len(expected)}; "
                "all score tables must name the same classes, at least 2, in the same order"
            )
    return expected


def _held_out(block: ScoreBlock, class_names: tuple[str, ...]) -> HeldOut:
    order = np.argsort(block.scan_ids, kind="stable")
    truth, patient_ids, scan_ids = block.truth[order], block.patient_ids[order], block.scan_ids[order]
    attribute, where = block.key.attribute, block.key.target
    _, patients = np.unique(patient_ids, return_inverse=True)
    if len(np.unique(scan_ids)) < len(scan_ids):
        raise AuditError(f"{where}: {attribute} scores a held-out scan twice; run the attack again")
    if len(np.unique(truth)) < 2:
        raise AuditError(
            f"{attribute}: all {len(truth)} held-out scans have the same true value, so no attack on it can be judged; "
            f"leave {attribute} out of the attack's attributes or hold out patients in whom it varies"
        )
    if patients.max() < 1:
        raise AuditError(f"{attribute}: all held-out scans are of one patient; hold out at least 2 patients")
    in_range = (truth == np.floor(truth)) & (truth >= 0) & (truth < len(class_names))
    if class_names and not in_range.all():
        raise AuditError(
            f"{where}: {attribute} has a true class that is no index into its {len(class_names)} class names; "
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


def _table_runs(table: ScoreTable, held_out: HeldOut) -> Iterable[AttackRuns]:
    groups: dict[tuple[str, float], list[ScoreBlock]] = defaultdict(list)
    for block in table.select(attribute=held_out.attribute):
        groups[block.key.access, block.key.fraction].append(block)
    for (access, fraction), blocks in sorted(groups.items(), key=lambda item: item[0]):
        by_key = {(block.key.model, block.key.seed): block for block in blocks}
        models = tuple(sorted({model for model, _ in by_key}))
        seeds = tuple(sorted({seed for _, seed in by_key}))
        where = f"{table.target}: {held_out.attribute} from {access} at exposed fraction {fraction:g}"
        _check_grid(where, by_key, models, seeds)
        scores = [[_aligned(where, by_key[model, seed], held_out) for seed in seeds] for model in models]
        yield AttackRuns(
            target=table.target,
            role=table.role,
            architecture=table.architecture,
            access=access,
            fraction=fraction,
            models=models,
            seeds=seeds,
            held_out=held_out,
            scores=np.asarray(scores, dtype=np.float32),
        )


def _check_grid(
    where: str, by_key: dict[tuple[str, int], ScoreBlock], models: tuple[str, ...], seeds: tuple[int, ...]
) -> None:
    missing = [(model, seed) for model in models for seed in seeds if (model, seed) not in by_key]
    if missing:
        model, seed = missing[0]
        raise AuditError(f"{where}: no scores for model {model!r} and seed {seed}; run the attack again")
    if len(seeds) < MINIMUM_SEEDS:
        raise AuditError(
            f"{where}: attacked with {len(seeds)} seed; the spread over attackers needs at least {MINIMUM_SEEDS} and "
            "honest intervals 5: add seeds to the attack"
        )


def _aligned(where: str, block: ScoreBlock, held_out: HeldOut) -> npt.NDArray[np.float32]:
    """Return (scan, column) scores in the order of ``held_out``, refusing any other set of scans."""
    order = np.argsort(block.scan_ids, kind="stable")
    same = (
        np.array_equal(block.scan_ids[order], held_out.scan_ids)
        and np.array_equal(block.patient_ids[order], held_out.patient_ids)
        and np.array_equal(block.truth[order], held_out.truth)
    )
    if not same:
        raise AuditError(
            f"{where}, seed {block.key.seed}: scored on {len(order)} held-out scans that are not the "
            f"{held_out.n_scans} of the other attacks on {held_out.attribute}, or with other truths or patients; "
            "run all attacks and baselines again on the same cohort"
        )
    width = max(len(held_out.class_names), 1)
    if block.scores.shape[1] != width:
        raise AuditError(
            f"{where}, seed {block.key.seed}: {block.scores.shape[1]} score columns for {width} "
            f"{'classes' if held_out.class_names else 'value (years)'}; run the attack again"
        )
    return block.scores[order]
