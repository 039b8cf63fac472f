"""Start pipelines, on this machine or for :mod:`flprivacy.cluster`, and show what they do and found.

.. code-block:: text

    compiled    the compiled pipelines: their files, parameters, steps and content digests
    parameters  from the options of a command to a pipeline's parameters
    local       runs a compiled pipeline on this machine
    progress    draws the progress of steps, or of work in this process
    results     shows what a run found, and where it is
"""
