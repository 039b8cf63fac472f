"""Does this installation fit? What ``flprivacy cluster check`` looks at, before the first run.

:mod:`~flprivacy.cluster.fit.installation` looks at Kubeflow Pipelines and what the overlay brings,
:mod:`~flprivacy.cluster.fit.room` at nodes and quotas, :mod:`~flprivacy.cluster.fit.probe` from within a pod.
"""
