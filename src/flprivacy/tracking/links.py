"""Pages of MLflow's interface."""

from mlflow import MlflowClient

from flprivacy.tracking.server import all_experiments, refusals, server_uri, without_password


def run_pages(kfp_run: str, *, tracking_uri: str | None = None) -> list[str]:
    """Return the address of the page of each audit that a pipeline's run filed, latest first.

    Args:
        kfp_run: id of the pipeline's run.
        tracking_uri: the MLflow server; ``$MLFLOW_TRACKING_URI`` if None.

    Raises:
        TrackingError: MLflow cannot be reached, or refuses.
    """
    server = server_uri(tracking_uri)
    with refusals(server):
        client = MlflowClient(tracking_uri=server)
        query = f"tags.`audit.kfp_run` = '{kfp_run}' and tags.`audit.kind` = 'audit'"
        found = client.search_runs(all_experiments(client), query, order_by=["attributes.start_time DESC"])
    place = without_password(server).rstrip("/")
    return [f"{place}/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}" for run in found]
