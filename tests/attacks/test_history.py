"""What an attack finds does not depend on which other attacks the same process finished before: a killed run shows."""

from pathlib import Path

import numpy as np
from attack_examples import written_cohort

from flprivacy.attacks.baselines import attack_pixels
from flprivacy.attacks.config import AttackConfig

CONFIG = AttackConfig(
    members=False, fractions=(0.4, 0.7, 1.0), seeds=(0,), epochs=3, batch_size=16, age_edges_years=(50.0,)
)


def test_grids_of_other_sizes_before_it_leave_a_grid_alone(tmp_path: Path) -> None:
    cohort = written_cohort(tmp_path / "cohort")
    work, results = tmp_path / "work", tmp_path / "work" / "results"
    table, _ = attack_pixels(CONFIG, cohort, protocol="standard", work=work)
    by_age = sorted(results.iterdir(), key=lambda path: path.stat().st_mtime_ns)
    assert len(by_age) == len(CONFIG.fractions)
    by_age[-1].unlink()  # as a kill before the last would have left it
    again, _ = attack_pixels(CONFIG, cohort, protocol="standard", work=work)
    for one, other in zip(table.blocks, again.blocks, strict=True):
        assert one.key == other.key
        np.testing.assert_array_equal(one.scores, other.scores)
