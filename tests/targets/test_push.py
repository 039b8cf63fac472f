"""What a push publishes: nothing that names or hashes a member, and no seed that draws private things again."""

import hashlib
import hmac
import json
import stat
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from flprivacy.cli import main
from flprivacy.core.cohort import Cohort
from flprivacy.core.errors import ConfigError, StorageError, TargetError
from flprivacy.core.parsing import to_mapping
from flprivacy.core.target import TARGET_FILE
from flprivacy.core.target_source import parse_source
from flprivacy.privacy.config import PrivacyConfig
from flprivacy.steps.dp_check import dp_check
from flprivacy.steps.log_mlflow import log_mlflow
from flprivacy.steps.plan_dp_check import plan_dp_check
from flprivacy.storage.objects import open_objects
from flprivacy.targets.digests import target_digest, weights_digests
from flprivacy.targets.folder import read_record, read_target, verify_target
from flprivacy.targets.given import bring_target, given_private_part
from flprivacy.targets.lineage import audited_record, private_part, read_private_part, released_record, withheld
from flprivacy.targets.push import push_target
from flprivacy.training.config import CanaryConfig, TargetConfig
from flprivacy.training.train import train_target
from tests.training.tiny_training import tiny_manifest, write_tiny_cohort

NOISE_SEED, CANARY_SEED, SEED = 918273645546372819, 1827364554, 736451829
PRIVATE_FILES = ("lineage.json", "members.json", "history.json", "canaries.parquet")


@dataclass(frozen=True)
class Trained:
    """A private target with canaries, as training left it, and its cohort."""

    folder: Path
    cohort: Cohort

    def plain_hashes(self) -> list[str]:
        """Return what older versions listed as members."""
        scans = self.cohort.manifest["scan_id"].to_numpy()[self.cohort.rows("train")]
        return sorted(hashlib.sha256(f"{self.cohort.meta.digest}{s}".encode()).hexdigest() for s in scans)

    def needles(self) -> dict[str, bytes]:
        """Return everything that must not be published, by what it is."""
        part = private_part(self.folder, read_target(self.folder))
        found = {"noise seed": NOISE_SEED, "canary seed": CANARY_SEED, "seed": SEED, "file of members": "members.json"}
        found |= {f"entry {h}": h for hashes in part.members().values() for h in hashes}
        found |= {f"file {name}": name for name in PRIVATE_FILES}
        for column in ("scan_id", "patient_id"):
            for value in self.cohort.manifest[column].unique():
                found |= {value: value}
                for salt in ("", self.cohort.meta.digest):
                    for name in ("md5", "sha1", "sha256", "blake2b"):
                        found |= {f"{name} of {salt}{value}": hashlib.new(name, f"{salt}{value}".encode()).hexdigest()}
        return {what: str(needle).encode() for what, needle in found.items()}


def wrongly_in(needles: dict[str, bytes], written: dict[str, bytes]) -> list[tuple[str, str]]:
    """Return (name of a file, what it holds) for every needle in a file or its name, in clear or as raw bytes."""
    found = []
    for name, data in written.items():
        text = name.encode() + b"\n" + data.lower()
        for what, needle in needles.items():
            raw = bytes.fromhex(needle.decode()) if len(needle) >= 32 else needle
            if needle.lower() in text or raw in data:
                found.append((name, what))
    return found


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def objects_of(uri: str) -> dict[str, bytes]:
    objects = open_objects(uri)
    return {name: objects.read_whole(stat, most=1 << 24) for name, stat in objects.contents(uri).items()}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("trained")
    cohort = write_tiny_cohort(folder / "cohort", tiny_manifest())
    config = TargetConfig(
        topology="central",
        epochs=1,
        seed=SEED,
        privacy=PrivacyConfig(
            adjacency="zero-out", noise_multiplier=1.0, sampling_rate=0.5, optimizer="sgd", noise_seed=NOISE_SEED
        ),
        canaries=CanaryConfig(kind="gradient", count=20, seed=CANARY_SEED),
    )
    train_target("t", config, cohort, protocol="standard", work=folder / "work", out=folder / "target")
    return Trained(folder / "target", cohort)


def older(trained: Trained, folder: Path) -> Path:
    """Return the target as versions before the split wrote it: one folder with everything."""
    folder.mkdir()
    record = read_target(trained.folder)
    part = private_part(trained.folder, record)
    for path in [*trained.folder.glob("*.h5"), *part.folder.iterdir()]:
        if path.name not in ("lineage.json", "members.json"):
            (folder / path.name).write_bytes(path.read_bytes())
    (folder / "members.json").write_text(json.dumps({"model": trained.plain_hashes()}))
    mapping = to_mapping(audited_record(record, part))
    del mapping["privacy"]["adjacency"], mapping["privacy"]["disclosures"]
    for event in mapping["dp_events"]:
        event.pop("adjacency")
    mapping |= {
        "members": "members.json",
        "canaries": "canaries.parquet",
        "training": part.lineage.training,
        "cohort_digest": part.lineage.cohort_digest,
    }
    mapping["digest"] = target_digest(
        weights=weights_digests(folder, record),
        training=mapping["training"],
        cohort_digest=mapping["cohort_digest"],
        protocol=record.protocol,
    )
    (folder / TARGET_FILE).write_text(json.dumps(mapping))
    return folder


def test_a_folder_holds_nothing_private(trained: Trained, tmp_path: Path) -> None:
    assert push_target(folder=trained.folder, uri=str(tmp_path / "out")).bytes_sent > 0
    written = files_of(tmp_path / "out")
    assert set(written) == {"target.json", "model.weights.h5"}
    assert wrongly_in(trained.needles(), written) == []
    assert trained.cohort.meta.digest.encode() not in b"".join(written.values())
    assert verify_target(tmp_path / "out") == read_target(trained.folder)
    # The search finds what is there to be found: all of it is in what stays at home.
    at_home = files_of(trained.folder / "private")
    assert {what for _, what in wrongly_in(trained.needles(), at_home)} >= {"noise seed", "seed", "canary seed"}
    assert len(wrongly_in(trained.needles(), at_home)) > len(trained.cohort.rows("train"))
    # Pseudonyms are no hashes of ids: the search, which tries them, finds none.
    hashes = {what for _, what in wrongly_in(trained.needles(), at_home) if what.startswith(("md5", "sha", "blake"))}
    assert hashes == set()


def test_a_bucket_holds_nothing_private_and_auditors_get_the_rest(
    trained: Trained, bucket: str, tmp_path: Path
) -> None:
    public, private = f"{bucket}/models/mine", f"{bucket}/auditors/mine"
    words = ["target", "push", str(trained.folder), public, "--with-members", private]
    pushed = CliRunner().invoke(main, words)
    assert pushed.exit_code == 0, pushed.output
    assert "published" in pushed.output
    written = objects_of(public)
    assert set(written) == {"target.json", "model.weights.h5"}
    assert wrongly_in(trained.needles(), written) == []
    assert set(objects_of(private)) == set(PRIVATE_FILES)

    word = f"{public},members={private}"
    bring_target(parse_source(word), str(tmp_path / "s"), name="mine", out=tmp_path / "out")
    record = read_target(tmp_path / "out")
    assert wrongly_in(trained.needles(), files_of(tmp_path)) == []
    part = given_private_part(parse_source(word), record, tmp_path / "private")
    assert part is not None
    home = private_part(trained.folder, read_target(trained.folder))
    assert (part.lineage, part.members()) == (home.lineage, home.members())
    assert len(part.members()["model"]) == len(trained.cohort.rows("train"))


def test_mlflow_holds_nothing_private(trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    seeds = {"dp_check": {"target": {"privacy": {"noise_seed": NOISE_SEED}}}}
    plan_dp_check(preset="demo", overrides=seeds, plan=tmp_path / "plan.json")
    assert str(NOISE_SEED) in (tmp_path / "plan.json").read_text()
    out = tmp_path / "check"
    dp_check(
        plan=tmp_path / "plan.json",
        target=trained.folder,
        store=str(tmp_path / "store"),
        check=out,
        page=tmp_path / "page.html",
    )
    assert log_mlflow(audit=out, report=out, store=str(tmp_path / "store"))
    written = {name: data for name, data in files_of(tmp_path).items() if name.startswith("ml")}
    assert {"mlflow.db"} < set(written)
    assert wrongly_in(trained.needles(), written) == []


def test_members_stay_at_home_unless_asked_for(trained: Trained, tmp_path: Path) -> None:
    pushed = CliRunner().invoke(main, ["target", "push", str(trained.folder), str(tmp_path / "out")])
    assert pushed.exit_code == 0, pushed.output
    assert "members.json, history.json, canaries.parquet and all seeds stay here" in pushed.output


@pytest.mark.parametrize("private", ["", "/", "/auditors", "/.."])
def test_a_private_location_is_none_that_readers_of_the_model_see(
    trained: Trained, tmp_path: Path, private: str
) -> None:
    public = tmp_path / "out"
    with pytest.raises(ConfigError, match="give a location of its own that only auditors can read"):
        push_target(folder=trained.folder, uri=str(public), members_uri=f"{public}{private}")
    with pytest.raises(ConfigError, match="--with-members s3://b/x"):
        push_target(folder=trained.folder, uri="s3://b/x/models", members_uri="s3://b/x/")
    assert not public.exists()


def test_an_older_folder_is_read_and_its_list_stays_at_home(trained: Trained, tmp_path: Path) -> None:
    folder = older(trained, tmp_path / "older")
    record = verify_target(folder)
    assert record.cohort_digest == trained.cohort.meta.digest
    assert private_part(folder, record).members() == {"model": tuple(trained.plain_hashes())}
    public, private = tmp_path / "out", tmp_path / "auditors"
    words = ["target", "push", str(folder), str(public), "--with-members", str(private)]
    pushed = CliRunner().invoke(main, words)
    assert pushed.exit_code == 0, pushed.output
    for told in ("the cohort's digest", "seeds", "numbers of training scans", "utility", "numbers of units"):
        assert told in pushed.output
    assert f"flprivacy target convert {folder} NEW" in pushed.output
    assert set(files_of(public)) == {"target.json", "model.weights.h5"}
    assert wrongly_in(trained.needles(), files_of(public)) == []
    published, new = verify_target(public), read_target(trained.folder)
    assert (published.digest, published.models, published.utility) == (new.digest, new.models, None)
    assert (published.dp_events, published.privacy.scans_per_patient, published.privacy.steps) == ((), None, 0)
    assert published.privacy.epsilon == new.privacy.epsilon
    assert withheld(published) == ()
    kept = read_private_part(private, published)
    assert not set(kept.members()["model"]) & set(trained.plain_hashes())
    assert len(kept.members()["model"]) == len(trained.plain_hashes())
    assert (kept.lineage.n_train, kept.lineage.utility.n_scans) == (
        {"model": audited_record(new, private_part(trained.folder, new)).models[0].n_train},
        18,
    )
    bring_target(parse_source(str(folder)), "", name="t", out=tmp_path / "pulled")
    assert set(files_of(tmp_path / "pulled")) == {"target.json", "model.weights.h5"}


def test_a_private_part_of_another_target_or_damaged_is_refused(trained: Trained, tmp_path: Path) -> None:
    private = tmp_path / "auditors"
    push_target(folder=trained.folder, uri=str(tmp_path / "out"), members_uri=str(private))
    word, record = f"{tmp_path / 'out'},members={private}", read_target(trained.folder)
    lineage = json.loads((private / "lineage.json").read_text())
    for change, match in (
        ({"target_digest": "0" * 64}, "is of target 000000000000, not of 'mine'"),
        ({"members": "../target/members.json"}, "give the bare name of a file"),
        ({"surprise": 1}, "unknown field 'surprise'"),
    ):
        (private / "lineage.json").write_text(json.dumps(lineage | change))
        with pytest.raises(TargetError, match=match):
            bring_target(parse_source(word), "", name="mine", out=tmp_path / "pulled")
    with pytest.raises((TargetError, StorageError)):
        given_private_part(parse_source(f"{tmp_path},members={tmp_path / 'nowhere'}"), record, tmp_path / "x")
    assert not (tmp_path / "pulled").exists()


def test_a_target_without_a_private_part_has_none_to_send(trained: Trained, tmp_path: Path) -> None:
    push_target(folder=trained.folder, uri=str(tmp_path / "out"))
    with pytest.raises(TargetError, match="holds no private part"):
        push_target(folder=tmp_path / "out", uri=str(tmp_path / "again"), members_uri=str(tmp_path / "auditors"))


def test_an_older_folder_is_converted(trained: Trained, tmp_path: Path) -> None:
    folder = older(trained, tmp_path / "older")
    done = CliRunner().invoke(main, ["target", "convert", str(folder), str(tmp_path / "new")])
    assert done.exit_code == 0, done.output
    assert "the cohort's digest, seeds" in done.output
    record = verify_target(tmp_path / "new")
    assert withheld(record) == ()
    part = private_part(tmp_path / "new", record)
    assert part.lineage.cohort_digest == trained.cohort.meta.digest
    assert stat.S_IMODE(part.folder.stat().st_mode) == 0o700
    assert audited_record(record, part).utility == audited_record(read_target(folder), None).utility
    hashes = {
        hmac.new(bytes.fromhex(part.lineage.members_key), h.encode(), "sha256").hexdigest()
        for h in trained.plain_hashes()
    }
    assert set(part.members()["model"]) == hashes


def test_an_older_federated_target_says_what_its_epsilon_does_not_cover(trained: Trained, tmp_path: Path) -> None:
    folder = older(trained, tmp_path / "older")
    assert released_record(folder, read_record(folder / TARGET_FILE)).privacy.caveats == ()  # a central one
    mapping = json.loads((folder / TARGET_FILE).read_text()) | {"topology": "federated", "partition": "iid"}
    (folder / TARGET_FILE).write_text(json.dumps(mapping))
    by_scans, moved = released_record(folder, read_record(folder / TARGET_FILE)).privacy.caveats
    assert "averaged by their numbers of scans" in by_scans
    assert "moved the scans of others" in moved


def test_the_private_part_moves_by_a_command_of_its_own(trained: Trained, bucket: str) -> None:
    sent = CliRunner().invoke(main, ["target", "push-private", str(trained.folder), f"{bucket}/auditors"])
    assert sent.exit_code == 0, sent.output
    assert set(objects_of(f"{bucket}/auditors")) == set(PRIVATE_FILES)
    record = read_target(trained.folder)
    assert (record.utility, [m.n_train for m in record.models]) == (None, [0])


def test_audits_find_counts_and_utility_in_the_private_part(trained: Trained, tmp_path: Path) -> None:
    public, private = tmp_path / "out", tmp_path / "auditors"
    push_target(folder=trained.folder, uri=str(public), members_uri=str(private))
    for word, known in ((str(public), False), (f"{public},members={private}", True)):
        bring_target(parse_source(word), "", name="t", out=tmp_path / f"pulled-{known}")
        record = read_target(tmp_path / f"pulled-{known}")
        assert (record.utility is not None, record.models[0].n_train > 0) == (known, known)
