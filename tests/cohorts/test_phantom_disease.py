"""Disease of the lungs: where it is and what it does to their density."""

import dataclasses

import numpy as np
from phantom_cases import anatomy, grid_of, person, region

from flprivacy.cohorts.phantom.disease import at_scan, draw_findings
from flprivacy.cohorts.phantom.lungs import depth_in_lung, sample_lung
from flprivacy.cohorts.phantom.patients import COVID, NORMAL, PNEUMONIA

PEOPLE = 10


def _added(label: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (volume with disease minus the same chest without, lung mask)."""
    sick = person(seed, label=label)
    healthy = dataclasses.replace(sick, label=NORMAL)
    plain = anatomy(healthy, seed)
    return anatomy(sick, seed) - plain, (plain < -650) & (plain > -960)


def test_sampled_points_lie_in_the_lung_that_was_asked_for() -> None:
    patient = person(0)
    for side in (-1.0, 1.0):
        points = sample_lung(np.random.default_rng(0), patient, side, 300, 5.0)
        assert points.shape == (300, 3)
        assert (depth_in_lung(points, patient) > 5.0).all()
        assert (np.sign(points[:, 0]) == side).all()
    volume, grid = anatomy(patient), grid_of(patient)
    nearest = (np.abs(grid.z[:, None] - points[:, 2])).argmin(axis=0)
    rows, columns = np.rint(grid.index(points[:, 0], points[:, 1])).astype(int)
    close = np.abs(grid.z[nearest] - points[:, 2]) < 4.0
    assert np.median(volume[nearest, rows, columns][close]) < -700


def test_disease_raises_the_density_of_lung_and_of_nothing_else() -> None:
    for label in (COVID, PNEUMONIA):
        means = []
        for seed in range(PEOPLE):
            added, lung = _added(label, seed)
            means.append(added[lung].mean())
            assert np.abs(added[:, :3]).max() == 0.0  # the air in front of the chest
        assert np.mean(means) > 3.0  # grey levels over the whole lung; most cases are mild
        # The harmless findings of the two draws differ, which may outweigh the mildest disease.
        assert np.mean(np.array(means) > 0.0) >= 0.7


def test_diseased_lungs_stand_out_from_normal_ones_by_their_density_alone() -> None:
    def dense(label: int) -> np.ndarray:
        lungs = [region(grid_of(person(s)), (-120, 120), (-40, 60), (0.3, 0.9)) for s in range(2 * PEOPLE)]
        chests = [anatomy(person(s, label=label), s) for s in range(2 * PEOPLE)]
        return np.array([((c > -650) & (c < -200))[lung].mean() for c, lung in zip(chests, lungs, strict=True)])

    normal = dense(NORMAL)
    for label in (COVID, PNEUMONIA):
        assert (dense(label)[:, None] > normal).mean() > 0.9  # AUC, before scanners and noise make it harder


def test_covid_is_on_both_sides_low_and_at_the_back() -> None:
    both = lower = back = 0
    for seed in range(PEOPLE):
        lesions = draw_findings(np.random.default_rng(seed), person(seed, label=COVID)).lesions
        centres = np.array([lesion.shape.centre for lesion in lesions])
        both += (centres[:, 0] > 0).any() and (centres[:, 0] < 0).any()
        lower += np.mean(centres[:, 2]) > 150.0
        back += np.mean(centres[:, 1]) > 0.0
    assert min(both, lower, back) >= PEOPLE - 1


def test_other_pneumonia_is_mostly_on_one_side_and_denser_than_covid() -> None:
    one_side = 0
    for seed in range(60):
        found = draw_findings(np.random.default_rng(seed), person(seed, label=PNEUMONIA)).lesions
        sides = {np.sign(lesion.shape.centre[0]) for lesion in found if max(lesion.shape.radii) > 25.0}
        one_side += len(sides) == 1
    assert 0.65 * 60 < one_side < 0.97 * 60
    dense = {}
    for label in (COVID, PNEUMONIA):
        added = np.concatenate([a[lung & (a > 80)] for a, lung in (_added(label, s) for s in range(PEOPLE))])
        dense[label] = float(np.mean(added > 500))
    assert dense[PNEUMONIA] > dense[COVID] + 0.1


def test_a_lobar_consolidation_stops_at_the_fissure() -> None:
    for seed in range(30):
        patient = person(seed, label=PNEUMONIA)
        findings = draw_findings(np.random.default_rng(seed), patient)
        assert all(lesion.lobe in (-1, 0, 1) for lesion in findings.lesions)
        assert findings.lesions[0].lobe != 0


def test_lesions_grow_with_the_extent_of_the_scan() -> None:
    patient = person(3, label=COVID)
    findings = draw_findings(np.random.default_rng(3), patient)
    grown = at_scan(findings, 1.3, 0.0)
    np.testing.assert_allclose(grown.lesions[0].shape.radii, 1.3 * np.array(findings.lesions[0].shape.radii))
    assert grown.lesions[0].shape.centre == findings.lesions[0].shape.centre
    assert at_scan(findings, 1.0, 10.0).dependent > at_scan(findings, 1.0, 0.0).dependent
    assert at_scan(findings, 1.0, -99.0).dependent == 0.0
    lung = region(grid_of(patient), (-130, 130), (-80, 80), (0.2, 0.8))
    small, large = (anatomy(patient, 3, extent=e)[lung].mean() for e in (0.7, 1.3))
    assert large > small + 5.0


def test_normal_lungs_may_have_scars_but_no_large_lesion() -> None:
    found = [draw_findings(np.random.default_rng(s), person(s, label=NORMAL)) for s in range(60)]
    radii = [max(lesion.shape.radii) for f in found for lesion in f.lesions]
    assert 0.2 * 60 < sum(bool(f.lesions) for f in found) < 0.6 * 60
    assert max(radii) < 15.0
    assert all(f.effusion_mm == (0.0, 0.0) for f in found)
