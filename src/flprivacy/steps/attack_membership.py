"""Step ``attack_membership``: tell a target's training scans from held-out ones, by what it answers for them."""

from pathlib import Path

from flprivacy.attacks.membership.answers import Answers
from flprivacy.attacks.membership.target import attack_target
from flprivacy.cohorts.placed import open_manifest
from flprivacy.core.artifacts import MEMBERSHIP_FILE
from flprivacy.core.publish import publish_folder
from flprivacy.targets.folder import read_target
from flprivacy.targets.lineage import private_part


def attack_membership(
    *, cohort: Path, target: Path, target_name: str, scores: Path, membership: Path, attempt: int = 1
) -> None:
    """Attack the membership of one target's training scans, without reference models.

    Scans that attackers of attributes hold are not scored.

    Args:
        cohort: the cohort that members and held-out scans come from.
        target: the target under attack, with the private part that says who the members are; without it the cohort's
            training split is taken for them.
        target_name: its name.
        scores: scores of the attacks on its attributes, which hold what the target answers.
        membership: folder to write: a table of the scans with signals and scores.

    Raises:
        AttackError: the list of members does not fit the cohort.
    """
    del target_name, attempt  # say which task this is; they change no result
    record = read_target(target)
    found = attack_target(Answers.read(scores), open_manifest(cohort), record, private_part(target, record))
    with publish_folder(membership) as partial:
        found.write(partial / MEMBERSHIP_FILE)
