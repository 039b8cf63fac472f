"""Whether a network answers scans here as it did where its owner runs it: by numbers, not by anybody's word."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from flprivacy.attacks.evidence import Evidence, answers_to, ranges_of, shown_as
from flprivacy.attacks.features import TEST_VIEW, Forward
from flprivacy.attacks.scenario import Scenario
from flprivacy.core.array_types import Float32Array, IntArray
from flprivacy.core.errors import AttackError
from flprivacy.core.target import TargetRecord
from flprivacy.targets.array_files import read_arrays

LEAST_SCANS = 8
ASKED_FOR = (
    f"give own_answers=FILE, an .npz or Parquet file of what it answered to {LEAST_SCANS} or more of these scans where "
    "its owner runs it"
)
_MOST_SCANS = 96
_AGREEMENT = 0.95


class OwnAnswers(NamedTuple):
    """What a network answered where its owner runs it."""

    rows: IntArray  # (scan,) of the cohort, ascending
    answers: Mapping[str, Float32Array]  # ``features`` (scan, feature) and ``outputs`` (scan, class), or one of them


def read_own_answers(path: Path, record: TargetRecord, scenario: Scenario) -> OwnAnswers:
    """Read what a target's only model answered to some of the scans that an audit reads.

    Args:
        path: ``.npz`` or Parquet, as :mod:`flprivacy.targets.array_files` describes; outputs are probabilities, or what
            the network gives itself.
        record: the target's.
        scenario: says which scans are read; at most 96 of them are compared, at random.

    Raises:
        TargetError: the file is damaged, or answers are the same for every scan.
        AttackError: it holds too few of these scans, or the target has several models.
    """
    if len(record.models) != 1:
        raise AttackError(
            f"target {record.name!r}: own_answers are one model's, and it has {len(record.models)}; leave them out"
        )
    arrays, _ = read_arrays(path, otherwise=record.origin.answers if record.origin is not None else "")
    views, ids = scenario.views(), scenario.cohort.manifest["scan_id"].to_numpy().astype(np.str_)
    read = np.union1d(views.exposed, views.scored)
    rows = read[np.isin(ids[read], arrays.scan_ids)]
    if len(rows) < LEAST_SCANS:
        raise AttackError(
            f"target {record.name!r}: own_answers holds {len(rows)} of the {len(read)} scans that this audit reads; "
            f"give answers to at least {LEAST_SCANS}, under the ids of the cohort's manifest (all held-out scans are "
            "read)"
        )
    rows = np.sort(np.random.default_rng(0).permutation(rows)[:_MOST_SCANS])
    places = np.searchsorted(arrays.scan_ids, ids[rows])
    held = {"features": arrays.features, "outputs": arrays.outputs}
    return OwnAnswers(rows, {name: values[places] for name, values in held.items() if values is not None})


def by_owner(own: OwnAnswers, taken: str, scenario: Scenario, forward: Callable[[], Forward], whose: str) -> Evidence:
    """Return what a comparison with the network's own answers tells of the values and the axes that it is shown.

    They agree if 95 % of what varies over the scans is found here, too: other software rounds and resamples otherwise.

    Args:
        own: the network's own answers.
        taken: the range that it is said to take.
        scenario: gives the scans.
        forward: makes the function from scans to ``features`` (n, feature) and ``outputs`` (n, class).
        whose: begins an error.

    Raises:
        AttackError: the answers have another form than those here, or those here are no numbers.
    """
    scans = scenario.views().load(TEST_VIEW, own.rows)
    ranges = ranges_of(taken, scans, scenario.cohort.meta.window_hu)
    shown = {name: shown_as(scans, bounds, ranges[taken]) for name, bounds in ranges.items()}
    found = answers_to(forward, shown, taken, whose)
    agree = {name: _agreement(own.answers, seen, whose) for name, seen in found.items()}
    best = max(agree, key=lambda name: agree[name])
    if agree[taken] >= _AGREEMENT:
        return Evidence(borne_out=True)
    said = (
        f"it answers otherwise here, as {taken}, than where its owner runs it (of what varies in its own answers to "
        f"{len(own.rows)} scans, {max(agree[taken], 0.0):.0%} is found)"
    )
    if agree[best] >= _AGREEMENT:
        return Evidence(f"{said}, and the same ({agree[best]:.0%}) as {best}: state input_range={best}")
    return Evidence(f"{said}: state input_range and axes as it was trained, or give own answers to these very scans")


def _agreement(own: Mapping[str, Float32Array], here: Mapping[str, Float32Array], whose: str) -> float:
    """Return the share of what varies in the network's own answers that those here explain: 1 minus the squared
    differences over the squared deviations from the mean; the smaller one of features and outputs.
    """
    both = [name for name in own if name in here]
    if not both or any(own[name].shape != here[name].shape for name in both):
        given, seen = (
            ", ".join(f"{name} of {values.shape[1]}" for name, values in some.items()) or "nothing"
            for some in (own, here)
        )
        raise AttackError(f"{whose}: own_answers holds {given}, and the network gives {seen}; give the same")
    shares = []
    for name in both:
        mine, theirs = own[name].astype(np.float64), here[name].astype(np.float64)
        varies = ((mine - mine.mean(axis=0)) ** 2).sum()
        shares.append(1.0 - ((mine - theirs) ** 2).sum() / varies if varies > 0.0 else -np.inf)
    return float(min(shares))
