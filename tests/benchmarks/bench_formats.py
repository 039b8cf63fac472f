"""The same networks as .keras files, as ONNX files and as arrays of answers, through ``flprivacy run privacy_audit``.

Each of the four architectures is trained for some epochs to tell the hospital, and once more to tell the disease. What
is tolerated is nothing of the hospital and much of the sex, so that there are leaks and targets that are cleared.
Prints how far features of a ``.keras`` file and of its export are apart, the verdicts on every format, and whether
arrays give exactly the numbers of the network that gave the answers, untrained twin included. Whatever the format, the
fresh weights that a target is judged beside are the same, so that verdicts must be.
By environment: FLPRIVACY_BENCH_FORMATS (which architectures; all), FLPRIVACY_BENCH_FORMATS_SCANS (320).
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import keras
import numpy as np

from flprivacy.cohorts.format import open_cohort, read_volumes
from flprivacy.cohorts.phantom.config import PhantomConfig
from flprivacy.cohorts.phantom.generate import phantom_cohort
from flprivacy.cohorts.preprocessing import test_view
from flprivacy.core.audit import Audit
from flprivacy.core.target_source import TargetSource
from flprivacy.models.registry import ARCHITECTURES, build
from flprivacy.targets.folder import load_model, load_network, read_target
from flprivacy.targets.importing import fresh_target, import_checkpoint
from tests.onnx_networks import of_keras

_NAMES = os.environ.get("FLPRIVACY_BENCH_FORMATS", " ".join(ARCHITECTURES)).split()
_SCANS = int(os.environ.get("FLPRIVACY_BENCH_FORMATS_SCANS", 320))
_SHAPE, _SITES, _EPOCHS, _INITIALISATIONS = (8, 32, 40), 4, 8, 5
# of the moving averages of batch normalisation, which have some tens of steps to get to where they are: else I3D's
# features are up to 1e4, and its answers the same for every scan
_MOMENTUM = 0.8
_PRESET = f"""
targets: {{untrained: {{topology: untrained, initialisations: {_INITIALISATIONS}}}}}
attack: {{fractions: [0.25], seeds: [0, 1, 2, 3, 4], attributes: [site, sex], accesses: [features, outputs]}}
audit:
  bootstrap: 200
  policy: {{rules: {{site: {{threshold: 0.0}}, sex: {{threshold: 0.6}}}}}}
"""
_NEAR = 1e-4


def main() -> bool:
    """Run all of it; whether every format gave the same."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        cohort = phantom_cohort(PhantomConfig(scans=_SCANS, sites=_SITES, shape=_SHAPE, seed=5), root / "cohort")
        (root / "preset.yaml").write_text(_PRESET)
        train = np.flatnonzero(cohort.manifest["split"].to_numpy() == "train")
        cohort = open_cohort(root / "cohort")
        scans = test_view(read_volumes(cohort, np.arange(len(cohort.manifest))), protocol="standard")
        targets, near = {}, True
        for architecture in _NAMES:
            for task in ("site_id", "label"):
                truth = cohort.manifest[task].to_numpy()
                target = f"{architecture}-{'hospital' if task == 'site_id' else 'disease'}"
                near &= _write(root, target, architecture, scans, truth, train)
                facts = f"input_range=0..1,own_answers={_own_answers(root, target, cohort, scans)}"
                targets |= {
                    f"{target}-keras": f"{root / target}.keras,feature_layer=trunk/features,{facts}",
                    f"{target}-onnx": f"{root / target}.onnx,feature_layer=features,{facts}",
                }
        for target in [f"{_NAMES[-1]}-hospital"]:
            for kind in ("keras", "onnx"):
                targets[f"{target}-{kind}-arrays"] = f"{_arrays(root, target, kind, cohort, scans)},input_checked=true"
        return near & _audited(root, targets)


def _write(root, target, architecture, scans, truth, train) -> bool:
    model = build(architecture, shape=_SHAPE, n_classes=int(truth.max()) + 1, seed=1)
    for layer in [*model.trunk._flatten_layers(), *model.head._flatten_layers()]:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = _MOMENTUM
    model.model.compile(keras.optimizers.Adam(2e-3), "sparse_categorical_crossentropy")
    started = time.perf_counter()
    model.model.fit(scans[train], truth[train], batch_size=16, epochs=_EPOCHS, verbose=0)
    model.model.save(root / f"{target}.keras")
    (root / f"{target}.onnx").write_bytes(of_keras(model.model).SerializeToString())
    said = {}
    for kind, layer in (("keras", "trunk/features"), ("onnx", "features")):
        source = TargetSource(location=str(root / f"{target}.{kind}"), feature_layer=layer, input_range="0..1")
        record = import_checkpoint(source, root / f"{target}.{kind}", name=target, out=root / f"{target}-{kind}")
        said[kind] = _answers(root / f"{target}-{kind}", record, "model", scans[:32])
    apart = {name: np.abs(values - said["onnx"][name]).max() for name, values in said["keras"].items()}
    features = said["keras"]["features"]
    size, scatter = np.abs(features).max(), features.std(axis=0)
    varies = scatter > 1e-6 * size
    shares = np.abs(features - said["onnx"]["features"]).max(axis=0)[varies] / scatter[varies]
    print(
        f"{target}: trained in {time.perf_counter() - started:.0f} s; features up to {size:.3g} are at most "
        f"{apart['features']:.1e} apart, which is {shares.max():.1e} of how a column scatters, answers "
        f"{apart['outputs']:.1e}",
        flush=True,
    )
    return bool(max(apart.values()) < _NEAR * max(1.0, size))


def _answers(folder, record, name, scans):
    if record.models[0].weights.endswith(".onnx"):
        return load_network(folder, record, name).forward(scans)
    model = load_model(folder, record, name)
    both = keras.Model(model.trunk.input, [model.trunk.output, model.probabilities])
    features, outputs = both.predict(scans, batch_size=16, verbose=0)
    return {"features": features, "outputs": outputs}


def _own_answers(root, target, cohort, scans) -> Path:
    """Write what the network itself says of every scan, for the audit to compare."""
    network = keras.models.load_model(root / f"{target}.keras")
    ids = cohort.manifest["scan_id"].to_numpy().astype(str)
    np.savez(root / f"{target}-own.npz", scan_ids=ids, outputs=network.predict(scans, batch_size=16, verbose=0))
    return root / f"{target}-own.npz"


def _arrays(root, target, kind, cohort, scans) -> Path:
    """Write what a network and the twin that an audit draws of it say of every scan."""
    own, twin = root / f"{target}-{kind}", root / f"{target}-{kind}-fresh"
    fresh_target(own, initialisations=_INITIALISATIONS, seed=0, protocol="standard", out=twin)
    found = {"scan_ids": cohort.manifest["scan_id"].to_numpy().astype(str)}
    found |= _answers(own, read_target(own), "model", scans)
    said = [_answers(twin, read_target(twin), one.name, scans) for one in read_target(twin).models]
    found |= {f"untrained_{name}": np.stack([one[name] for one in said]) for name in ("features", "outputs")}
    np.savez(root / f"{target}-{kind}.npz", **found)
    return root / f"{target}-{kind}.npz"


def _audited(root, targets) -> bool:
    words = ["--cohort", str(root / "cohort")]
    words += [word for name, place in targets.items() for word in ("--target", f"{name}={place}")]
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "flprivacy.cli", "run", "privacy_audit", "--preset", str(root / "preset.yaml"), *words],
        env={k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "FLPRIVACY_"))}
        | {"FLPRIVACY_HOME": str(root / "home"), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    print(f"audit of {len(targets)} targets: exit code {done.returncode} after {time.perf_counter() - started:.0f} s")
    found = sorted((root / "home").rglob("audit.json"), key=lambda path: path.stat().st_mtime)
    if done.returncode or not found:
        print(done.stdout[-3000:], done.stderr[-3000:])
        return False
    audit = Audit.read(found[-1])
    verdicts = _verdicts(audit)
    same = True
    for name in targets:
        if name.endswith("-keras"):
            same &= _compared(name, f"{name.removesuffix('keras')}onnx", verdicts)
        if name.endswith("-arrays"):
            same &= _equal(name, name.removesuffix("-arrays"), audit)
    return same


def _verdicts(audit):
    found = {}
    for one in audit.verdicts:
        key = (one.attack.attribute, one.attack.access, one.attack.scans, one.attack.question)
        found.setdefault(one.attack.target, {})[key] = one
    for one in audit.membership:
        found.setdefault(one.target, {})[("membership", one.level)] = one
    return found


def _compared(name, other, verdicts) -> bool:
    mine, theirs = verdicts[name], verdicts[other]
    differ = [key for key in mine if mine[key].verdict != theirs[key].verdict]
    kinds = [one.verdict for one in mine.values()]
    counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
    print(f"{name}: {counts}; {len(differ)} of {len(mine)} verdicts differ on {other}")
    for key in differ:
        a, b = mine[key], theirs[key]
        print(f"   {key}: {a.verdict} {_numbers(a)} and {b.verdict} {_numbers(b)}")
    return not differ and mine.keys() == theirs.keys()


def _numbers(one):
    return f"{one.excess:.3f} [{one.ci_low:.3f}, {one.ci_high:.3f}]" if hasattr(one, "excess") else ""


def _equal(arrays, network, audit) -> bool:
    """Compare every number of a target of arrays with the network's own."""
    mine, theirs = _numbers_of(arrays, audit), _numbers_of(network, audit)
    other = sum(mine[key] != theirs.get(key) for key in mine)
    print(f"{arrays}: {len(mine)} metrics and excesses with intervals, {other} other than those of {network}")
    return bool(mine) and mine == theirs


def _numbers_of(name, audit):
    found = {}
    for one in (*audit.metrics, *audit.excesses):
        attack, against = one.attack, getattr(one, "baseline", "").replace(name, "")
        key = (attack.attribute, attack.access, attack.scans, attack.fraction, one.metric, one.of_class, against)
        if attack.target == name:
            found[key] = (one.value, one.ci_low, one.ci_high, getattr(one, "p_value", None))
    return found


if __name__ == "__main__":
    sys.exit(not main())
