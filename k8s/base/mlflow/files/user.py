"""Make MLflow's users and say which experiments they see; runs beside the server, as its administrator.

user.py password NAME < file         make the user, or give an existing one a new password
user.py read NAME EXPERIMENT         let the user see an experiment
user.py edit NAME EXPERIMENT         let the user write to it as well

kubectl -n flprivacy exec -i deploy/mlflow -c mlflow -- python /etc/mlflow/user.py ...
"""

import os
import sys

import mlflow
from mlflow.exceptions import RestException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode
from mlflow.server import get_app_client
from mlflow.server.auth.client import AuthServiceClient

SERVER = "http://localhost:5000"
SHORTEST = 12


def set_password(client: AuthServiceClient, name: str, password: str) -> str:
    """Make the user, or change the password."""
    if len(password) < SHORTEST:
        raise SystemExit(f"user.py: the password on standard input has to have at least {SHORTEST} characters")
    try:
        client.get_user(name)
    except RestException as error:
        if error.error_code != ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
            raise
        client.create_user(name, password)
        return f"user {name}: created"
    administrator = name == os.environ["MLFLOW_AUTH_ADMIN_USERNAME"]
    own = os.environ["MLFLOW_AUTH_ADMIN_PASSWORD"] if administrator else None
    client.update_user_password(name, password, current_password=own)
    return f"user {name}: new password"


def grant(client: AuthServiceClient, name: str, permission: str, experiment: str) -> str:
    """Give a permission on an experiment."""
    found = mlflow.get_experiment_by_name(experiment)
    if found is None:
        raise SystemExit(f"user.py: there is no experiment {experiment!r}; see MLflow's list of experiments")
    client.grant_user_permission(name, "experiment", found.experiment_id, permission)
    return f"user {name}: {permission} on {experiment}"


def main() -> None:
    """Do what the arguments say."""
    server = os.environ.get("MLFLOW_SERVER", SERVER)
    os.environ["MLFLOW_TRACKING_USERNAME"] = os.environ["MLFLOW_AUTH_ADMIN_USERNAME"]
    os.environ["MLFLOW_TRACKING_PASSWORD"] = os.environ["MLFLOW_AUTH_ADMIN_PASSWORD"]
    mlflow.set_tracking_uri(server)
    client = get_app_client("basic-auth", tracking_uri=server)
    match sys.argv[1:]:
        case ["password", name]:
            said = set_password(client, name, sys.stdin.readline().rstrip("\r\n"))
        case ["read" | "edit" as permission, name, experiment]:
            said = grant(client, name, permission.upper(), experiment)
        case _:
            raise SystemExit("usage: user.py password NAME < file | user.py read|edit NAME EXPERIMENT")
    print(said)  # noqa: T201


if __name__ == "__main__":
    main()
