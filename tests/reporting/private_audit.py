"""The example audit with private targets beside the others, and an example check of private training."""

from dataclasses import replace

import numpy as np
from example_audit import example_audit

from flprivacy.auditing.epsilon.audit import audit_epsilon
from flprivacy.core.audit import Audit
from flprivacy.core.dp_check import NOT_CONTRADICTED, DpCheck, RepeatedCheck
from flprivacy.core.target import PrivacyStatement, Utility

SITES = {f"site-{i:02d}": 7.99 for i in range(21)}


def statement(**fields: object) -> PrivacyStatement:
    """Return what a federated target that protects patients says."""
    settings: dict[str, object] = {
        "unit": "patient",
        "epsilon": 7.99,
        "epsilon_rdp": 9.12,
        "delta": 1e-5,
        "words": "(7.99, 1e-05)-differential privacy of any one patient, with all of their scans, after 20 private "
        "steps (PLD accounting; RDP gives 9.12); stated for the worst of 21 sites",
        "caveats": ("How many patients there are is taken as known.",),
        "client_epsilons": SITES,
        "noise_multipliers": {"": 0.95},
        "steps": 20,
    }
    return PrivacyStatement(**(settings | fields))  # type: ignore[arg-type]


def private_audit() -> Audit:
    """Return an audit in which the federated target is private, and so is the siloed one, model by model."""
    audit = example_audit(n_sites=3, attributes=("site",), accesses=("features",), fractions=(0.25,))
    siloed = statement(
        epsilon=4.2, client_epsilons={"site-00": 1.31, "site-01": 4.2}, noise_multipliers={"a": 1.0, "b": 2.0}
    )
    changes = {
        "federated": {"epsilon": 7.99, "privacy": statement()},
        "siloed": {
            "epsilon": 4.2,
            "privacy": siloed,
            "utility": Utility(accuracy=0.5, f1_macro=0.3, auc_ovr=0.602, n_scans=400),
        },
    }
    targets = tuple(replace(t, **changes.get(t.name, {})) for t in audit.targets)
    return replace(audit, targets=targets)


def example_check(*, broken: bool) -> DpCheck:
    """Return a check of gradient canaries, of training that keeps its promise or of one without noise."""
    rng = np.random.default_rng(4)
    included = rng.random(1000) < 0.5
    noise = 1.2 * np.sqrt(10.0) * (0.02 if broken else 1.0)
    marks = rng.binomial(10, 0.05, (20, 1000)) * included + noise * rng.normal(size=(20, 1000))
    scores = {"released": marks.sum(axis=0), "same-step": marks.max(axis=0)}
    ins, outs = ({name: values[chosen] for name, values in scores.items()} for chosen in (included, ~included))
    found = audit_epsilon(ins, outs, claimed_epsilon=3.38, delta=1e-5)
    case = RepeatedCheck(
        name="many scans",
        what="one patient has 16, or 1",
        trials=400,
        claimed_epsilon=50.0,
        delta=1e-5,
        bounds=found.bounds[:4],
        verdict=NOT_CONTRADICTED,
        reason="they prove little",
    )
    return DpCheck(
        worst_cases=(case,),
        name="dp-check",
        target_digest="ab12" * 16,
        cohort_digest="cd34" * 16,
        claim="(3.38, 1e-05)-differential privacy of any one scan, after 200 private steps",
        claimed_epsilon=3.38,
        delta=1e-5,
        unit="scan",
        canaries="gradient",
        n_included=int(included.sum()),
        n_excluded=int((~included).sum()),
        confidence=0.95,
        bounds=found.bounds,
        epsilon_lower=found.epsilon_lower,
        verdict=found.verdict,
        reason=found.reason,
        scores={
            name: {"in": tuple(v[included].tolist()), "out": tuple(v[~included].tolist())} for name, v in scores.items()
        },
        provenance={"command": "flprivacy run dp_check --preset demo", "versions": {"flprivacy": "0.1.0"}},
    )
