"""Networks in ONNX files in a bucket, and answers as arrays, through every step of an audit.

A residual network as MONAI has them, with instance norm and its weights beside the file; a DenseNet with batch norm;
and answers of the first with an untrained twin and without one.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest

from flprivacy.cohorts.format import open_cohort, read_volumes
from flprivacy.cohorts.phantom.config import PhantomConfig
from flprivacy.cohorts.phantom.generate import phantom_cohort
from flprivacy.cohorts.preprocessing import test_view
from flprivacy.core.audit import LEAK, NO_LEAK, Audit
from flprivacy.core.parts import names_of
from flprivacy.core.target_source import parse_source
from flprivacy.models.graphs.network import load_graph
from flprivacy.reporting.sentences import headlines, overall
from flprivacy.steps.attack_target import attack_target
from flprivacy.steps.evaluate import evaluate
from flprivacy.steps.plan_audit import plan_audit
from flprivacy.storage.objects import open_objects
from flprivacy.targets.given import given_target
from tests.onnx_networks import monai_densenet, monai_resnet
from tests.services.ceph import Gateway
from tests.services.fixtures import clear_environment, new_bucket, use_ceph

SHAPE = (8, 32, 40)
_PRESET = """
targets: {untrained: {topology: untrained, initialisations: 2}}
attack: {fractions: [0.3], seeds: [0, 1], attributes: [site], accesses: [features, outputs], members: false}
audit: {bootstrap: 100}
"""


@dataclass(frozen=True, kw_only=True)
class Audited:
    """An audit, with where it was made."""

    audit: Audit
    root: Path
    bucket: str
    gateway: Gateway


def _answers(root: Path, cohort: Path, *, twin: bool) -> Path:
    """Write what the residual network says, and perhaps two others of its kind."""
    manifest = open_cohort(cohort).manifest
    scans = test_view(read_volumes(open_cohort(cohort), np.arange(len(manifest))), protocol="standard")
    found = {"scan_ids": manifest["scan_id"].to_numpy().astype(str)}
    said = []
    for seed in range(3):
        path = root / "some.onnx"
        path.write_bytes(monai_resnet(SHAPE, seed=seed).SerializeToString())
        said.append(load_graph(path, stated={"input_range": "0..1"}, shape=None, threads=2).forward(scans))
    for name in ("features", "outputs"):
        found[name] = said[0][name]
        found |= {f"untrained_{name}": np.stack([one[name] for one in said[1:]])} if twin else {}
    path = root / ("twin.npz" if twin else "alone.npz")
    np.savez(path, **found)
    return path


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Audited]:
    root = tmp_path_factory.mktemp("graphs")
    store, plan, cohort = str(root / "store"), root / "plan.json", root / "cohort"
    (root / "preset.yaml").write_text(_PRESET)
    phantom_cohort(PhantomConfig(name="foreign", scans=72, sites=2, shape=SHAPE, seed=7), cohort)
    onnx.save_model(
        monai_resnet(SHAPE), root / "resnet.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0
    )
    (root / "dense.onnx").write_bytes(monai_densenet(SHAPE).SerializeToString())
    with pytest.MonkeyPatch.context() as patch:
        clear_environment(patch, root / "no-such-file")
        gateway, bucket = use_ceph(patch), new_bucket()
        alone = _answers(root, cohort, twin=False)
        for name in ("resnet.onnx", "weights.bin", "dense.onnx"):
            open_objects(bucket).upload(root / name, f"{bucket}/{name}")
        open_objects(bucket).upload(alone, f"{bucket}/own.npz")
        targets = {
            "resnet": f"{bucket}/resnet.onnx,input_range=0..1,own_answers={bucket}/own.npz",
            "dense": f"{bucket}/dense.onnx,input_range=0..1",
            "twin": f"{_answers(root, cohort, twin=True)},input_checked=true",
            "alone": str(alone),
        }
        planned = plan_audit(
            preset=str(root / "preset.yaml"), overrides={}, cohort=str(cohort), targets=targets, plan=plan, store=store,
            scans=root / "scans",
        )  # fmt: skip
        scores = tuple(root / "scores" / name for part in planned.parameters["Output"] for name in names_of(part))
        for place in scores:
            attack_target(plan=plan, cohort=cohort, target_name=place.name, store=store, scores=place)
        out = root / "audit"
        evaluate(plan=plan, cohort=cohort, target_scores=scores, store=store, audit=out)
        audit = Audit.read(out / "audit.json")
        yield Audited(audit=audit, root=root, bucket=bucket, gateway=gateway)


def test_each_is_held_against_its_own_twin(audited: Audited) -> None:
    found = {(one.attack.target, one.attack.access, one.baseline) for one in audited.audit.excesses}
    for name in ("resnet", "dense", "twin"):
        own = {baseline for target, access, baseline in found if target == name and access == "features"}
        assert own == {f"untrained-{name}", "majority"}
        assert {access for target, access, _ in found if target == name} == {"features", "outputs"}
    roles = {one.name: (one.role, one.architecture) for one in audited.audit.targets}
    assert roles["resnet"] == ("target", "custom")
    assert roles["untrained-twin"] == ("baseline", "custom")
    assert "untrained-alone" not in roles


def test_without_a_twin_nothing_is_a_leak_and_the_reason_says_so(audited: Audited) -> None:
    verdicts = {(one.attack.target, one.attack.access): one for one in audited.audit.verdicts}
    assert any(target == "alone" for target, _ in verdicts)
    for (target, _), verdict in verdicts.items():
        if target == "alone":
            assert verdict.verdict != LEAK
            assert "no 'untrained' baseline was given" in verdict.reason
    warnings = {one.target: one.warning for one in headlines(audited.audit)}
    assert warnings["alone"].startswith("Its owner gave no answers of the same network with fresh weights")
    assert warnings["twin"].startswith("Not confirmed: arrays do not tell what values the network was shown")


def test_what_nobody_could_compare_is_not_cleared(audited: Audited) -> None:
    doubts = {one.name: one.doubt for one in audited.audit.targets if one.role == "target"}
    assert doubts["resnet"] == doubts["twin"] == ""
    assert doubts["alone"].startswith("arrays do not tell what values the network was shown")
    first = overall(audited.audit)
    assert "In doubt: alone, for arrays do not tell" in first
    assert "Not confirmed: what twin was shown rests on the owner's word" in first
    assert NO_LEAK not in {one.verdict for one in audited.audit.verdicts if one.attack.target == "alone"}


def test_answers_give_the_numbers_of_the_network(audited: Audited) -> None:
    numbers = {
        name: [
            (one.attack.attribute, one.attack.access, one.metric, one.value)
            for one in audited.audit.metrics
            if one.attack.target == name
        ]
        for name in ("resnet", "alone", "twin")
    }
    assert numbers["resnet"] == numbers["alone"] == numbers["twin"]


def test_weights_beside_the_file_are_part_of_what_was_imported(audited: Audited) -> None:
    source, store = parse_source(f"{audited.bucket}/resnet.onnx,input_range=0..1"), str(audited.root / "store")
    before = audited.gateway.sent_bytes("weights.bin")
    first = given_target(source, store)
    assert audited.gateway.sent_bytes("weights.bin") == before  # neither changed
    other = audited.root / "other"
    other.mkdir()
    onnx.save_model(
        monai_resnet(SHAPE, seed=9),
        other / "x.onnx",
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=0,
    )
    open_objects(audited.bucket).upload(other / "weights.bin", f"{audited.bucket}/weights.bin")
    assert given_target(source, store) != first
