"""Submit pipelines to Kubeflow Pipelines and schedule them there, through its official client.

Nothing here runs a step: a pipeline is uploaded once per content, runs are started from that very version, and a
schedule is pinned to it.
"""
