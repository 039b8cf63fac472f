"""Step ``attack_attributes``: attack one target's site, sex and age attributes."""

import shutil
from pathlib import Path

import pandas as pd

from flprivacy.cohorts.format import open_cohort
from flprivacy.cohorts.metadata import read_meta
from flprivacy.core.artifacts import COMPUTE_FILE, CURVES_FILE, SCORES_FILE
from flprivacy.core.parsing import to_mapping
from flprivacy.core.publish import publish_file
from flprivacy.core.scores import ScoreTable
from flprivacy.core.target import TARGET_FILE
from flprivacy.core.tensorflow_environment import describe_compute
from flprivacy.storage.artifact_store import deliver
from flprivacy.storage.places import open_store
from flprivacy.study.plan import Plan
from flprivacy.targets.folder import read_target


def attack_attributes(*, plan: Path, cohort: Path, target: Path, store: str, out: Path) -> None:
    """Put the target's score table, curves and a copy of its ``target.json`` at ``out``."""
    study = Plan.read(plan).study
    record = read_target(target)
    inputs = {
        "target": [record.name, record.role, record.digest],
        "attack": to_mapping(study.attack),
        "cohort": read_meta(cohort).digest,
        "protocol": study.protocol,
    }

    def make(work: Path, folder: Path) -> None:
        from flprivacy.attacks.attribute import attack_attributes as attack  # imports Keras: only when there is work

        table, curves = attack(study.attack, open_cohort(cohort), target, protocol=study.protocol, work=work)
        write_scores(folder, [table], curves)
        shutil.copy2(target / TARGET_FILE, folder / TARGET_FILE)

    deliver(open_store(store).build("scores", inputs, make), out)


def write_scores(folder: Path, tables: list[ScoreTable], curves: pd.DataFrame) -> None:
    """Write score tables, a file each, their curves and what their bits depend on into a folder."""
    for table in tables:
        table.write(folder / f"{table.target}.{SCORES_FILE}")
    with publish_file(folder / CURVES_FILE) as partial:
        curves.to_parquet(partial, index=False)
    (folder / COMPUTE_FILE).write_text(describe_compute())


def read_scores(folder: Path) -> tuple[list[ScoreTable], pd.DataFrame]:
    """Read what :func:`write_scores` wrote."""
    tables = [ScoreTable.read(path) for path in sorted(folder.glob(f"*.{SCORES_FILE}"))]
    return tables, pd.read_parquet(folder / CURVES_FILE)
