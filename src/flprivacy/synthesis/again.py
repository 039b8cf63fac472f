"""A generator's recipe once more, on other scans: for references, which repeat how a target was trained as a whole."""

from dataclasses import replace
from pathlib import Path

from flprivacy.core.cohort import Cohort
from flprivacy.synthesis.cohort import synthesize_cohort
from flprivacy.synthesis.config import GeneratorConfig
from flprivacy.synthesis.mix import SynthesisConfig
from flprivacy.synthesis.train import train_generator


def synthesise_again(
    config: GeneratorConfig, scans: SynthesisConfig, cohort: Cohort, *, number: int, work: Path, out: Path
) -> Cohort:
    """Train a generator on a cohort's training scans and return a cohort of its own.

    Args:
        config: how the generator is trained; seeds are replaced.
        scans: which scans it makes.
        cohort: an opened cohort.
        number: draws everything, in place of the configured seeds.
        work: folder of checkpoints; the caller removes it. A killed call that is repeated carries on from there.
        out: folder to write the generator and its scans into, which are not worth keeping.

    Raises:
        TrainingError: training diverges or collapses.
        ConfigError: more scans than make sense.
    """
    privacy = config.privacy
    if privacy is not None and privacy.noise_seed is not None:
        privacy = replace(privacy, noise_seed=number)
    drawn = replace(config, seed=number, privacy=privacy)
    train_generator(drawn, cohort, work=work, out=out / "generator")
    return synthesize_cohort(out / "generator", cohort.meta, out / "scans", config=replace(scans, seed=number))
