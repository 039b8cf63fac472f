"""Step ``attack_target``: bring or train one target, and attack its attributes and members.

It goes through a run's reference models, too, and trains them, and through the attackers without a model: loops and
steps of their own would cost every run pods more.
"""

import logging
import tempfile
from pathlib import Path
from typing import Any

from flprivacy.core.artifacts import MEMBERSHIP_FOLDER
from flprivacy.core.audit import TargetFailure
from flprivacy.core.errors import AttackError
from flprivacy.core.events import emit
from flprivacy.core.parsing import to_mapping
from flprivacy.core.parts import WITHOUT_MODEL
from flprivacy.core.publish import publish_folder, write_json
from flprivacy.core.reference_scores import ReferenceJob
from flprivacy.core.target_source import parse_source
from flprivacy.execution.apart import do_apart
from flprivacy.execution.isolation import FAILURE_FILE, in_phases, now_as, phase
from flprivacy.steps.train_target import is_trained, train_target
from flprivacy.study.attacking import attack_attributes, attack_membership, attack_without_model
from flprivacy.study.given_targets import pull_private_part, pull_target
from flprivacy.study.plan import Plan
from flprivacy.study.train_reference import train_reference
from flprivacy.targets.beside import given_own_answers
from flprivacy.targets.lineage import PrivatePart

LOGGER = logging.getLogger(__name__)
_MEMBERS_STEP = "attack_membership"  # as the report knows it


@in_phases
def attack_target(
    *, plan: Path, cohort: Path, target_name: str, store: str, scores: Path, synthetic: Path | None = None
) -> None:
    """Attack one target: infer site, sex and age of held-out scans, and tell its training scans from held-out ones.

    A given target is brought here first and checked: a .keras, .weights.h5 or legacy .h5 file is matched with its
    architecture by the names of its weights; nothing in it is run. An .onnx file is a network of its own, and an .npz
    or .parquet file what a network answered. What is in the store already is not fetched again, unless the target's
    objects changed. A study's target is trained here, and so is a baseline of an audit. Members are told by the answers
    alone, without references.

    Args:
        cohort: the cohort that exposed and held-out scans come from.
        target_name: name of the target, of a reference model to train, such as ``central@patients-3``, or
            WITHOUT_MODEL for what an attacker reaches from pixels alone and by guessing the majority.
        scores: folder to write: the score table, the attack's learning curves, what the target answers for the scored
            scans, ``target.json`` with what auditors know, and ``membership``: a table of the scans with signals and
            scores, or what failed. Of a reference: what it answers for every scan.
        synthetic: synthetic scans of the study's generator, for targets that are trained on some.

    Raises:
        ConfigError: the plan has no such target.
        TargetError: it is no valid target, the file cannot be used, or the private part that it names is another's.
        TrainingError: training diverges, or the generator of its synthetic scans failed.
        StorageError: an object cannot be read or stays damaged.
        TrackingError: MLflow cannot be reached or has no such model.
    """
    run = Plan.read(plan)
    if target_name == WITHOUT_MODEL:
        with phase("attack_baselines", ""):
            attack_without_model(run.study, cohort, store=store, scores=scores)
        return
    if (asked := ReferenceJob.named(target_name)) is not None:
        train_reference(run, cohort, asked, store=store, reference=scores)
        return
    scores.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=scores.parent) as scratch:  # where the store's files can be linked
        target = Path(scratch) / "target"
        if target_name not in run.sources:
            now_as("train_target")
            given: dict[str, Any] = {"plan": plan, "cohort": cohort, "target_name": target_name, "store": store}
            given["synthetic"] = synthetic
            if is_trained(**given):
                _train(**given, target=target)
            else:
                do_apart(_train, given | {"target": target})
        with phase("attack_target", target_name):
            _attack(run, cohort, target_name, store=store, target=target, scores=scores)


def _train(*, target_name: str, **arguments: Any) -> None:
    with phase("train_target", target_name):
        train_target(target_name=target_name, **arguments)


def _attack(run: Plan, cohort: Path, name: str, *, store: str, target: Path, scores: Path) -> None:
    own_answers = None
    if name in run.sources:
        pull_target(run, name, target, store=store)
        own_answers = given_own_answers(parse_source(run.sources[name]), target.parent)
    attack_attributes(run.study, cohort, target, store=store, scores=scores, own_answers=own_answers)
    if name in (run.sources or run.study.targets):
        with tempfile.TemporaryDirectory() as private:
            part = pull_private_part(run, name, target, Path(private))
            _attack_members(cohort, target, name, scores, part)


def _attack_members(cohort: Path, target: Path, name: str, scores: Path, part: PrivatePart | None) -> None:
    """Attack membership; where that fails, the attacks on attributes stay, and what failed is kept beside them."""
    members = scores / MEMBERSHIP_FOLDER
    try:
        attack_membership(cohort, target, scores, members, part=part)
    except AttackError as error:
        LOGGER.error("the attack on the membership of %s failed: %s", name, error)
        emit("failed", step=_MEMBERS_STEP, detail=name, message=f"{name}: {error}")
        failure = TargetFailure(target=name, step=_MEMBERS_STEP, reason=str(error), transient=False)
        with publish_folder(members) as partial:
            write_json(partial / FAILURE_FILE, to_mapping(failure))
