"""Which baselines a target is held against, and that a missing one is said."""

from dataclasses import replace

import pytest

from flprivacy.auditing.baselines import baselines_of
from flprivacy.auditing.runs import AttackRuns, collect_runs
from flprivacy.core.errors import AuditError
from tests.auditing.score_tables import make_study


@pytest.fixture(scope="module")
def sites() -> list[AttackRuns]:
    return collect_runs(make_study())["site"]


@pytest.fixture(scope="module")
def target(sites: list[AttackRuns]) -> AttackRuns:
    return next(
        r for r in sites if (r.attack.target, r.attack.access, r.attack.fraction) == ("central", "outputs", 0.25)
    )


def test_same_access_or_no_model_at_the_same_fraction(sites: list[AttackRuns], target: AttackRuns) -> None:
    found = baselines_of(target, sites)
    assert [(r.attack.target, r.attack.access) for r in found] == [
        ("untrained", "outputs"),
        ("majority", "none"),
    ]
    assert {r.attack.fraction for r in found} == {0.25}


def test_pixels_are_a_baseline_of_whoever_holds_the_scan_and_of_nobody_else(
    sites: list[AttackRuns], target: AttackRuns
) -> None:
    jointly = [
        replace(r, attack=replace(r.attack, access="joint")) if r.attack.access == "outputs" else r for r in sites
    ]
    found = baselines_of(replace(target, attack=replace(target.attack, access="joint")), jointly)
    assert [(r.attack.target, r.attack.access) for r in found] == [
        ("untrained", "joint"),
        ("pixels", "none"),
        ("majority", "none"),
    ]
    without = [r for r in jointly if r.attack.target != "pixels"]
    with pytest.raises(AuditError, match="no baseline 'pixels'; run the pixels-only attacker"):
        baselines_of(replace(target, attack=replace(target.attack, access="joint")), without)
    assert baselines_of(target, [r for r in sites if r.attack.target != "pixels"]) == baselines_of(target, sites)


def test_a_missing_baseline_names_what_to_run(sites: list[AttackRuns], target: AttackRuns) -> None:
    with pytest.raises(AuditError, match=r"no baseline 'majority'; run the .* at this fraction"):
        baselines_of(target, [r for r in sites if r.attack.target != "majority"])


def test_fresh_weights_attacked_with_another_access_are_no_baseline(
    sites: list[AttackRuns], target: AttackRuns
) -> None:
    others = [r for r in sites if (r.attack.target, r.attack.access) != ("untrained", "outputs")]
    with pytest.raises(AuditError, match=r"attack an untrained target .* with access 'outputs'"):
        baselines_of(target, others)


def test_a_single_initialisation_is_no_baseline(sites: list[AttackRuns], target: AttackRuns) -> None:
    few = [replace(r, models=r.models[:1], scores=r.scores[:1]) if r.attack.target == "untrained" else r for r in sites]
    with pytest.raises(AuditError, match=r"'untrained' has 1 model; .* at least 2 initialisations"):
        baselines_of(target, few)


def test_a_pretrained_baseline_of_one_model_joins_the_untrained(sites: list[AttackRuns], target: AttackRuns) -> None:
    untrained = next(
        r for r in sites if (r.attack.target, r.attack.access, r.attack.fraction) == ("untrained", "outputs", 0.25)
    )
    pretrained = replace(
        untrained, attack=untrained.attack.on("pretrained"), models=("model",), scores=untrained.scores[:1]
    )
    assert "pretrained" in {r.attack.target for r in baselines_of(target, [*sites, pretrained])}


def test_other_seeds_cannot_be_paired(sites: list[AttackRuns], target: AttackRuns) -> None:
    shifted = [replace(r, seeds=(5, 6, 7, 8, 9)) if r.attack.target == "majority" else r for r in sites]
    with pytest.raises(AuditError, match="attacker seeds 0, 1, 2, 3, 4, but baseline 'majority' has 5, 6, 7, 8, 9"):
        baselines_of(target, shifted)


def test_fresh_weights_of_another_architecture_are_no_baseline(sites: list[AttackRuns], target: AttackRuns) -> None:
    ours = replace(target, architecture="i3d")
    with pytest.raises(AuditError, match=r"no baseline with fresh weights of architecture 'i3d'"):
        baselines_of(ours, sites)
    untrained = next(
        r for r in sites if (r.attack.target, r.attack.access, r.attack.fraction) == ("untrained", "outputs", 0.25)
    )
    fitting = replace(untrained, attack=untrained.attack.on("untrained-i3d"), architecture="i3d")
    assert [r.attack.target for r in baselines_of(ours, [*sites, fitting])] == ["majority", "untrained-i3d"]
