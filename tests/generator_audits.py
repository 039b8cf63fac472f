"""What the checks of a generator may have found, for the tests of whoever reads it."""

from flprivacy.core.generator_audit import (
    NO_COPIES,
    Agreement,
    AnatomyCheck,
    ClosenessTest,
    Diversity,
    Fidelity,
    GeneratorAudit,
    Measured,
    Memorisation,
    NearestPair,
    SamplePicture,
)
from flprivacy.core.membership import MembershipFinding

# One grey pixel.
PIXEL = "data:image/webp;base64,UklGRiQAAABXRUJQVlA4IBgAAAAwAQCdASoBAAEAAgA0JaQAA3AA/vuUAAA="
SHARE = Measured(value=0.8, low=0.7, high=0.9)
DIVERSITY = Diversity(density=0.9, coverage=0.8, ideal_coverage=0.97, k=5, n_real=100, n_synthetic=100)


def example(verdict: str = NO_COPIES, members: str = "no leak found", *, phantoms: bool = False) -> GeneratorAudit:
    return GeneratorAudit(
        generator_digest="g" * 64,
        cohort_name="tiny",
        cohort_digest="c" * 64,
        synthetic_digest="s" * 64,
        n_training=300,
        n_held_out=100,
        n_synthetic=200,
        memorisation=Memorisation(
            verdict=verdict,
            reason="nearness is what chance explains",
            p_value=0.4,
            error_rate=0.01,
            tests=(ClosenessTest(name="nearer", value=-0.1, expected=-0.1, p_value=0.5),),
            found_rates={"0.05": 0.97},
            detectable_share=0.05,
            suspects=3,
            suspects_expected=2.0,
            suspects_of_training=2,
            n_synthetic=200,
            n_training=250,
            n_held_out=90,
        ),
        membership=(MembershipFinding(target="generator", level="scan", verdict=members, reason="by chance"),),
        fidelity=Fidelity(features="numbers", distance=SHARE, floor=SHARE, n=100),
        diversity=DIVERSITY,
        diversity_of_real=DIVERSITY,
        agreement=(
            Agreement(
                condition="site", classifier="a rule", synthetic=SHARE, real=SHARE, chance=0.5, p_value=0.0, n=200
            ),
        ),
        anatomy=(
            AnatomyCheck(
                name="lung volume fraction",
                unit="of the body",
                distance=SHARE,
                floor=SHARE,
                mean_synthetic=0.3,
                mean_real=0.31,
            ),
        ),
        samples=(SamplePicture(site="A", label="normal", synthetic=PIXEL, real=PIXEL),),
        nearest=(NearestPair(synthetic=PIXEL, real=PIXEL, closeness=0.9, trained_on=True),),
        phantoms=phantoms,
    )
