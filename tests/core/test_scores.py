"""ScoreTable: what is written is what is read."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from flprivacy.core.attributes import MEMBERS, AttackKey
from flprivacy.core.errors import AuditError
from flprivacy.core.scores import ScoreBlock, ScoreTable

WIDTHS = {"site": 3, "sex": 2, "age_years": 1}


def block(model: str, attribute: str, seed: int, *, n: int = 7, access: str = "features") -> ScoreBlock:
    rng = np.random.default_rng([seed, n])
    return ScoreBlock(
        attack=AttackKey(target="siloed", attribute=attribute, access=access, fraction=0.1),
        model=model,
        seed=seed,
        scan_ids=np.array([f"scan é {i}" for i in range(n)]),
        patient_ids=np.array([f"patient {i // 2}" for i in range(n)]),
        truth=rng.integers(0, WIDTHS[attribute], n) + (61.25 if attribute == "age_years" else 0.0),
        scores=rng.random((n, WIDTHS[attribute]), dtype=np.float32),
    )


def table(*blocks: ScoreBlock) -> ScoreTable:
    return ScoreTable(
        target="siloed",
        target_digest="ab" * 32,
        cohort_digest="cd" * 32,
        role="target",
        class_names={"site": ("site-00", "site-01", "Zürich"), "sex": ("F", "M")},
        left_out={"sex": 3},
        notes={"protocol": "standard"},
        blocks=blocks,
    )


def test_a_table_survives_the_disk(tmp_path: Path) -> None:
    blocks = [
        block(model, attribute, seed, n=n, access=access)
        for model in ("site-00", "site-01")
        for access in ("features", "outputs")
        for attribute, n in (("site", 7), ("sex", 5), ("age_years", 1))
        for seed in (0, 3)
    ]
    written = table(*blocks)
    written.write(tmp_path / "scores.parquet")
    read = ScoreTable.read(tmp_path / "scores.parquet")
    for name in ("target", "target_digest", "cohort_digest", "role", "class_names", "left_out", "notes"):
        assert getattr(read, name) == getattr(written, name)
    assert [b.key for b in read.blocks] == [b.key for b in blocks]
    for one, other in zip(read.blocks, blocks, strict=True):
        for name in ("scan_ids", "patient_ids", "truth", "scores"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
        assert one.scores.dtype == np.float32
        assert one.truth.dtype == np.float64


def test_a_table_of_many_row_groups_survives_the_disk(tmp_path: Path) -> None:
    written = table(*(block("model", "site", seed, n=1000) for seed in range(4)))
    written.write(tmp_path / "whole.parquet")
    pq.write_table(pq.read_table(tmp_path / "whole.parquet"), tmp_path / "cut.parquet", row_group_size=333)
    read = ScoreTable.read(tmp_path / "cut.parquet")
    assert len(read.blocks) == 4
    for one, other in zip(read.blocks, written.blocks, strict=True):
        np.testing.assert_array_equal(one.scores, other.scores)


def test_a_whole_fraction_may_be_an_integer(tmp_path: Path) -> None:
    half, whole = block("model", "site", 0), block("model", "site", 1)
    whole = replace(whole, attack=replace(whole.attack, fraction=1))
    table(half, whole).write(tmp_path / "scores.parquet")
    assert [b.attack.fraction for b in ScoreTable.read(tmp_path / "scores.parquet").blocks] == [0.1, 1.0]


def test_select_by_attribute_access_and_fraction() -> None:
    chosen = block("model", "site", 0, access="outputs")
    found = table(block("model", "site", 0), chosen, block("model", "sex", 0))
    assert list(found.select(attribute="site", access="outputs", fraction=0.1)) == [chosen]
    assert len(list(found.select(attribute="site"))) == 2
    assert list(found.select(attribute="site", fraction=0.25)) == []


def test_a_table_without_scores_is_refused() -> None:
    with pytest.raises(AuditError, match="holds no scores"):
        table()


def test_two_blocks_with_one_key_are_refused() -> None:
    with pytest.raises(AuditError, match="scores twice for"):
        table(block("model", "site", 0), block("model", "site", 0))


def test_blocks_of_another_target_are_refused() -> None:
    stray = block("model", "site", 0)
    with pytest.raises(AuditError, match="holds scores of 'central'"):
        table(replace(stray, attack=stray.attack.on("central")))


def test_blocks_that_do_not_count_the_same_scans_are_refused() -> None:
    whole = block("model", "site", 0)
    with pytest.raises(AuditError, match="all must count the same scans"):
        replace(whole, truth=whole.truth[:-1])


def test_scores_that_are_not_finite_are_refused() -> None:
    whole = block("model", "site", 0)
    with pytest.raises(AuditError, match="look for a diverged attack"):
        replace(whole, scores=np.full_like(whole.scores, np.nan))


def test_scores_on_members_are_kept_apart(tmp_path: Path) -> None:
    held_out = block("model", "site", 0)
    members = replace(block("model", "site", 0, n=5), attack=replace(held_out.attack, scans=MEMBERS))
    table(held_out, members).write(tmp_path / "scores.parquet")
    read = ScoreTable.read(tmp_path / "scores.parquet")
    assert [one.key for one in read.blocks] == [held_out.key, members.key]
    (alone,) = read.select(attribute="site", scans=MEMBERS)
    np.testing.assert_array_equal(alone.scores, members.scores)


def test_a_table_from_before_members_were_scored_is_of_held_out_scans(tmp_path: Path) -> None:
    path, whole = tmp_path / "scores.parquet", block("model", "site", 0)
    table(whole).write(path)
    pq.write_table(pq.read_table(path).drop_columns(["scans"]), path)
    (read,) = ScoreTable.read(path).blocks
    assert read.key == whole.key


@pytest.mark.parametrize("damage", ["missing", "truncated", "no metadata", "no column", "no rows"])
def test_a_damaged_file_gives_one_clear_error(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "scores.parquet"
    table(block("model", "site", 0)).write(path)
    rows = pq.read_table(path)
    if damage == "missing":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[:-200])
    elif damage == "no metadata":
        pq.write_table(rows.replace_schema_metadata(None), path)
    elif damage == "no column":
        pq.write_table(rows.drop_columns(["scores"]), path)
    else:
        pq.write_table(rows.slice(0, 0), path)
    with pytest.raises(AuditError, match="run the attack step again"):
        ScoreTable.read(path)


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object, **keywords: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(pq, "write_table", fail)
    with pytest.raises(OSError, match="disk full"):
        table(block("model", "site", 0)).write(tmp_path / "scores.parquet")
    assert list(tmp_path.iterdir()) == []
