"""The NetworkPolicies allow exactly the connections of the table in docs/operations.md."""

import copy

import pytest

from tests.k8s.builds import BUILDS, Resource, build
from tests.k8s.edges import OURS, TABLE, allowed, documented, undenied, unlabelled

TEXT = TABLE.read_text(encoding="utf-8")


def _policy(resources: list[Resource], name: str) -> Resource:
    (found,) = [each for each in resources if each["kind"] == "NetworkPolicy" and each["metadata"]["name"] == name]
    return found


@pytest.mark.parametrize("name", BUILDS)
def test_exactly_the_edges_of_the_table(name: str) -> None:
    out, into = allowed(name, build(name))
    table = documented(name, TEXT)
    assert out == {edge for edge in table if edge[0] in OURS}
    assert into == {edge for edge in table if edge[1] in OURS}
    assert len(table) >= 15


@pytest.mark.parametrize("name", BUILDS)
def test_closed_by_default(name: str) -> None:
    assert undenied(name, build(name)) == []
    assert unlabelled(name, build(name)) == []


def test_a_row_too_many_or_too_few_is_seen() -> None:
    table = documented("gke", TEXT)
    assert documented("gke", TEXT + "\n| `mlflow` | `webhook` | TCP 443 | always | mails |\n") > table
    assert documented("gke", TEXT.replace("| TCP 8887 |", "| TCP 8888 |")) != table
    with pytest.raises(ValueError, match="what it is for"):
        documented("gke", TEXT + "\n| `mlflow` | `webhook` | TCP 443 | always |  |\n")


def test_a_wider_policy_is_seen() -> None:
    resources = copy.deepcopy(build("gke"))
    before = allowed("gke", resources)
    _policy(resources, "mlflow")["spec"]["ingress"][0]["from"] = []
    assert ("anything", "mlflow", "TCP 5000") in allowed("gke", resources)[1] - before[1]
    _policy(resources, "flprivacy-steps-object-store")["spec"]["egress"][0].pop("ports")
    assert any(edge[2] == "TCP any" for edge in allowed("gke", resources)[0])
    _policy(resources, "mlflow-database")["spec"]["ingress"][0]["from"][0]["podSelector"] = {}
    assert ("flprivacy {}", "mlflow-database", "TCP 5432") in allowed("gke", resources)[1]


def test_a_narrower_policy_is_seen() -> None:
    resources = copy.deepcopy(build("gke"))
    resources.remove(_policy(resources, "flprivacy-steps-mlflow"))
    assert documented("gke", TEXT) > allowed("gke", resources)[0]
    assert ("steps", "mlflow", "TCP 5000") not in allowed("gke", resources)[0]


def test_an_open_namespace_is_seen() -> None:
    resources = copy.deepcopy(build("gke"))
    resources.remove(_policy(resources, "default-deny"))
    assert "mlflow-database: open to Egress" in undenied("gke", resources)
    _policy(resources, "flprivacy-steps-default-deny")["spec"]["policyTypes"] = ["Egress"]
    assert "steps: open to Ingress" in undenied("gke", resources)
    _policy(resources, "mlflow")["spec"]["policyTypes"] = ["Egress"]
    assert any("do not count" in fault for fault in undenied("gke", resources))
