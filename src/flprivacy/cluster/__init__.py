"""Submit pipelines to Kubeflow Pipelines and schedule them there, through its official client.

Nothing here runs a step: a pipeline is uploaded once per content, runs are started from exactly that version, and a
schedule is pinned to it. Every function that calls the server raises ``ClusterError`` if the server refuses or does not
answer.

.. code-block:: text

    api         the connection, its errors and retries
    versions    the pipeline's content as a version on the server, and the experiment of its runs
    parameters  a run's parameters, checked for what pods can read, and small
    runs        start a run, list runs, and read how one goes
    causes      why steps fail or wait, as Kubernetes tells it
    watching    show a run until it ends
    cron        cron expressions and their time zones
    schedules   recurring runs that are replaced without a gap
"""
