"""Networks in ONNX files, as PyTorch, MONAI and others export them: read without believing anything in them.

.. code-block:: text

    files       the file and its weights beside it, within bounds
    rules       what a graph may contain: known operators that only compute
    tracing     what a graph tells: what it takes, how it normalises, what it answers with
    network     a graph as a target: scans in, features and probabilities out
    looking     the first look at a stranger's file, in a bounded process
    fresh       the same graph with fresh weights
    runtime     the only importer of onnxruntime
"""
