"""A target of which it is in doubt whether it was seen as it works may be called a leak, and is never cleared."""

from dataclasses import replace

from flprivacy.auditing.attributes import audit_attributes
from flprivacy.auditing.config import AuditConfig, Policy, PolicyRule
from flprivacy.core.audit import INCONCLUSIVE, LEAK, NO_LEAK, Verdict
from flprivacy.core.scores import ScoreTable
from tests.auditing.score_tables import make_curves, make_study

DOUBT = "nobody knows what it takes; state input_range"


def verdicts(tables: list[ScoreTable], tolerated: float) -> dict[str, list[Verdict]]:
    policy = Policy(rules={"site": PolicyRule(threshold=tolerated)})
    found = audit_attributes(tables, make_curves(), config=AuditConfig(bootstrap=100, policy=policy)).verdicts
    return {name: [v for v in found if v.attack.target == name] for name in ("central", "siloed")}


def test_what_would_be_cleared_stays_open_and_says_why() -> None:
    tables = make_study()
    doubted = [replace(table, doubt=DOUBT) if table.target == "central" else table for table in tables]
    sure, open_ = verdicts(tables, 0.9), verdicts(doubted, 0.9)
    assert {v.verdict for found in sure.values() for v in found} == {NO_LEAK}
    assert {v.verdict for v in open_["central"]} == {INCONCLUSIVE}
    assert all(v.reason.startswith(DOUBT) and w.reason in v.reason for v, w in zip(*_central(open_, sure), strict=True))
    assert open_["siloed"] == sure["siloed"]


def _central(*found: dict[str, list[Verdict]]) -> list[list[Verdict]]:
    return [one["central"] for one in found]


def test_a_leak_stays_a_leak() -> None:
    tables = make_study()
    doubted = [replace(table, doubt=DOUBT) if table.role == "target" else table for table in tables]
    assert verdicts(doubted, 0.0)["central"] == verdicts(tables, 0.0)["central"]
    assert LEAK in {v.verdict for v in verdicts(doubted, 0.0)["central"]}


def test_a_score_table_keeps_its_doubt(tmp_path) -> None:
    table = replace(make_study()[0], doubt=DOUBT)
    table.write(tmp_path / "t.parquet")
    assert ScoreTable.read(tmp_path / "t.parquet").doubt == DOUBT
