"""What stops a pull or a push, by both kinds of storage: one line with URI and remedy, and nothing half done."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from google.auth.credentials import CredentialsWithRegionalAccessBoundary
from storage_examples import one_line

from flprivacy.cohorts.remote import find_cohort, push_cohort
from flprivacy.core.cohort import Cohort
from flprivacy.core.errors import StorageError
from flprivacy.study.given_cohort import pull_cohort
from flprivacy.study.plan import Plan
from tests.audit_plan import audit_plan
from tests.services.ceph import Gateway
from tests.services.failing_server import serving
from tests.services.fault_runs import make_source
from tests.services.fault_sides import GcsSide, read_folder
from tests.services.scripted_gcs import write_key_file

Patch = pytest.MonkeyPatch


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return make_source(tmp_path_factory.mktemp("refused") / "cohort")


def _pull(uri: str, folder: Path) -> dict[str, Any]:
    plan = audit_plan(folder / "plan.json", cohort=uri)
    return pull_cohort(Plan.read(plan), folder / "out", store=str(folder / "store"))


def _stops(uri: str, cohort: Cohort, folder: Path, *words: str, push: bool = True) -> None:
    """Check that resolving, pulling and publishing there is refused with these words."""
    acts: list[Callable[[], object]] = [
        lambda: find_cohort(uri),
        lambda: _pull(uri, folder),
    ]
    if push:
        acts.append(lambda: push_cohort(folder=cohort.folder, uri=f"{uri}-new"))
    for act in acts:
        with pytest.raises(StorageError) as caught:
            act()
        one_line(caught.value, uri, *words)
        assert str(caught.value).startswith(uri)
    assert not (folder / "out").exists()


def _assume_role(ceph: Gateway, patch: Patch, seconds: int) -> None:
    patch.setenv("AWS_ENDPOINT_URL", ceph.sts_endpoint)
    sts = boto3.client("sts", config=Config(parameter_validation=False))  # which allows no less than 15 minutes
    token = sts.assume_role(RoleArn=ceph.role, RoleSessionName="test", DurationSeconds=seconds)["Credentials"]
    for name, key in (("ACCESS_KEY_ID", "AccessKeyId"), ("SECRET_ACCESS_KEY", "SecretAccessKey")):
        patch.setenv(f"AWS_{name}", token[key])
    patch.setenv("AWS_SESSION_TOKEN", token["SessionToken"])


def test_s3(bucket: str, ceph: Gateway, cohort: Cohort, tmp_path: Path, monkeypatch: Patch) -> None:
    push_cohort(folder=cohort.folder, uri=f"{bucket}/cohort")
    _stops("s3://no-such-bucket-here/cohort", cohort, tmp_path, "no such bucket", "check its name")
    _stops(f"{bucket}/other", cohort, tmp_path, "no such object", "check the URI", push=False)
    with monkeypatch.context() as patch:
        patch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret-key")
        _stops(f"{bucket}/cohort", cohort, tmp_path, "the secret key does not fit", "check AWS_ACCESS_KEY_ID")
        patch.setenv("AWS_ACCESS_KEY_ID", "NOBODYSKEY")
        _stops(f"{bucket}/cohort", cohort, tmp_path, "the access key is not known", "check AWS_ACCESS_KEY_ID")
    with monkeypatch.context() as patch:
        _assume_role(ceph, patch, 1)
        time.sleep(2.5)  # longer than they are valid, by the same clock as the gateway's
        _stops(f"{bucket}/cohort", cohort, tmp_path, "expired", "renew")
    assert _pull(f"{bucket}/cohort", tmp_path)


def test_google_cloud_storage(clean_environment: None, cohort: Cohort, tmp_path: Path, monkeypatch: Patch) -> None:
    side = GcsSide()
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(write_key_file(tmp_path / "key.json", side.server)))
    monkeypatch.setenv("API_ENDPOINT_OVERRIDE", side.server.endpoint)
    # This question would go to Google, in the background.
    monkeypatch.setattr(
        CredentialsWithRegionalAccessBoundary, "_maybe_start_regional_access_boundary_refresh", lambda *_: None
    )
    side.put(read_folder(cohort.folder))
    side.server.token = "first-secret"
    with serving(side.server):
        _stops("gs://no-such-bucket/cohort", cohort, tmp_path, "no such bucket", "check its name")
        _stops("gs://b/other", cohort, tmp_path, "no such object", "check the URI", push=False)
        side.server.refuse_login = "secret: Invalid JWT Signature."
        _stops(side.uri, cohort, tmp_path, "the key is wrong", "check GOOGLE_APPLICATION_CREDENTIALS")
        side.server.refuse_login = "secret: Token has been expired or revoked."
        _stops(side.uri, cohort, tmp_path, "expired or been revoked", "log in again")
        side.server.refuse_login, side.server.refuse = "", 403
        _stops(side.uri, cohort, tmp_path, "access denied", "storage.objects.get")
        side.server.refuse = 0
        assert _pull(side.uri, tmp_path)
