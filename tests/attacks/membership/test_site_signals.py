"""Mean signals of hospitals: patients before scans, contributed scans apart from others, and references that fit."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from flprivacy.attacks.membership.signals import membership_signal
from flprivacy.attacks.membership.site_references import site_signals
from flprivacy.core.cohort import Cohort
from flprivacy.core.errors import AttackError
from flprivacy.core.reference_scores import ReferenceScores
from flprivacy.core.vocabulary import SITES
from tests.cohort_builder import cohort_meta

SCANS = 60


@pytest.fixture
def cohort() -> Cohort:

    rng, scan = np.random.default_rng(0), np.arange(SCANS)
    manifest = pd.DataFrame(
        {
            "scan_id": scan.astype(str),
            "patient_id": (scan // 3).astype(str),
            "site_id": scan // 12,
            "split": np.where(scan % 12 < 9, "train", "test"),
            "label": rng.integers(2, size=SCANS),
        }
    )
    # A patient with one scan fewer than others, so that a mean over patients is no mean over scans.
    manifest.loc[0, "patient_id"] = "1"
    meta = replace(cohort_meta((8, 32, 40), "abcdef", classes=["x", "y"]), digest="c")
    return Cohort(meta=meta, manifest=manifest, folder=Path())


def references(cohort: Cohort, n: int = 4) -> list[ReferenceScores]:
    rng = np.random.default_rng(1)
    sites, train = cohort.manifest["site_id"].to_numpy(), (cohort.manifest["split"] == "train").to_numpy()
    made = []
    for index in range(n):
        half = np.isin(sites, (0, 1) if index % 2 else (2, 3, 4))
        answers = rng.dirichlet([2.0, 2.0], size=(1, SCANS)).astype(np.float32)
        made.append(
            ReferenceScores(
                recipe="r", cohort_digest="c", index=index, models=("model",), probabilities=answers,
                trained_on=(half & train)[None], drawn=SITES,
            )
        )  # fmt: skip
    return made


def test_means_are_over_patients_of_means_over_their_scans(cohort: Cohort) -> None:
    own = references(cohort)
    found = site_signals("central", cohort, own, recipe="r")
    labels = cohort.manifest["label"].to_numpy()
    for split, values in (("train", found.contributed), ("test", found.held_out)):
        for number, reference in enumerate(own):
            signal = membership_signal(reference.probabilities[0], labels, kind="probabilities")
            table = cohort.manifest.assign(signal=signal)[lambda t, split=split: t["split"] == split]
            by_hand = table.groupby(["site_id", "patient_id"])["signal"].mean().groupby("site_id").mean()
            np.testing.assert_allclose(values[number], by_hand.to_numpy(), rtol=1e-6)
    assert found.sites == tuple("abcde")  # f has no scan
    np.testing.assert_array_equal(found.took_part[1], [True, True, False, False, False])
    np.testing.assert_array_equal(found.took_part[0], ~found.took_part[1])


def test_a_hospital_without_other_scans_has_no_number_for_them(cohort: Cohort) -> None:
    kept = ~((cohort.manifest["site_id"] == 4) & (cohort.manifest["split"] == "test"))
    rows = np.flatnonzero(kept)
    fewer = replace(cohort, manifest=cohort.manifest.iloc[rows].reset_index(drop=True))
    own = [
        replace(one, probabilities=one.probabilities[:, rows], trained_on=one.trained_on[:, rows])
        for one in references(cohort)
    ]
    found = site_signals("central", fewer, own, recipe="r")
    assert np.isnan(found.held_out[:, 4]).all()
    assert np.isfinite(found.held_out[:, :4]).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cohort_digest": "d"}, "site reference 1 was trained on another cohort"),
        ({"recipe": "s"}, "site reference 1 was trained by another recipe"),
        ({"drawn": "patients"}, "was not trained as one model on half of the sites"),
        ({"index": 3}, "stands where reference 1 belongs"),
        ({"probabilities": np.zeros((1, 2, 2), np.float32)}, "has answers of shape"),
    ],
)
def test_references_that_do_not_fit_are_refused(cohort: Cohort, change: dict, message: str) -> None:
    own = references(cohort)
    own[1] = replace(own[1], **change)
    with pytest.raises(AttackError, match=message):
        site_signals("central", cohort, own, recipe="r")
